"""Labels say what the picture shows; pycocotools reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint
from runtime.skeleton import KEYPOINTS
from synth.body.figure import Figure, Traits
from synth.labels import annotate, extent, project, run_lengths, without_specks, yolo_lines
from synth.render.mesh import Mesh
from synth.render.numba_renderer import NumbaRenderer
from synth.render.renderer import Light, Scene
from synth.scenario import KINECT_COLOR
from synth.sensor import Lens

CAMERA = KINECT_COLOR.resized(640, 360)
VIEW = Viewpoint(90.0, 60.0, 2.5).camera_from_bed


def slab(x: tuple[float, float], y: tuple[float, float], z: float, instance: int) -> Mesh:
    vertices = np.array([[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]], np.float32)
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.full((4, 3), 0.5, np.float32), instance)


def person() -> Figure:
    """A flat person 1.6 m long whose keypoints lie 1 cm under the surface, along the middle."""
    keypoints = np.column_stack([np.linspace(-0.75, 0.75, 17), np.zeros(17), np.full(17, 0.19)])
    body = slab((-0.8, 0.8), (-0.2, 0.2), 0.2, 1)
    return Figure((body,), keypoints, np.ones((4, 17), bool), "supine", Traits(40.0, "female", 23.0, 1.6, 5, "gown"))


def label(*covers: Mesh, segmentation: bool = False):  # type: ignore[no-untyped-def]
    lens, figure = Lens(CAMERA), person()
    floor = slab((-4, 4), (-4, 4), 0.0, 0)
    scene = Scene((floor, *figure.meshes, *covers), (Light((0.0, 0.0, 1.0), (1.0, 1.0, 1.0)),))
    seen = lens.bend(NumbaRenderer().render(scene, VIEW, lens.pinhole))
    return annotate(figure, 1, seen, VIEW, lens, blanket_coverage=0.5, segmentation=segmentation)


def test_the_box_of_an_uncovered_person_encloses_opencvs_projection_of_the_corners() -> None:
    x, y, w, h = label()["bbox"]
    corners = person().meshes[0].vertices @ VIEW[:3, :3].T + VIEW[:3, 3]
    pixels = CAMERA.project(corners)
    assert np.allclose([x, y], pixels.min(axis=0) + 0.5, atol=1.5)
    assert np.allclose([x + w, y + h], pixels.max(axis=0) + 0.5, atol=1.5)


def test_a_blanket_shrinks_the_visible_box_and_leaves_the_full_one() -> None:
    free, covered = label(), label(slab((0.0, 1.0), (-0.4, 0.4), 0.3, 0))
    assert covered["bbox"][2] < 0.65 * free["bbox"][2]
    assert covered["full_bbox"] == free["full_bbox"] == free["bbox"]
    assert covered["area"] < free["area"]


def test_covered_keypoints_are_hidden_but_labelled() -> None:
    visibility = label(slab((0.0, 1.0), (-0.4, 0.4), 0.3, 0))["keypoints"][2::3]
    assert visibility[:7] == [2] * 7
    assert visibility[-7:] == [1] * 7


def test_somebody_almost_wholly_covered_is_no_person_of_the_picture() -> None:
    assert label(slab((-0.7, 1.0), (-0.4, 0.4), 0.3, 0)) is None


def test_the_annotation_carries_who_the_person_is() -> None:
    annotation = label()
    assert len(annotation["keypoints"]) == 3 * len(KEYPOINTS)
    assert np.shape(annotation["joints3d"]) == (17, 3)
    assert (annotation["iscrowd"], annotation["posture"], annotation["skin_tone"]) == (0, "supine", 5)
    assert (annotation["age"], annotation["bmi"], annotation["sex"]) == (40.0, 23.0, "female")


def test_a_point_far_outside_the_lens_does_not_fold_back_into_the_picture() -> None:
    points = np.array([[5.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.1, 0.0, 1.0]])
    pixels = project(Lens(CAMERA), points)
    assert (pixels[:2] < -1e5).all()
    assert np.allclose(pixels[2], CAMERA.project(points[2:])[0])


def test_projection_through_a_plain_lens_is_the_cameras_own() -> None:
    camera = CameraModel(64, 48, 60.0, 61.0, 31.5, 23.5)
    assert np.allclose(
        project(Lens(camera), np.array([[0.1, -0.05, 1.0]])), camera.project(np.array([[0.1, -0.05, 1.0]]))
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 12), width=st.integers(1, 12))
def test_pycocotools_reads_the_outline_back(seed: int, height: int, width: int) -> None:
    mask_utils = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    outline = run_lengths(mask)
    decoded = mask_utils.decode(mask_utils.frPyObjects(outline, height, width))
    assert np.array_equal(decoded.astype(bool), mask)


def test_an_extent_counts_whole_pixels() -> None:
    mask = np.zeros((10, 20), bool)
    mask[3:5, 7:12] = True
    assert extent(mask) == [7, 3, 5, 2]


def test_yolo_lines_are_shares_of_the_picture() -> None:
    assert yolo_lines([{"bbox": [10, 20, 30, 40]}], 100, 80) == "0 0.250000 0.500000 0.300000 0.500000\n"


def test_a_few_pixels_seen_through_a_blanket_do_not_stretch_the_box() -> None:
    mask = np.zeros((90, 160), np.bool_)
    mask[10:30, 20:50] = True  # head and chest
    mask[70, 140] = mask[60, 100] = True  # specks of a sleeve
    assert extent(without_specks(mask)) == [20, 10, 30, 20]


def test_a_hand_apart_from_the_head_stays_in_the_box() -> None:
    mask = np.zeros((90, 160), np.bool_)
    mask[10:30, 20:50] = True
    mask[40:46, 90:98] = True  # eight per cent of the head
    assert extent(without_specks(mask)) == [20, 10, 78, 36]
