"""The table of what is kept: whatever the commands leave in a site folder stands in it, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest

from appliance import housekeeping
from appliance.bedside import calibration_pages, plates
from appliance.bedside.calibrate import take_pictures
from appliance.box import kept
from appliance.cli.main import main
from appliance.jobs import datasets
from appliance.jobs.store import JobStore
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from calibration.drift import take_reference
from runtime.drift_watch import contents
from runtime.watch_reference import look_of
from tests.appliance.test_plates import plate_of
from tests.conftest import REPOSITORY


@pytest.mark.timeout(900)
def test_what_the_commands_leave_stands_in_the_table(site: SiteFolder) -> None:
    home = ("--home", str(site.root))
    # One worker: a pool of them costs more than three pictures.
    site.settings_file.write_text('[camera]\nsource = "simulated"\n[synthesis]\nworkers = 1\n')
    for command in (
        ["calibrate", "tags"],
        ["calibrate", "confirm"],
        ["calibrate", "show", "--look"],
        ["calibrate", "tags", "--print", str(site.pictures / "tag-sheet.pdf")],
        ["plates", "capture", "--seconds", "0.5", "--keep", "yes"],
        ["synth", "--count", "3"],
        ["camera", "record", "--out", str(site.root / "ward.mkv"), "--seconds", "0.3", "--expires", "1d",
         "--reason", "to see what stands in the table"],
    ):  # fmt: skip
        assert main([*command, *home]) == 0, command
    assert main(["preview", str(datasets.newest(site)), "--count", "2", *home]) == 0
    row = calibrations.current_row(site)
    assert row is not None
    looks = [look_of(frame) for frame in take_pictures(site, "simulated:empty", 2)]
    reference = take_reference(looks, calibrations.current(site))
    reference.save(calibrations.reference_file(site.resolve(row.file)))
    assert kept.strays(site) == []
    there = [row.row.what for row in kept.found(site) if row.files]
    for what in (
        "plates", "training images", "contact sheets", "pages of a calibration", "recordings", "what the watch knows",
        "calibrations",
    ):  # fmt: skip
        assert any(row.startswith(what) for row in there), (what, there)
    assert "no picture" in contents(reference)


@pytest.mark.parametrize("name", ["calibrations/2026-tags.watch.npz", "stray.png", "logs/frame.npy", "thumbs/a.jpg"])
def test_a_file_that_no_row_explains_is_told(site: SiteFolder, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = site.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x93NUMPY" if name.startswith("logs") else b"x")
    assert [stray.split(":")[0] for stray in kept.strays(site)] == [name]
    assert main(["kept", "--json", "--home", str(site.root)]) == 1
    answer = json.loads(capfd.readouterr().out)
    assert answer["ok"] is False and name in answer["unexplained"][0]


def test_a_picture_under_another_name_is_told_by_how_it_begins(site: SiteFolder) -> None:
    _, png = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    (site.calibrations / "2026-tags.watch").write_bytes(png.tobytes())
    (site.logs / "live.log").write_bytes(png.tobytes())
    assert len(kept.strays(site)) == 2


def test_the_readme_has_the_table_as_it_is() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    section = readme.split("## What is kept", 1)[1]
    shown = section.split("<!-- kept -->", 1)[1].split("<!-- /kept -->", 1)[0]
    assert shown.strip() == kept.table()


def test_a_former_reference_is_deleted_at_the_next_start_and_that_is_written_down(calibrated: SiteFolder) -> None:
    row = calibrations.current_row(calibrated)
    assert row is not None
    former = calibrated.resolve(row.file).with_suffix(".watch.npz")
    np.savez(former, pieces=np.zeros((203, 31, 31), np.uint8))
    assert housekeeping.tidy(calibrated) == []
    assert not former.exists()
    newest = audit.rows(calibrated)[0]
    assert (newest.what, newest.subject) == ("watch.forget", former.name) and "pieces of the picture" in newest.reason


def test_a_reference_ends_with_its_calibration(calibrated: SiteFolder) -> None:
    row = calibrations.current_row(calibrated)
    assert row is not None
    reference = calibrations.reference_file(calibrated.resolve(row.file))
    reference.write_text("{}")
    calibrations.keep(calibrated, replace(calibrations.current(calibrated), confirmed=False))
    assert reference.exists()  # the one in use is still watched
    calibrations.keep(calibrated, calibrations.current(calibrated))
    assert not reference.exists()
    assert ("watch.forget", reference.name) in [(r.what, r.subject) for r in audit.rows(calibrated)]


def test_images_over_a_plate_end_with_it(calibrated: SiteFolder) -> None:
    for name in ("a", "b"):
        plates.keep(calibrated, plate_of(calibrated), name)
    for folder, used in (("over-a", ["a"]), ("over-b", ["b"]), ("drawn", [])):
        scenario = {"plates": [str(calibrated.plates / name) for name in used]}
        for place in (calibrated.datasets, calibrated.pictures):
            (place / folder).mkdir()
        (calibrated.datasets / folder / "dataset.json").write_text(json.dumps({"spec": {"scenario": scenario}}))
    plates.remove(calibrated, "a")
    job = JobStore(calibrated).submit("synth", {"count": 1})
    assert datasets.delete_composed(calibrated) == []
    assert (calibrated.datasets / "over-a").exists()  # a job may be at work on it
    JobStore(calibrated).cancel(job.id)
    assert housekeeping.tidy(calibrated) == []
    for place in (calibrated.datasets, calibrated.pictures):
        assert sorted(path.name for path in place.iterdir()) == ["drawn", "over-b"]
    assert ("dataset.delete", "over-a") in [(r.what, r.subject) for r in audit.rows(calibrated)]


def test_a_page_of_a_calibration_ends_after_its_days(calibrated: SiteFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    page = calibrated.pictures / "calibration-1.png"
    page.write_bytes(b"x")
    assert housekeeping.tidy(calibrated) == [] and page.exists()
    monkeypatch.setattr(calibration_pages, "PAGE_KEPT", timedelta(0))
    assert housekeeping.tidy(calibrated) == [] and not page.exists()
    assert audit.rows(calibrated)[0].what == "calibration.page-expire"
