"""The depth camera's own pictures: depth with a Kinect's faults, and infrared light from beside the lens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.bed import Bed
from calibration.camera import CameraModel
from synth.dataset import DatasetSpec, make_dataset
from synth.infrared import COUNTS, facing_ratio, in_infrared, infrared, kinect_depth, millimetres, shown
from synth.people import make_patient, repainted
from synth.render.mesh import Mesh
from synth.render.numba_renderer import NumbaRenderer, render_depth_ids
from synth.render.renderer import Scene
from synth.sample import make_sample
from synth.scenario import KINECT_COLOR, NAMED, Scenario
from synth.sensor import Lens, lens_of

LENS = lens_of(KINECT_COLOR.resized(320, 180))
TILTED = np.array([0.3, -0.2, -1.0]) / np.linalg.norm([0.3, -0.2, -1.0])


def plane_depth(lens: Lens, normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth (H, W) of the plane normal · p = −distance in camera coordinates, by intersection with each pixel's ray."""
    camera = lens.camera
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(float))
    return (-distance / (rays @ normal)).reshape(camera.height, camera.width).astype(np.float32)


def wall(distance: float, albedo: float) -> Mesh:
    corners = np.array([[-9, -9, distance], [9, -9, distance], [9, 9, distance], [-9, 9, distance]], np.float32)
    return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.full((4, 3), albedo, np.float32))


