"""The watch over a calibration, held against a bed of boxes whose depth picture is computed ray by ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.bed_drift import BedReference, measure_bed, points_of, take_bed
from calibration.camera import CameraModel
from calibration.drift import DriftMonitor, DriftReference, Look, Verdict, leaves_posterior, take_reference
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate, perturbed
from calibration.viewpoint import Viewpoint
from tests.calibration.test_camera_drift import CAMERA, WIDE, seen

BED = Bed()
DEPTH_CAMERA = CameraModel(640, 480, 380.0, 380.0, 319.5, 239.5)
ESTIMATE = CalibrationEstimate(
    CAMERA, BED, Viewpoint(60.0, 30.0, 3.4).camera_from_bed, np.diag([1e-5] * 3 + [1e-4] * 3), 0.2, "test",
    confirmed=True,
)  # fmt: skip
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
MATTRESS: Box = ((-1.0, -0.45, -0.2), (1.0, 0.45, 0.0))
BOARDS: list[Box] = [((-1.06, -0.47, -0.3), (-1.0, 0.47, 0.4)), ((1.0, -0.47, -0.3), (1.06, 0.47, 0.3))]
PATIENT: list[Box] = [((-0.6, -0.2, 0.0), (0.0, 0.2, 0.22)), ((0.0, -0.16, 0.0), (0.9, 0.14, 0.13))]
NEAR_RAIL: Box = ((-0.8, -0.5, -0.25), (0.8, -0.46, 0.3))
NURSE: Box = ((-0.2, -1.2, -0.55), (0.2, -0.8, 1.1))
STILL = np.eye(4)


def depth_of(boxes: list[Box], bed_now: NDArray[np.float64] = STILL, standing: list[Box] | None = None) -> NDArray:
    """Depth (480, 640) uint16 mm of boxes in the frame of a bed that was moved by bed_now (4, 4), of boxes that stand
    in the room, and of the floor; the depth camera sits where the colour camera sits. Slab test, ray by ray."""
    v, u = np.mgrid[:480, :640]
    rays = DEPTH_CAMERA.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(np.float64))
    bed_from_camera = np.linalg.inv(ESTIMATE.camera_from_bed)
    nearest = _slab(((-9.0, -9.0, -0.75), (9.0, 9.0, -0.55)), bed_from_camera, rays)
    for placed, frame in ((boxes, np.linalg.inv(bed_now) @ bed_from_camera), (standing or [], bed_from_camera)):
        for box in placed:
            nearest = np.minimum(nearest, _slab(box, frame, rays))
    return np.where(np.isfinite(nearest), np.rint(nearest * 1000), 0).astype(np.uint16).reshape(480, 640)


def _slab(box: Box, frame: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float64]:
    direction, origin = rays @ frame[:3, :3].T, frame[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (np.array(box[0]) - origin) / direction, (np.array(box[1]) - origin) / direction
    enter, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def cloud(boxes: list[Box], bed_now: NDArray[np.float64] = STILL, standing: list[Box] | None = None) -> NDArray:
    return points_of(depth_of(boxes, bed_now, standing), DEPTH_CAMERA, STILL, ESTIMATE)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw_deg: float = 0.0) -> NDArray[np.float64]:
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    transform[:3, 3] = x, y, z
    return transform


@pytest.fixture(scope="module")
def reference() -> BedReference:
    found = take_bed([cloud([MATTRESS, *BOARDS])], BED)
    assert found is not None
    return found


def test_a_patient_and_somebody_beside_the_bed_do_not_move_it(reference: BedReference) -> None:
    position = measure_bed(cloud([MATTRESS, *BOARDS, *PATIENT], standing=[NURSE]), [reference])
    assert position is not None
    assert (position.toward_foot_m, position.toward_left_m, position.yaw_deg) == (0, 0, 0)
    assert abs(position.raised_m) < 0.004


@pytest.mark.parametrize("height", [-0.12, -0.03, 0.04, 0.2])
def test_a_raised_or_lowered_bed_is_measured_to_a_centimetre(reference: BedReference, height: float) -> None:
    position = measure_bed(cloud([MATTRESS, *BOARDS, *PATIENT], moved(z=height)), [reference])
    assert position is not None
    assert abs(position.raised_m - height) < 0.01
    assert np.hypot(position.toward_foot_m, position.toward_left_m) < 0.03


@pytest.mark.parametrize(("x", "y", "yaw"), [(0.1, 0.0, 0.0), (-0.2, 0.15, 4.0), (0.05, -0.25, -5.0)])
def test_a_moved_bed_is_measured_to_three_centimetres(reference: BedReference, x: float, y: float, yaw: float) -> None:
    position = measure_bed(cloud([MATTRESS, *BOARDS, *PATIENT], moved(x, y, 0.0, yaw)), [reference])
    assert position is not None
    assert np.hypot(position.toward_foot_m - x, position.toward_left_m - y) < 0.03
    assert abs(position.yaw_deg - yaw) < 2.0
    assert abs(position.raised_m) < 0.005


def test_a_rail_that_is_put_up_is_not_a_moved_bed(reference: BedReference) -> None:
    position = measure_bed(cloud([MATTRESS, *BOARDS, *PATIENT, NEAR_RAIL]), [reference])
    assert position is not None
    assert (position.toward_foot_m, position.toward_left_m) == (0, 0)


def test_the_backrest_is_told_from_a_patient_lying_flat() -> None:
    flat = take_bed([cloud([MATTRESS, *BOARDS])], BED)
    assert flat is not None
    lying = measure_bed(cloud([MATTRESS, *BOARDS, *PATIENT]), [flat])
    steps: list[Box] = [((-0.25 - d, -0.42, 0.0), (-0.2 - d, 0.42, 0.84 * d)) for d in np.arange(0, 0.55, 0.05)]
    raised = measure_bed(cloud([MATTRESS, *BOARDS, *steps]), [flat])  # a staircase that rises by 40 degrees
    assert lying is not None and raised is not None
    assert lying.backrest_deg < 10
    assert abs(raised.backrest_deg - 40) < 6


ARM: Box = ((0.22, -0.62, -0.08), (0.31, -0.3, 0.1))


def test_an_arm_over_the_rim_and_feet_on_it_leave_no_trace_in_what_is_kept() -> None:
    without, with_arm = (take_bed([cloud([MATTRESS, *BOARDS, *PATIENT, *more])], BED) for more in ([], [ARM]))
    assert without is not None and with_arm is not None
    np.testing.assert_allclose(with_arm.pieces, without.pieces, atol=0.011)
    assert np.nanmax(np.abs(with_arm.pieces[:, 2])) < 0.03


def test_somebody_who_stands_against_the_bed_takes_pieces_away_and_adds_none(reference: BedReference) -> None:
    leaning: Box = ((-0.3, -0.75, -0.55), (0.2, -0.47, 1.1))
    found = take_bed([cloud([MATTRESS, *BOARDS], standing=[leaning])], BED)
    assert found is not None
    known = np.isfinite(found.pieces)
    assert np.isfinite(reference.pieces)[known].all()
    assert np.abs(found.pieces - reference.pieces)[known].max() < 0.06
    assert found.pieces[known].max() <= 0.6


def test_of_the_bed_four_lengths_are_kept_a_quarter_of_a_metre(reference: BedReference) -> None:
    assert reference.pieces.shape == (24, 4)  # of 2 m and 0.9 m: nobody's outline is drawn with so few
    centimetres = reference.pieces[np.isfinite(reference.pieces)]
    np.testing.assert_array_equal(np.round(centimetres, 3), centimetres)


def test_nothing_seen_of_the_bed_measures_nothing(reference: BedReference) -> None:
    assert measure_bed(np.empty((0, 3)), [reference]) is None
    assert take_bed([np.empty((0, 3))], BED) is None


def look(turn_deg: float = 0.0, bed_now: NDArray[np.float64] = STILL, other: bool = False) -> Look:
    turn = np.array([0.0, turn_deg, 0.0])
    picture = np.full((360, 640, 3), 90, np.uint8) if other else seen(WIDE, turn)
    return Look(picture, depth_of([MATTRESS, *BOARDS, *PATIENT], bed_now), DEPTH_CAMERA, STILL)


@pytest.fixture(scope="module")
def watched() -> DriftReference:
    return take_reference([look()] * 2, ESTIMATE)


def watch(monitor: DriftMonitor, looks: list[Look], begin_s: float = 0.0) -> Verdict:
    for number, one in enumerate(looks):
        verdict = monitor.look(one, begin_s + 2.0 * number)
    return verdict


def test_a_camera_and_a_bed_that_stay_are_steady(watched: DriftReference) -> None:
    verdict = watch(DriftMonitor(watched, ESTIMATE), [look()] * 12)
    assert verdict.changes == () and not verdict.blind and not verdict.leaves_posterior
    assert verdict.camera_deg is not None and verdict.camera_deg < 0.05


def test_a_bump_of_half_a_degree_is_found_within_ten_seconds_and_over_when_it_is_undone(
    watched: DriftReference,
) -> None:
    monitor = DriftMonitor(watched, ESTIMATE)
    watch(monitor, [look()] * 3)
    verdict = watch(monitor, [look(0.5)] * 5, begin_s=6.0)
    assert [change.what for change in verdict.changes] == ["camera"]
    assert abs(verdict.changes[0].amount - 0.5) < 0.05
    assert watch(monitor, [look()] * 5, begin_s=20.0).changes == ()


def test_a_knock_that_swings_back_is_no_bump(watched: DriftReference) -> None:
    monitor = DriftMonitor(watched, ESTIMATE)
    assert watch(monitor, [look(), look(), look(1.5), look(), look()]).changes == ()


def test_the_bed_is_told_from_the_camera_and_the_new_pose_is_worked_out(watched: DriftReference) -> None:
    bed_now = moved(x=0.15, z=0.08)
    verdict = watch(DriftMonitor(watched, ESTIMATE), [look(bed_now=bed_now)] * 12)
    assert {change.what for change in verdict.changes} == {"bed", "height"}
    np.testing.assert_allclose(verdict.camera_from_bed, ESTIMATE.camera_from_bed @ bed_now, atol=0.03)
    assert verdict.leaves_posterior


def test_a_room_that_is_not_recognised_for_long_is_said(watched: DriftReference) -> None:
    monitor = DriftMonitor(watched, ESTIMATE)
    watch(monitor, [look()])
    assert not watch(monitor, [look(other=True)] * 10, begin_s=2.0).blind
    assert watch(monitor, [look(other=True)] * 2, begin_s=130.0).blind


def test_a_pose_leaves_the_posterior_only_beyond_its_spread() -> None:
    small, large = np.array([0.003, 0, 0, 0.01, 0, 0]), np.array([0.03, 0, 0, 0.0, 0, 0])
    assert not leaves_posterior(ESTIMATE, perturbed(ESTIMATE.camera_from_bed, small))
    assert leaves_posterior(ESTIMATE, perturbed(ESTIMATE.camera_from_bed, large))


def test_a_reference_comes_back_from_its_file(watched: DriftReference, tmp_path: Path) -> None:
    watched.save(tmp_path / "x.npz")
    loaded = DriftReference.load(tmp_path / "x.npz")
    assert loaded.background.camera == watched.background.camera
    np.testing.assert_array_equal(loaded.background.points, watched.background.points)
    np.testing.assert_array_equal(loaded.background.bright, watched.background.bright)
    assert loaded.bed is not None and watched.bed is not None
    np.testing.assert_array_equal(loaded.bed.pieces, watched.bed.pieces)
    assert loaded.bed.bed == BED


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 of the former format", b"[]", b'{"format": 2}', b'{"format": 1}']
)
def test_a_file_that_is_no_reference_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(WardposeError, match=r"x\.npz"):
        DriftReference.load(tmp_path / "x.npz")


def test_a_truncated_reference_is_refused(watched: DriftReference, tmp_path: Path) -> None:
    watched.save(tmp_path / "x.npz")
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WardposeError, match="calibrate again"):
        DriftReference.load(tmp_path / "x.npz")
