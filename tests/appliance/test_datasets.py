"""Where data sets lie and what they are called: decided in one place, so that what is asked for is what is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.bedside import plates
from appliance.jobs import datasets, kinds
from appliance.jobs.store import JobStore
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from tests.appliance.test_plates import plate_of


def silent(done: int, total: int, note: str) -> None:
    pass


def test_one_specification_has_one_folder_and_another_has_another(calibrated: SiteFolder) -> None:
    asked: list[dict[str, Any]] = [
        {}, {"count": 3}, {"count": 3, "seed": 5}, {"count": 3, "depth": True}, {"scenario": "C"},
        {"scenario": "C", "renderer": "moderngl"},
    ]  # fmt: skip
    folders = [datasets.training_set(calibrated, one)[1] for one in asked]
    assert len(set(folders)) == len(asked)
    assert folders == [datasets.training_set(calibrated, one)[1] for one in asked]


def test_another_plate_or_calibration_begins_a_new_data_set(calibrated: SiteFolder) -> None:
    bare = datasets.training_set(calibrated, {})[1]
    plates.keep(calibrated, plate_of(calibrated), "morning")
    with_plate = datasets.training_set(calibrated, {})[1]
    calibrations.keep(calibrated, calibrations.current(calibrated))
    assert len({bare, with_plate, datasets.training_set(calibrated, {})[1]}) == 3


def test_images_asked_for_before_a_plate_was_kept_are_found_by_the_tuning_behind_them(calibrated: SiteFolder) -> None:
    store = JobStore(calibrated)
    images = store.submit("synth", {"scenario": "site", "count": 1})
    with pytest.raises(WardposeError, match=f"job {images.id} made no images"):
        kinds.tune(calibrated, {"data_of": images.id}, silent)
    here = calibrations.current(calibrated)
    taken = replace(plate_of(calibrated), camera_from_bed=here.camera_from_bed, bed=here.bed)
    plates.keep(calibrated, taken, "morning")
    made = kinds.synthesise(calibrated, images.parameters, silent)
    with calibrated.database.transaction() as db:
        db.execute("UPDATE jobs SET result = ? WHERE id = ?", (f'{{"out": "{made["out"]}"}}', images.id))
    with pytest.raises(WardposeError, match="no model is called"):  # it came as far as the model
        kinds.tune(calibrated, {"data_of": images.id, "model": "none-such"}, silent)


def test_held_out_pictures_of_an_older_wardpose_are_made_anew(calibrated: SiteFolder, tmp_path: Path) -> None:
    older = calibrated.datasets / "held-out-simulated-000000"
    older.mkdir()
    (older / "annotations.json").write_text("{}")
    made = datasets.held_out(calibrated, silent, count=1)
    assert made.is_file() and not older.exists()
    assert datasets.newest_held_out(calibrated) == made
