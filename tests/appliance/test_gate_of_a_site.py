"""What a site's gate adds to the judgement: how often was tried, what was trained on, which sets, and its evidence."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from appliance.bedside import plates
from appliance.jobs import datasets, kinds
from appliance.jobs.probing import probe
from appliance.models import tries
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from tests.appliance.test_plates import plate_of
from tests.tuning.drawn import draw_people
from tests.tuning.external_trainers import HONEST, register_small, starts
from tuning.coco_folder import read_people
from tuning.gate import verdict
from tuning.gate.guards import EMPTY, FLOOR, PLATES, guard_specs
from tuning.gate.leaks import trained_on
from tuning.gate.probe import Likeness
from tuning.gate.settings import GateSettings
from tuning.import_model import build_model


def silent(done: int, total: int, note: str) -> None:
    pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_people(tmp_path / "held-out", 4) / "annotations.json"


@pytest.fixture(autouse=True)
def drawn_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard sets that cost nothing to make."""
    floor = draw_people(tmp_path / "floor", 2, seed=5) / "annotations.json"
    monkeypatch.setattr(datasets, "guard_sets", lambda site, progress, given: {FLOOR: given or floor})


def imported(site: SiteFolder, fetched: Path, name: str, scale: float) -> str:
    """The small detector with other weights, as a model of this site."""
    model = onnx.load(str(fetched / "nanodet" / "model.onnx"))
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = (numpy_helper.to_array(tensor) * scale).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    file = site.root / f"{name}.onnx"
    onnx.save(model, str(file))
    ModelStore(site).import_file(file, name)
    file.unlink()
    return name


def judged(site: SiteFolder, name: str, data: Path) -> dict[str, Any]:
    return kinds.promote(site, {"model": name, "data": str(data)}, silent)


def test_each_candidate_that_sees_a_set_counts_once(
    fetched: Path, site: SiteFolder, data: Path, tmp_path: Path
) -> None:
    one, two = imported(site, fetched, "one", 1.01), imported(site, fetched, "two", 1.02)
    first = tries.set_identity(data)
    assert [tries.note(site, first, name) for name in (one, one, "nanodet")] == [1, 1, 1]
    kinds.evaluate(site, {"model": two, "data": str(data)}, silent)
    assert tries.note(site, first, imported(site, fetched, "three", 1.04)) == 3
    fresh = tries.set_identity(draw_people(tmp_path / "fresh", 4, seed=9) / "annotations.json")
    assert tries.note(site, fresh, two) == 1


def test_tuning_keeps_what_it_was_trained_on_and_the_next_model_inherits_it(
    fetched: Path, site: SiteFolder, data: Path, tmp_path: Path
) -> None:
    assert trained_on(fetched / "nanodet") is None
    tuned = kinds.tune(site, {"model": "nanodet", "data": str(data.parent), "name": "tuned"}, silent)["model"]
    other = draw_people(tmp_path / "other", 3, seed=3)
    again = kinds.tune(site, {"model": tuned, "data": str(other), "name": "again"}, silent)["model"]
    seen = trained_on(ModelStore(site).folder(again))
    assert seen is not None and len(seen) == 3
    answer = judged(site, again, data)
    assert any("trained on 4 pictures" in reason for reason in answer["reasons"])


def test_a_candidate_of_unknown_training_is_refused_on_pictures_that_it_may_have_seen_and_the_evidence_is_kept(
    fetched: Path, site: SiteFolder, data: Path
) -> None:
    answer = judged(site, imported(site, fetched, "one", 1.01), data)
    assert any("nobody can tell" in reason for reason in answer["reasons"] if reason.startswith("failed"))
    (row,) = ModelStore(site).promotions()
    evidence = row["reasons"]["evidence"]
    assert evidence["weights"] == ModelStore(site).card("one").sha256
    assert evidence["held_out"] == tries.set_identity(data) and evidence["tried"] == 1
    # The other pictures are for those who gain something here.
    assert set(evidence["sets"]) == {"this bedside"} and evidence["probed"]["rate"]["candidate"] > 0
    assert any("not shown the other pictures" in reason for reason in answer["reasons"])


def test_who_gains_is_shown_the_other_pictures_too_and_the_plates_of_the_empty_bed(
    fetched: Path, calibrated: SiteFolder, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = calibrated
    monkeypatch.setattr(verdict, "shows_gain", lambda name, new, old, *, tries: True)
    floor = draw_people(tmp_path / "given", 3, seed=7) / "annotations.json"
    plates.keep(site, plate_of(site), "morning")
    plates.keep(site, plate_of(site, lasts=timedelta(days=-1)), "expired")
    kinds.promote(site, {"model": "person-detector", "data": str(data), "floor": str(floor)}, silent)
    (row,) = ModelStore(site).promotions()
    sets = row["reasons"]["evidence"]["sets"]
    assert {name: one["file"] for name, one in sets.items()} == {
        "this bedside": str(data), FLOOR: str(floor), PLATES: str(site.plates),
    }  # fmt: skip
    assert sets[FLOOR]["after"]["images"] == 3 and sets[FLOOR]["before"]["images"] == 3
    assert sets[PLATES]["after"]["images"] == 1 and sets[PLATES]["after"]["people"] == 0
    assert any(reason.startswith(f"passed: {PLATES}: false people") for reason in row["reasons"]["reasons"])


def test_a_model_of_another_framework_is_held_against_that_on_probe_frames(
    site: SiteFolder, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = register_small(tmp_path, monkeypatch)
    build_model(HONEST, site.models, "own", width=96, height=64)
    pictures = read_people(data)

    def likeness() -> Likeness:
        (found,) = probe(site, "own", "", pictures, silent, leaked=0).likenesses
        assert (found.against, found.frames, found.answers) == ("as it was trained", 4, 4)
        return found

    honest = likeness()
    assert not honest.lost and honest.worst_px < 0.01
    asked = len(starts(program))
    likeness()
    assert len(starts(program)) - asked == 2, "once for the file, and once for all frames"
    program.write_text(program.read_text().replace('"liar" in', 'task["action"] == "probe" or "liar" in'))
    assert likeness().worst_px > GateSettings().allowed_box_px


def test_guards_are_the_upright_those_on_the_floor_who_lean_over_and_empty_rooms() -> None:
    specs = guard_specs()
    assert set(specs) == {FLOOR, "upright people", "clinicians leaning over", EMPTY}
    assert specs[EMPTY].scenario.nobody_share == 1 and specs[FLOOR].scenario.fallen_share > 0.5
    assert specs["clinicians leaning over"].scenario.touching_share == 1
    assert specs["upright people"].scenario.fallen_share == 0


def test_a_fresh_held_out_set_takes_the_place_of_the_last_and_stays(calibrated: SiteFolder) -> None:
    def drawn(**options: bool) -> Path:
        return datasets.held_out(calibrated, silent, count=1, source="simulated", **options)

    first, fresh, kept = drawn(), drawn(fresh=True), drawn()
    assert fresh == kept != first and not first.exists()
    assert drawn(fresh=True) != kept
