"""The simulated ward's camera behaves like a camera, and its ward like a bedside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.errors import WardposeError
from calibration.tag_sheet import TagSheet
from calibration.tags import TagCalibrator
from runtime.capture.gravity import up_in_color
from runtime.capture.source import CaptureSource, StaleFrame, emptied, make_source, with_target
from synth import kept_stills
from synth.render import kernel_cache
from synth.simulated_camera import (
    KINECT_COLOR_FROM_DEPTH,
    KINECT_DEPTH,
    SimulatedCamera,
    SimulatedCameraConfig,
    sheet_mesh,
)


@pytest.fixture(scope="module")
def live() -> Iterator[SimulatedCamera]:
    with SimulatedCamera(SimulatedCameraConfig(seed=4, width=640, fps=20, posture_s=0.5, postures=2)) as camera:
        yield camera


def test_it_is_a_capture_source(live: SimulatedCamera) -> None:
    assert isinstance(live, CaptureSource)
    assert live.live


def test_frames_come_at_the_cameras_pace_with_rising_index_and_time(live: SimulatedCamera) -> None:
    frames = [live.read() for _ in range(4)]
    assert [f.index - frames[0].index for f in frames] == [0, 1, 2, 3]
    times = [f.timestamp_s for f in frames]
    assert times == sorted(times)
    assert abs(times[-1] - time.monotonic()) < 1
    assert frames[0].color.shape == (360, 640, 3)


def test_two_frames_of_the_same_moment_differ_by_noise_only(live: SimulatedCamera) -> None:
    pairs = [(live.read().color.astype(int), live.read().color.astype(int)) for _ in range(3)]
    difference = min((np.abs(a - b).mean() for a, b in pairs), key=float)
    assert 0 < difference < 4


def test_the_patient_changes_posture(live: SimulatedCamera) -> None:
    first, deadline = live.read().color.astype(int), time.monotonic() + 60
    while time.monotonic() < deadline:
        if np.abs(live.read().color.astype(int) - first).mean() > 4:
            return
    pytest.fail("the picture never changed")


def test_depth_agrees_with_the_beds_place(live: SimulatedCamera) -> None:
    """The foot end's corner of the mattress is where the true calibration says, by the depth camera too."""
    frame, truth = live.read(), live.true_calibration()
    assert frame.depth is not None
    assert frame.depth.shape == (KINECT_DEPTH.height, KINECT_DEPTH.width)
    depth_from_bed = np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ truth.camera_from_bed
    centre = -depth_from_bed[:3, :3].T @ depth_from_bed[:3, 3]
    # Points of the floor beside the bed, on the camera's side.
    spots = np.array([[x, np.sign(centre[1]) * 0.75, -truth.bed.height] for x in np.linspace(-0.8, 0.8, 15)])
    camera_points = spots @ depth_from_bed[:3, :3].T + depth_from_bed[:3, 3]
    pixels = np.rint(KINECT_DEPTH.project(camera_points)).astype(int)
    inside = ((pixels >= 0) & (pixels < [KINECT_DEPTH.width, KINECT_DEPTH.height])).all(axis=1)
    measured = frame.depth[pixels[inside, 1], pixels[inside, 0]] / 1000
    gaps = np.abs(measured - camera_points[inside, 2])
    assert (gaps < 0.03).sum() >= 3, "some of these spots are in plain view"


def test_the_tag_sheet_calibrates_to_the_hidden_truth() -> None:
    camera = SimulatedCamera.from_argument("tag_sheet#seed=2")
    with camera:
        frame = camera.read()
    assert frame.camera is not None
    estimate = TagCalibrator(TagSheet.for_bed(camera.bed)).estimate(frame.color, frame.camera, camera.bed)
    truth = camera.true_calibration()
    turn = estimate.camera_from_bed[:3, :3] @ truth.camera_from_bed[:3, :3].T
    assert np.degrees(np.linalg.norm(cv2.Rodrigues(turn)[0])) < 0.3
    assert np.linalg.norm(estimate.viewpoint.centre - truth.viewpoint.centre) < 0.015


