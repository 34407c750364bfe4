"""Fusing frames of an empty bed; refusing what is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.viewpoint import Viewpoint
from runtime.capture.plate_capture import fill_holes, fuse, require_empty_bed
from runtime.capture.source import open_source
from runtime.frames import Frame

COLOR = CameraModel(320, 180, 160.0, 160.0, 159.5, 89.5)
BED = Bed(height=0.6)
POSE = Viewpoint(40.0, 45.0, 2.4).camera_from_bed


def ray_cast(boxes: list[tuple[list[float], list[float]]], camera: CameraModel = COLOR) -> np.ndarray:
    """Depth (H, W) uint16 mm of the floor and of axis-aligned boxes (bed frame), by the slab method."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(float)) @ POSE[:3, :3]
    centre = -POSE[:3, :3].T @ POSE[:3, 3]
    nearest = np.where(rays[:, 2] < 0, (-BED.height - centre[2]) / np.minimum(rays[:, 2], -1e-9), np.inf)
    for low, high in boxes:
        first, second = (np.array(low) - centre) / rays, (np.array(high) - centre) / rays
        enter, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
        nearest = np.where((enter < leave) & (leave > 0), np.minimum(nearest, enter), nearest)
    millimetres = np.where(np.isfinite(nearest) & (nearest < 60), nearest * 1000, 0)
    return np.rint(millimetres).reshape(camera.height, camera.width).astype(np.uint16)


MATTRESS = ([-1.0, -0.45, -0.2], [1.0, 0.45, 0.0])
PILLOW = ([-0.95, -0.3, 0.0], [-0.6, 0.3, 0.12])


def frames(
    boxes: list[tuple[list[float], list[float]]], count: int = 8, *, noise: float = 3.0, drift: float = 0.0
) -> list[Frame]:
    """Noisy frames of the boxes, textured by where things are; `drift`: by how much the light changes meanwhile."""
    rng = np.random.default_rng(5)
    depth = ray_cast(boxes)
    texture = cv2.resize(rng.uniform(60, 180, (18, 32, 3)), (COLOR.width, COLOR.height), interpolation=cv2.INTER_CUBIC)
    found = []
    for k in range(count):
        light = 1 + drift * k / count
        color = np.clip(texture * light + rng.normal(0, noise, texture.shape), 0, 255).astype(np.uint8)
        noisy = np.where(depth > 0, depth + rng.normal(0, 4, depth.shape), 0)
        noisy[rng.random(depth.shape) < 0.03] = 0
        found.append(
            Frame(color, k / 10, k, "test", COLOR, np.rint(noisy).clip(0).astype(np.uint16), None, COLOR, np.eye(4))
        )
    return found


def test_noise_is_averaged_away_and_its_level_known() -> None:
    still = frames([MATTRESS, PILLOW], 15)
    view = fuse(still)
    truth = ray_cast([MATTRESS, PILLOW])
    known = view.measured & (truth > 0)
    # Registration lets the nearer of neighbouring readings win, a few millimetres toward the camera.
    assert np.median(np.abs(view.depth[known].astype(int) - truth[known])) < 12
    assert view.noise == pytest.approx(3 / 255, rel=0.25)
    single = still[0].color.astype(float)
    assert np.std(view.color - single) == pytest.approx(np.hypot(3.0, 3.0 * 1.25 / np.sqrt(15)), rel=0.2)


def test_slow_light_does_no_harm() -> None:
    fuse(frames([MATTRESS], drift=0.25))


def test_an_arm_in_a_few_pictures_is_movement() -> None:
    moving = frames([MATTRESS])
    color = moving[3].color.copy()
    color[60:120, 100:130] = 20
    moving[3] = replace(moving[3], color=color)
    with pytest.raises(WardposeError, match=r"something moved \(picture 4 of 8\)"):
        fuse(moving)


def test_movement_that_only_depth_sees_is_movement() -> None:
    moving = frames([MATTRESS])
    depth = moving[2].depth
    assert depth is not None
    depth = depth.copy()
    depth[60:120, 100:140] = np.where(depth[60:120, 100:140] > 0, depth[60:120, 100:140] - 300, 0)
    moving[2] = replace(moving[2], depth=depth)
    with pytest.raises(WardposeError, match="something moved"):
        fuse(moving)


def test_no_depth_and_empty_depth_are_refused() -> None:
    plain = [replace(frame, depth=None, depth_camera=None) for frame in frames([MATTRESS], 3)]
    with pytest.raises(WardposeError, match="gives no depth"):
        fuse(plain)
    zero = [replace(frame, depth=np.zeros((180, 320), np.uint16)) for frame in frames([MATTRESS], 3)]
    with pytest.raises(WardposeError, match="all but empty"):
        fuse(zero)


def test_an_unknown_lens_is_refused() -> None:
    with pytest.raises(WardposeError, match="does not know its lens"):
        fuse([replace(frame, camera=None) for frame in frames([MATTRESS], 2)])


def test_an_empty_bed_passes_with_its_pillow() -> None:
    require_empty_bed(fuse(frames([MATTRESS, PILLOW])), POSE, BED, "test")


@pytest.mark.parametrize(
    "thing", [([-0.7, -0.2, 0.0], [0.8, 0.2, 0.24]), ([0.2, -0.2, 0.0], [0.6, 0.2, 0.2])], ids=["patient", "bag"]
)
def test_what_lies_on_the_bed_is_told(thing: tuple[list[float], list[float]]) -> None:
    with pytest.raises(WardposeError, match=r"cm high lies on"):
        require_empty_bed(fuse(frames([MATTRESS, thing])), POSE, BED, "test")


def test_a_bed_that_is_elsewhere_is_told() -> None:
    away = POSE.copy()
    away[:3, 3] += [0.0, 0.0, 6.0]
    with pytest.raises(WardposeError, match="not in the picture"):
        require_empty_bed(fuse(frames([MATTRESS])), away, BED, "test")


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint16, (24, 30), elements=st.sampled_from([0, 0, 900, 2000, 2010])))
def test_filling_leaves_no_hole_and_keeps_every_reading(depth: np.ndarray) -> None:
    filled = fill_holes(depth)
    measured = depth > 0
    assert np.array_equal(filled[measured], depth[measured])
    assert (filled > 0).all() or not measured.any()
    if measured.any():
        assert filled.min() >= depth[measured].min() and filled.max() <= depth.max()


def test_the_shadow_beside_an_edge_takes_the_background() -> None:
    depth = np.full((40, 40), 2500, np.uint16)
    depth[:, :15] = 1000
    depth[:, 15:20] = 0
    assert (fill_holes(depth)[5:-5, 17:20] == 2500).all()


def test_the_recording_gives_a_view(shared_data: Path) -> None:
    with open_source(f"recording:{shared_data / 'kinect' / 'recording.mkv'}#realtime=false", None) as source:
        frame = source.read(5.0)
    view = fuse([frame])
    assert view.color.shape == (720, 1280, 3) and view.depth.shape == (720, 1280)
    assert 0.3 < view.measured.mean() < 1 and (view.depth > 0).all()
