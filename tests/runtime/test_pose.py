"""From boxes to skeletons: the crop's geometry against mmpose, and whole round trips through tiny models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.crop import Crops, crop_matrix
from runtime.detections import Detections
from runtime.engines.engine import open_engine
from runtime.model_info import ModelInfo
from runtime.pose import PoseEstimator
from tests.runtime.onnx_graphs import constant_model, info

SIZE, MAP = (192, 256), (48, 64)
PICTURE = np.zeros((480, 640, 3), np.uint8)
boxes = st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(2, 300), st.floats(2, 300))


@pytest.fixture(scope="module")
def transforms() -> Any:
    pytest.importorskip("mmengine", reason="mmpose absent: its crop is the oracle here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "mmpose.structures.bbox.transforms", reason="mmpose absent: its crop is the oracle here"
        )


@settings(max_examples=40, deadline=None)
@given(box=boxes, padding=st.floats(1, 1.5), unit_lengths=st.booleans())
def test_the_crop_is_mmposes(transforms: Any, box: tuple[float, ...], padding: float, unit_lengths: bool) -> None:
    x, y, w, h = box
    corners = np.array([[x, y, x + w, y + h]])
    crops = Crops.around(corners, np.zeros(1), padding, SIZE[0] / SIZE[1])
    centre, scale = crops.centre, crops.scale
    their_centre, their_scale = transforms.bbox_xyxy2cs(corners, padding)
    width, height = their_scale[0]
    aspect = SIZE[0] / SIZE[1]
    their_scale = np.array([width, width / aspect] if width > height * aspect else [height * aspect, height])
    np.testing.assert_allclose(centre, their_centre)
    np.testing.assert_allclose(scale[0], their_scale)
    if unit_lengths:
        theirs = transforms.get_udp_warp_matrix(their_centre[0], their_scale, 0, SIZE)
    else:
        theirs = transforms.get_warp_matrix(their_centre[0], their_scale, 0, SIZE)
    ours = crop_matrix(centre[0], scale[0], SIZE, unit_lengths=unit_lengths)
    np.testing.assert_allclose(ours, theirs, atol=2e-2, rtol=1e-3)


def _estimator(path: Path, answers: list[NDArray[np.float32]], **changes: Any) -> PoseEstimator:
    described: ModelInfo = info(task="pose", width=SIZE[0], height=SIZE[1]).model_copy(update=changes)
    return PoseEstimator(open_engine(constant_model(path / "pose.onnx", answers, described)))


def _people(*xyxy: tuple[float, float, float, float], ids: list[int] | None = None) -> Detections:
    return Detections(
        np.array(xyxy, np.float32).reshape(-1, 4),
        np.ones(len(xyxy), np.float32),
        None if ids is None else np.array(ids),
    )


def _gaussians(cells: NDArray[np.floating]) -> NDArray[np.float32]:
    y, x = np.mgrid[: MAP[1], : MAP[0]]
    return np.exp(-((x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2) / 8).astype(np.float32)


def test_simcc_lands_where_the_crop_says(tmp_path: Path) -> None:
    x, y = np.zeros((17, 384), np.float32), np.zeros((17, 512), np.float32)
    x[:, 192], y[:, 128] = 0.9, 0.7  # the middle across, a quarter of the way down
    pose = _estimator(tmp_path, [x, y], layout="simcc", box_padding=1.25)
    found = pose.estimate(PICTURE, _people((100, 100, 160, 260), (300, 50, 500, 150), ids=[4, 9]))
    # 160 · 1.25 = 200 high, so 150 wide; the second is 200 · 1.25 = 250 wide, so 333.3 high.
    np.testing.assert_allclose(found.keypoints[0, 0], (130, 180 - 100 + 50), atol=1e-3)
    np.testing.assert_allclose(found.keypoints[1, 5], (400, 100 - 1000 / 6 + 1000 / 12), atol=1e-3)
    np.testing.assert_allclose(found.score, 0.7)
    assert found.track_id is not None
    assert found.track_id.tolist() == [4, 9]


@pytest.mark.parametrize(("layout", "unit_lengths"), [("heatmap-dark", False), ("heatmap-udp", True)])
def test_a_point_goes_through_crop_and_back(tmp_path: Path, layout: Any, unit_lengths: bool) -> None:
    box = (100.0, 80.0, 220.0, 300.0)
    points = np.random.default_rng(2).uniform((120, 100), (200, 280), (17, 2))
    crops = Crops.around(np.array([box]), np.zeros(1), 1.25, SIZE[0] / SIZE[1])
    matrix = crop_matrix(crops.centre[0], crops.scale[0], SIZE, unit_lengths=unit_lengths)
    in_crop = cv2.transform(points[None], matrix)[0]
    one = 1 if unit_lengths else 0
    cells = in_crop * (np.array(MAP) - one) / (np.array(SIZE) - one)
    found = _estimator(tmp_path, [_gaussians(cells)], layout=layout).estimate(PICTURE, _people(box))
    np.testing.assert_allclose(found.keypoints[0], points, atol=0.05)


def test_more_people_than_a_batch_are_all_answered(tmp_path: Path) -> None:
    pose = _estimator(tmp_path, [_gaussians(np.full((17, 2), 20.0))], layout="heatmap")
    crowd = _people(*[(10.0 * i, 10, 10.0 * i + 50, 200) for i in range(19)])
    found = pose.estimate(PICTURE, crowd)
    np.testing.assert_allclose(np.diff(found.keypoints[:, 0, 0]), 10, atol=1e-3)


def test_nobody_needs_no_model(tmp_path: Path) -> None:
    pose = _estimator(tmp_path, [np.full((17, 64, 48), np.nan, np.float32)], layout="heatmap")
    assert len(pose.estimate(PICTURE, Detections.empty())) == 0


def test_a_box_without_size_gets_a_skeleton_without_belief(tmp_path: Path) -> None:
    pose = _estimator(tmp_path, [_gaussians(np.full((17, 2), 20.0))], layout="heatmap")
    found = pose.estimate(PICTURE, _people((30, 40, 30, 40), (100, 100, 200, 300)))
    np.testing.assert_array_equal(found.keypoints[0], np.full((17, 2), (30, 40)))
    assert (found.score[0] == 0).all()
    assert (found.score[1] > 0).all()


def test_output_that_is_not_a_number_is_an_error(tmp_path: Path) -> None:
    pose = _estimator(tmp_path, [np.full((17, 64, 48), np.nan, np.float32)], layout="heatmap")
    with pytest.raises(WardposeError, match="not finite"):
        pose.estimate(PICTURE, _people((0, 0, 50, 50)))


@pytest.mark.parametrize("layout", ["simcc", "heatmap", "heatmap-udp", "movenet", "yolo-pose"])
def test_output_of_another_layout_is_an_error(tmp_path: Path, layout: Any) -> None:
    pose = _estimator(tmp_path, [np.zeros((3, 4), np.float32)], layout=layout)
    with pytest.raises(WardposeError, match="layout"):
        pose.estimate(PICTURE, _people((0, 0, 50, 50)))


def test_a_whole_picture_model_gives_each_person_their_own_skeleton(tmp_path: Path) -> None:
    def anchor(x: float, y: float, w: float, h: float, score: float) -> list[float]:
        return [x, y, w, h, score, *np.tile((x + 1, y - 2, 0.9), 17)]

    # A picture of 640 × 480 in an input of 192 × 256: scale 0.3, 56 px of padding above.
    columns = [anchor(60, 100, 30, 60, 0.9), anchor(62, 100, 30, 60, 0.4), anchor(150, 120, 30, 60, 0.8)]
    pose = _estimator(tmp_path, [np.array(columns, np.float32).T], layout="yolo-pose")
    left, right, nobody = (155, 57, 245, 247), (455, 120, 545, 310), (300, 400, 340, 470)
    found = pose.estimate(PICTURE, _people(right, nobody, left))
    np.testing.assert_allclose(found.keypoints[0, 3], (151 / 0.3, (118 - 56) / 0.3), atol=1e-2)
    np.testing.assert_allclose(found.keypoints[2, 3], (61 / 0.3, (98 - 56) / 0.3), atol=1e-2)
    assert (found.score[1] == 0).all()