def test_held_out_frames_show_the_same_view_and_new_people() -> None:
    camera = SimulatedCamera(SimulatedCameraConfig(seed=4))
    frames = camera.held_out(2, width=320)
    assert [f.color.shape for f in frames] == [(180, 320, 3)] * 2
    assert all(f.annotations for f in frames)
    assert frames[0].annotations[0]["joints3d"] != frames[1].annotations[0]["joints3d"]


@pytest.mark.parametrize(
    ("spec", "with_sheet", "empty"),
    [
        ("simulated", "simulated:tag_sheet", "simulated:empty"),
        ("simulated#seed=3", "simulated:tag_sheet#seed=3", "simulated:empty#seed=3"),
        ("simulated:ward#fps=15.0&depth=false", "simulated:tag_sheet#fps=15.0&depth=False",
         "simulated:empty#fps=15.0&depth=False"),
        ("simulated:tag_sheet", "simulated:tag_sheet", "simulated:tag_sheet"),
        ("video:/photographs", "video:/photographs", "video:/photographs"),
        ("kinect", "kinect", "kinect"),
    ],
)  # fmt: skip
def test_a_sheet_lies_and_a_bed_is_empty_where_the_source_can_see_to_it(spec: str, with_sheet: str, empty: str) -> None:
    """It is the same ward, seen by the same camera, whatever is asked of it."""
    assert (with_target(spec), emptied(spec)) == (with_sheet, empty)
    config = getattr(make_source(spec), "config", None)
    for other in (with_sheet, empty) if spec.startswith("simulated") else ():
        made = make_source(other)
        assert isinstance(made, SimulatedCamera)
        assert made.config.model_copy(update={"mode": config.mode}) == config


def test_two_wards_differ_and_one_ward_stays_itself() -> None:
    first, again, other = (SimulatedCamera(SimulatedCameraConfig(seed=s)).true_calibration() for s in (1, 1, 2))
    assert np.array_equal(first.camera_from_bed, again.camera_from_bed)
    assert not np.allclose(first.camera_from_bed, other.camera_from_bed)


def test_reading_too_early_is_a_stale_frame() -> None:
    with SimulatedCamera(SimulatedCameraConfig(mode="tag_sheet", width=640, fps=0.5, depth=False)) as camera:
        camera.read()
        with pytest.raises(StaleFrame):
            camera.read(timeout_s=0.05)


def test_reading_a_closed_source_says_so() -> None:
    with pytest.raises(WardposeError, match="not open"):
        SimulatedCamera().read()


@pytest.mark.parametrize("argument", ["sheep", "ward#fps=0", "ward#seed=x"])
def test_a_wrong_argument_is_one_line(argument: str) -> None:
    with pytest.raises(WardposeError) as caught:
        SimulatedCamera.from_argument(argument)
    assert "\n" not in str(caught.value)


def test_the_sheets_picture_lies_on_the_mattress_the_right_way_round() -> None:
    """The texture's left edge is at the head, its top at the patient's left, as `TagSheet` promises."""
    sheet = TagSheet()
    mesh = sheet_mesh(sheet)
    assert mesh.uv is not None
    for vertex, (u, v) in zip(mesh.vertices, mesh.uv, strict=True):
        assert vertex[0] == pytest.approx((u - 0.5) * sheet.width)
        assert vertex[1] == pytest.approx((0.5 - v) * sheet.height)


def test_the_motion_sensor_feels_which_way_is_up() -> None:
    camera = SimulatedCamera(SimulatedCameraConfig(mode="tag_sheet", width=640, depth=False))
    with camera:
        found = up_in_color([camera.read() for _ in range(5)])
    truth = camera.true_calibration().camera_from_bed[:3, 2]
    assert np.degrees(np.arccos(np.clip(found.up @ truth, -1, 1))) < 0.5


