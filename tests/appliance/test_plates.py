"""Plates in the site folder: who may see them, how long they stay, and what is written down."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from appliance import housekeeping
from appliance.bedside import plates
from appliance.cli.main import main
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.plate import Plate, load_plate
from calibration.viewpoint import Viewpoint
from synth.simulated_camera import SimulatedCamera

CAMERA = CameraModel(64, 36, 30.0, 30.0, 31.5, 17.5)


def plate_of(site: SiteFolder, *, lasts: timedelta = timedelta(days=3)) -> Plate:
    row = calibrations.current_row(site)
    now = datetime.now(UTC)
    return Plate(
        color=np.random.default_rng(0).integers(0, 255, (36, 64, 3), dtype=np.uint8),
        depth=np.full((36, 64), 1800, np.uint16), measured=np.ones((36, 64), bool), camera=CAMERA,
        camera_from_bed=Viewpoint(30.0, 40.0, 2.0).camera_from_bed, bed=Bed(), calibration=row.file if row else "",
        noise=0.01, captured_at=now.isoformat(), expires_at=(now + lasts).isoformat(),
    )  # fmt: skip


def deeds(site: SiteFolder) -> list[tuple[str, str]]:
    return [(row.what, row.subject) for row in audit.rows(site) if row.what.startswith("plate.")]


def test_a_kept_plate_comes_back_whole_and_private(calibrated: SiteFolder) -> None:
    taken = plate_of(calibrated)
    row = plates.keep(calibrated, taken, "morning")
    found = load_plate(calibrated.plates / "morning")
    for name in ("color", "depth", "measured", "camera_from_bed"):
        assert np.array_equal(getattr(found, name), getattr(taken, name))
    assert (found.camera, found.bed, found.expires_at) == (taken.camera, taken.bed, taken.expires_at)
    assert row.usable and plates.usable(calibrated) == (str(calibrated.plates / "morning"),)
    for path in (calibrated.plates / "morning").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert deeds(calibrated) == [("plate.keep", "morning")]


def test_looking_and_removing_are_written_down(calibrated: SiteFolder) -> None:
    plates.keep(calibrated, plate_of(calibrated), "a")
    plates.note_look(calibrated, "a", "is it still the room?")
    plates.remove(calibrated, "a", "the bed was moved")
    assert deeds(calibrated) == [("plate.remove", "a"), ("plate.look", "a"), ("plate.keep", "a")]
    assert not list(calibrated.plates.iterdir()) and plates.rows(calibrated) == []


def test_an_expired_plate_is_shown_to_nobody_used_by_nothing_and_deleted(calibrated: SiteFolder) -> None:
    plates.keep(calibrated, plate_of(calibrated, lasts=timedelta(seconds=-1)), "old")
    plates.keep(calibrated, plate_of(calibrated), "new")
    with pytest.raises(WardposeError, match="expired"):
        plates.look(calibrated, "old")
    assert [Path(folder).name for folder in plates.usable(calibrated)] == ["new"]
    assert housekeeping.tidy(calibrated) == []
    assert [path.name for path in calibrated.plates.iterdir()] == ["new"]
    assert deeds(calibrated)[0] == ("plate.expire", "old")


def test_a_plate_of_an_earlier_calibration_is_not_used(calibrated: SiteFolder) -> None:
    plates.keep(calibrated, plate_of(calibrated), "a")
    calibrations.keep(calibrated, calibrations.current(calibrated))
    (row,) = plates.rows(calibrated)
    assert not row.usable and "another calibration" in row.why


@pytest.mark.parametrize("name", ["../away", "A", "", ".part", "x" * 61])
def test_a_name_stays_in_the_folder(calibrated: SiteFolder, name: str) -> None:
    if name:
        with pytest.raises(WardposeError, match="can't name a plate"):
            plates.keep(calibrated, plate_of(calibrated), name)
    else:
        assert plates.keep(calibrated, plate_of(calibrated), name).name == datetime.now(UTC).date().isoformat()


def test_what_a_killed_capture_left_goes(calibrated: SiteFolder) -> None:
    import os

    left = calibrated.plates / ".a.part"
    left.mkdir()
    os.utime(left, (1, 1))
    housekeeping.tidy(calibrated)
    assert not left.exists()


def test_without_a_calibration_nothing_is_looked_at(site: SiteFolder) -> None:
    with pytest.raises(WardposeError, match="not calibrated"):
        plates.capture(site, source="simulated")


def test_a_damaged_plate_is_listed_as_such(calibrated: SiteFolder) -> None:
    plates.keep(calibrated, plate_of(calibrated), "a")
    (calibrated.plates / "a" / "plate.json").write_text("{")
    assert "damaged" in plates.rows(calibrated)[0].why and plates.usable(calibrated) == ()


def test_the_command_takes_a_plate_of_the_simulated_ward_and_keeps_it_when_told(
    calibrated: SiteFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WARDPOSE_HOME", str(calibrated.root))
    picture = tmp_path / "taken.png"
    assert main(["plates", "capture", "--seconds", "1", "--picture", str(picture)]) == 0
    assert picture.stat().st_size > 10_000 and plates.rows(calibrated) == []
    assert main(["plates", "capture", "--seconds", "1", "--keep", "yes", "--name", "told"]) == 0
    assert [row.name for row in plates.rows(calibrated)] == ["told"]
    assert [what for what, _ in deeds(calibrated)] == ["plate.keep", "plate.capture", "plate.capture"]
    estimate: CalibrationEstimate = calibrations.current(calibrated)
    found = load_plate(calibrated.plates / "told")
    assert np.allclose(found.camera_from_bed, estimate.camera_from_bed)
    points, known = found.points(4)
    on = known & found.measured[::4, ::4] & (np.abs(points[..., 0]) < 0.5) & (np.abs(points[..., 1]) < 0.3)
    on &= points[..., 2] > -0.3
    assert abs(float(np.median(points[on][:, 2]))) < 0.02, "the mattress is not where the calibration says"


def test_a_patient_in_the_bed_is_no_plate(calibrated: SiteFolder) -> None:
    from runtime.capture.plate_capture import fuse, require_empty_bed

    estimate = calibrations.current(calibrated)
    with SimulatedCamera.from_argument("ward#postures=1") as camera:
        frames = [camera.read(5.0) for _ in range(2)]
    with pytest.raises(WardposeError, match=r"cm high lies on|somebody"):
        require_empty_bed(fuse(frames), estimate.camera_from_bed, estimate.bed, "simulated")
