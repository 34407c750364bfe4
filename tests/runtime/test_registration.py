"""Depth laid over the colour picture, and lifted to points: as the SDK does, and by geometry."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.camera import CameraModel
from runtime.capture.recording import RecordingSource
from runtime.capture.registration import point_cloud, register_depth
from runtime.capture.source import RecordingConfig
from runtime.frames import Frame


@pytest.fixture(scope="module")
def frame(shared_data: Path) -> Frame:
    with RecordingSource(RecordingConfig(path=str(shared_data / "kinect" / "recording.mkv"))) as source:
        return source.read()


# Golden values: what k4a_transformation_depth_image_to_color_camera and …_to_point_cloud (libk4a 1.4.2 with its depth
# engine, under Xvfb) give for the real recording: (u, v, mm) in the colour image, (u, v, x mm, y mm, z mm) in the depth
# image, drawn at random from all readings.
SDK_REGISTERED = [
    (926, 24, 2183), (332, 59, 901), (428, 103, 1192), (340, 104, 919), (283, 107, 803), (299, 110, 833), (722, 115,
    2153), (385, 117, 1035), (482, 184, 1457), (888, 201, 2051), (339, 245, 907), (554, 257, 1723), (983, 275,
    1934), (607, 299, 2000), (1010, 307, 1873), (622, 322, 1974), (227, 330, 706), (884, 336, 1912), (456, 337,
    1286), (188, 354, 655), (915, 356, 1889), (547, 381, 1634), (971, 388, 1837), (725, 402, 1887), (354, 430, 265),
    (460, 435, 277), (776, 465, 1479), (461, 497, 276), (729, 523, 1462), (236, 531, 720), (965, 581, 1360), (295,
    594, 254), (629, 657, 257), (449, 674, 237), (432, 701, 201), (808, 714, 188),
]  # fmt: skip
SDK_POINTS = [
    (404, 28, 360, -1620, 2160), (274, 60, -244, -1199, 1841), (538, 105, 973, -1156, 2051), (377, 121, 195, -1006,
    2063), (216, 136, -342, -623, 1357), (109, 137, -413, -391, 808), (196, 145, -359, -536, 1216), (53, 207, -433,
    -219, 673), (174, 210, -372, -325, 1111), (229, 254, -322, -295, 1526), (213, 266, -338, -234, 1384), (68, 308,
    -425, -65, 729), (137, 331, -113, -10, 277), (340, 338, 27, -41, 1890), (586, 362, 948, 49, 1722), (131, 391,
    -116, 24, 273), (82, 469, -423, 203, 760), (474, 502, 421, 457, 1415), (271, 510, -41, 106, 320), (482, 572, 56,
    83, 169),
]  # fmt: skip


def test_registered_depth_is_the_sdks(frame: Frame) -> None:
    u, v, expected = np.array(SDK_REGISTERED).T
    difference = np.abs(register_depth(frame)[v, u].astype(int) - expected)
    # The SDK interpolates between readings, we take the nearest: that differs by the slope of what is seen.
    assert np.median(difference) <= 1
    assert np.mean(difference <= 5) > 0.9


def test_the_point_cloud_is_the_sdks(frame: Frame) -> None:
    assert frame.depth is not None and frame.color_from_depth is not None
    u, v, *expected = np.array(SDK_POINTS).T
    places = np.cumsum(frame.depth.ravel() > 0) - 1  # of each reading in the cloud
    rotation, shift = frame.color_from_depth[:3, :3], frame.color_from_depth[:3, 3]
    points = (point_cloud(frame)[places[v * 640 + u]] - shift) @ rotation * 1000
    np.testing.assert_allclose(points, np.transpose(expected), atol=0.75)  # the SDK's are whole millimetres


def flat_scene(z_m: float, step_m: float = 0.0) -> Frame:
    """A Kinect in front of a wall `z_m` away from the *depth* camera; its left half stands `step_m` nearer."""
    depth_camera = CameraModel(640, 576, 504.0, 504.0, 320.0, 288.0)
    camera = CameraModel(1280, 720, 611.8, 611.8, 640.0, 360.0)
    color_from_depth = np.eye(4)
    color_from_depth[:3, 3] = [-0.032, -0.002, 0.004]
    depth = np.full((576, 640), round(z_m * 1000), dtype=np.uint16)
    depth[:, :320] -= round(step_m * 1000)
    color = np.zeros((720, 1280, 3), dtype=np.uint8)
    return Frame(
        color, 0.0, 0, "test", camera=camera, depth=depth, depth_camera=depth_camera, color_from_depth=color_from_depth
    )


def test_a_wall_registers_at_its_distance_and_without_holes() -> None:
    registered = register_depth(flat_scene(2.0))
    # Of 640×576 at f=504 and 2 m, colour pixels 260…1010 lie inside the depth camera's view for certain.
    inner = registered[30:690, 270:1000]
    assert inner.min() == inner.max() == 2004


def test_the_nearer_of_two_surfaces_hides_the_farther() -> None:
    frame = flat_scene(2.0, step_m=1.0)
    registered = register_depth(frame)
    # The near half ends at u = 640 + 611.8 · (0 − 0.032) / 1.004 ≈ 620 in the colour image.
    assert (registered[360, 300:615] == 1004).all()
    assert (registered[360, 640:990] == 2004).all()


def test_the_real_recording_registers_onto_its_colour_image(frame: Frame) -> None:
    registered = register_depth(frame)
    assert registered.shape == frame.color.shape[:2]
    assert 0.5 < (registered > 0).mean() < 0.7
    # Independent check by the other way round: each sampled point lies at the depth that its pixel now shows.
    points = point_cloud(frame)[::997]
    pixels = np.rint(frame.camera.project(points)).astype(int)  # type: ignore[union-attr]
    inside = ((pixels >= 0) & (pixels < [1280, 720])).all(axis=1)
    shown = registered[pixels[inside, 1], pixels[inside, 0]].astype(int)
    differences = np.abs(shown - points[inside, 2] * 1000)
    assert np.median(differences) < 2
    assert (differences < 30).mean() > 0.95


def test_the_registered_edges_lie_on_the_colour_edges(frame: Frame) -> None:
    """The mug's silhouette in depth coincides with an edge in colour: factory calibration, lens and code agree."""
    registered = register_depth(frame).astype(np.float32)
    near = ((registered > 0) & (registered < 700)).astype(np.uint8)
    near = cv2.morphologyEx(near, cv2.MORPH_CLOSE, np.ones((41, 41), np.uint8))
    rows = slice(420, 560)
    right_of_body = np.array([np.flatnonzero(row[:480])[0] for row in near[rows]])  # left silhouette of the mug
    gray = cv2.GaussianBlur(cv2.cvtColor(frame.color, cv2.COLOR_RGB2GRAY), (5, 5), 0).astype(np.float32)
    gradient = np.abs(np.gradient(gray, axis=1))[rows]
    strongest = np.array([np.argmax(row[u - 15 : u + 15]) - 15 for row, u in zip(gradient, right_of_body, strict=True)])
    assert abs(np.median(strongest)) <= 4


def test_a_frame_without_depth_is_refused_by_registration() -> None:
    bare = Frame(np.zeros((4, 4, 3), np.uint8), 0.0, 3, "test", camera=CameraModel(4, 4, 1, 1, 2, 2))
    with pytest.raises(ValueError, match="has no depth"):
        register_depth(bare)