def test_a_spec_says_how_wide_the_picture_is_and_how_many_stand_by() -> None:
    camera = SimulatedCamera.from_argument("ward#width=640&bystanders=3")
    assert (camera.camera.width, camera.camera.height) == (640, 360)
    assert camera._scenario(640).bystander_weights == (0, 0, 0, 1)
    with pytest.raises(WardposeError, match="width"):
        SimulatedCamera.from_argument("ward#width=wide")
    with pytest.raises(WardposeError, match="bystanders"):
        SimulatedCamera.from_argument("ward#bystanders=9")


def test_a_prepared_ward_has_every_posture_before_its_first_picture() -> None:
    spec = "ward#width=640&prepared=true&postures=2&posture_s=0.5&depth=false&seed=4"
    with SimulatedCamera.from_argument(spec) as camera:
        assert len(camera._stills) == 2


EMPTY = "empty#width=640&depth=false"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's cameras keep what they showed: in the folder of this state's kernels, of a place of its own."""
    folder = tmp_path / kernel_cache.kernels_digest(Path(kernel_cache.__file__).parent)
    folder.mkdir()
    monkeypatch.setattr(kept_stills, "cache_folder", lambda: folder)
    return folder


def shown(spec: str) -> np.ndarray:
    with SimulatedCamera.from_argument(spec) as camera:
        return camera.read().color.astype(int)


def forbid_painting(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(camera: SimulatedCamera, index: int) -> None:
        raise AssertionError("drawn anew")

    monkeypatch.setattr(SimulatedCamera, "_paint", paint)


def test_a_ward_that_is_opened_again_shows_what_it_showed_and_draws_nothing(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shown(EMPTY)
    assert [path.suffix for path in kept.iterdir()] == [".npz"]
    forbid_painting(monkeypatch)
    assert np.abs(shown(f"{EMPTY}&fps=30&posture_s=9") - first).mean() < 4  # the noise is fresh
    with pytest.raises(AssertionError, match="drawn anew"):
        shown(f"{EMPTY}&seed=1")


@pytest.mark.parametrize("what", ["damaged", "of another size", "drawn by other code"])
def test_a_kept_picture_that_may_be_another_is_not_shown(
    what: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shown(EMPTY)
    (path,) = kept.iterdir()
    if what == "damaged":
        path.write_bytes(path.read_bytes()[:-900])
    elif what == "of another size":
        np.savez(path, color=np.zeros((36, 64, 3), np.uint8))
    else:
        monkeypatch.setattr(kept_stills, "_drawn_by", lambda: "another")
    assert np.abs(shown(EMPTY) - first).mean() < 4
    forbid_painting(monkeypatch)
    shown(EMPTY)  # what was drawn took its place


def test_nothing_of_what_draws_is_loaded_for_a_kept_picture(kept: Path) -> None:
    """The seconds that a restarted camera would be away for: compiled kernels, splines, and the body model's torch."""
    shown(EMPTY)
    looks = (
        "import sys\nfrom synth.simulated_camera import SimulatedCamera\n"
        f"with SimulatedCamera.from_argument({EMPTY!r}) as camera: camera.read()\n"
        "print(sorted({'anny', 'mujoco', 'numba', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", looks], capture_output=True, text=True, check=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(kept.parent)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_only_so_many_pictures_are_kept_and_nothing_that_was_cut_off(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_stills, "MOST", 2)
    half, kernel = kept / ".ward-1-0.npz.abcdefgh.part", kept / "kernel.nbc"
    half.touch()
    kernel.touch()
    os.utime(half, (time.time() - 3600,) * 2)
    ward = kept_stills.KeptStills("a ward", (4, 6), (3, 5))
    still = kept_stills.Still(np.zeros((4, 6, 3), np.uint8), np.ones((3, 5), np.uint16))
    for index in range(3):
        ward.keep(index, still)
        for age, path in enumerate(sorted(kept.glob("ward-*-*.npz"), reverse=True)):
            os.utime(path, (time.time() - age,) * 2)
    assert [index for index in range(3) if ward.get(index)] == [1, 2]
    again = ward.get(2)
    assert again is not None and again.depth is not None and again.depth.all()
    assert kernel.exists() and not half.exists()