def test_rays_are_those_of_the_camera_model() -> None:
    camera = LENS.camera
    pixels = np.array([[0.0, 0.0], [319.0, 179.0], [160.0, 20.0], [33.0, 140.0]])
    found = LENS.rays()[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    assert np.abs(camera.project(found) - pixels).max() < 0.02


def test_bent_depth_is_that_of_the_plane_through_each_pixel() -> None:
    pinhole = LENS.pinhole
    v, u = np.mgrid[: pinhole.height, : pinhole.width]
    rays = np.stack([(u - pinhole.cx) / pinhole.fx, (v - pinhole.cy) / pinhole.fy, np.ones(u.shape)], axis=-1)
    straight = (-2.0 / (rays @ TILTED)).astype(np.float32)
    truth = plane_depth(LENS, TILTED, 2.0)
    error = np.abs(LENS.bend_depth(straight) - truth)
    assert error.max() < 0.001 < np.abs(LENS.bend_plane(straight) - truth).max()


def test_the_facing_ratio_is_the_cosine_of_the_angle_of_incidence() -> None:
    rays = LENS.rays()
    truth = np.abs(rays @ TILTED) / np.linalg.norm(rays, axis=2)
    found = facing_ratio(plane_depth(LENS, TILTED, 2.0), LENS)
    assert np.abs(found - truth)[3:-3, 3:-3].max() < 0.02


def test_depth_noise_grows_with_distance_and_has_no_bias() -> None:
    spread = []
    for distance in (1.0, 3.0):
        depth = np.full((180, 320), distance, np.float32)
        measured = kinect_depth(depth, LENS, np.random.default_rng(0)).astype(float)
        centre = measured[60:120, 120:200]
        assert abs(centre.mean() - 1000 * distance) < 0.5
        spread.append(centre.std())
    assert 1.0 < spread[0] < 2.5 and 2.5 * spread[0] < spread[1] < 8 * spread[0]


def test_depth_has_no_reading_out_of_range_and_holes_at_edges() -> None:
    depth = np.full((180, 320), 2.0, np.float32)
    depth[:, :20], depth[:, 300:], depth[60:120, 100:160] = 0.3, 6.0, 1.2
    measured = kinect_depth(depth, LENS, np.random.default_rng(0))
    assert not measured[:, :18].any() and not measured[:, 303:].any()
    edge = measured[62:118, 99:101]
    assert 0.2 < (edge == 0).mean() < 0.8
    assert (measured[10:50, 40:280] > 0).all()


def test_exact_depth_is_in_whole_millimetres() -> None:
    assert millimetres(np.array([[1.2344, 0.0]], np.float32)).tolist() == [[1234, 0]]


@pytest.mark.parametrize("distance", [1.0, 2.5])
def test_a_wall_answers_with_its_albedo_over_the_square_of_its_distance(distance: float) -> None:
    camera = CameraModel(160, 90, 120.0, 120.0, 79.5, 44.5)
    scene, lens, pose = Scene((wall(distance, 0.5),), ()), lens_of(camera), np.eye(4)
    depth, _, part = render_depth_ids(scene.meshes, pose, camera)
    color = np.zeros((90, 160, 3), np.uint8)
    found = infrared(NumbaRenderer(), scene, (), pose, lens, color, part, depth, np.random.default_rng(0))
    reflectance = in_infrared(scene, ()).meshes[0].colors[0, 0]
    assert found[40:50, 75:85].mean() == pytest.approx(COUNTS * reflectance / distance**2, rel=0.05)
    assert found[2:8, 2:8].mean() < 0.93 * found[40:50, 75:85].mean()  # farther and more aslant


def test_skin_of_every_tone_is_equally_bright() -> None:
    figure = make_patient(np.random.default_rng(1), Bed(), 1, "supine")
    rng = np.random.default_rng(2)
    visible, near = [], []
    for _ in range(8):
        painted = repainted(rng, figure)
        scene = in_infrared(Scene(painted.meshes, ()), (painted,))
        visible.append(float(painted.meshes[0].colors.mean()))
        near.append(float(scene.meshes[0].colors.mean()))
    assert max(visible) > 3 * min(visible) and max(near) < 1.1 * min(near) and min(near) > 0.45


def test_a_night_picture_is_grey_and_labelled_as_ever() -> None:
    in_bed = {"patient_share": 1.0, "open_room_share": 0.0, "floor_share": 0.0, "nobody_share": 0.0}
    day = Scenario.model_validate(NAMED["C"].model_dump() | {"light_presets": {"ceiling": 1.0}} | in_bed)
    night = Scenario.model_validate(day.model_dump() | {"light_presets": {"infrared": 1.0}})
    sample = make_sample(night, 2, 0)
    assert np.array_equal(sample.color[..., 0], sample.color[..., 2]) and np.ptp(sample.color) > 60
    boxes = [annotation["bbox"] for annotation in sample.annotations]
    assert boxes and len(boxes) == len(make_sample(day, 2, 0).annotations)
    assert sample.infrared is None and sample.depth is None


def test_a_data_set_lists_its_depth_and_infrared_pictures(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(NAMED["D"].model_dump() | {"depth": True, "infrared": True})
    make_dataset(DatasetSpec(scenario=scenario, count=1, seed=4), tmp_path / "a", workers=1)
    (image,) = json.loads((tmp_path / "a" / "annotations.json").read_text())["images"]
    for kind in ("depth", "infrared"):
        plane = cv2.imread(str(tmp_path / "a" / image[f"{kind}_file"]), cv2.IMREAD_UNCHANGED)
        assert plane.dtype == np.uint16 and plane.shape == (360, 640)
    again = make_sample(scenario, 4, 0)
    assert again.infrared is not None and np.array_equal(plane, again.infrared)
    plain = make_sample(scenario.model_copy(update={"depth": False, "infrared": False}), 4, 0)
    assert np.array_equal(plain.color, again.color), "asking for depth changes the picture"


def test_the_shown_picture_spans_the_greys() -> None:
    counts = np.linspace(0, 900, 64 * 36).reshape(36, 64).astype(np.uint16)
    picture = shown(counts)
    assert picture.shape == (36, 64, 3) and picture.min() == 0 and picture.max() == 255


def test_lamps_do_not_shine_in_infrared() -> None:
    lamp = replace(wall(1.0, 0.5), colors=np.full((4, 3), 4.0, np.float32))
    assert in_infrared(Scene((lamp,), ()), ()).meshes[0].colors.max() < 0.1
