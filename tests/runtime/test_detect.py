"""People in pictures: each layout's decoding, and a real detector on real photographs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detect import PersonDetector, letterbox, non_maximum_suppression, voted_boxes
from runtime.detections import iou_matrix
from runtime.engines.engine import open_engine
from runtime.model_info import ModelInfo
from tests.runtime.onnx_graphs import constant_model, info

YOLOX_NANO = ModelInfo(
    name="yolox-nano", task="detect", layout="yolox", width=416, height=416, std=(1, 1, 1), channels="bgr",
    letterbox="top-left", classes=80,
)  # fmt: skip


@pytest.fixture(scope="module")
def yolox(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PersonDetector:
    path = tmp_path_factory.mktemp("yolox") / "yolox_nano.onnx"
    shutil.copy(shared_data / "weights" / "yolox_nano.onnx", path)
    path.with_name(path.name + ".json").write_text(YOLOX_NANO.model_dump_json())
    return PersonDetector(open_engine(path, prefer="onnxruntime-cpu", threads=1))


def _photo(shared_data: Path, name: str) -> NDArray[np.uint8]:
    picture = cv2.imread(str(shared_data / "photos" / "demo" / name))
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1])


# Corners read off the photographs by eye, to ±25 px.
@pytest.mark.parametrize(
    ("photo", "people"),
    [
        ("bus.jpg", [(48, 398, 245, 903), (222, 405, 345, 860), (668, 390, 810, 880)]),
        ("zidane.jpg", [(145, 200, 700, 715), (745, 42, 1140, 712)]),
    ],
)
def test_a_real_detector_finds_the_people_of_real_photographs(
    yolox: PersonDetector, shared_data: Path, photo: str, people: list[tuple[int, int, int, int]]
) -> None:
    found = yolox.detect(_photo(shared_data, photo))
    best = iou_matrix(np.array(people, float), found.xyxy).max(axis=1)
    assert (best > 0.7).all()
    assert len(found) == len(people)


def test_a_picture_without_people_gives_nobody(yolox: PersonDetector) -> None:
    sky = np.full((720, 1280, 3), (135, 180, 220), np.uint8)
    assert len(yolox.detect(sky)) == 0


def test_the_channel_order_matters_to_the_real_model(yolox: PersonDetector, shared_data: Path) -> None:
    photo = _photo(shared_data, "zidane.jpg")
    right, wrong = yolox.detect(photo), yolox.detect(np.ascontiguousarray(photo[..., ::-1]))
    assert right.score.sum() > wrong.score.sum()


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(8, 900),
    height=st.integers(8, 900),
    place=st.sampled_from(["centre", "top-left"]),
    model=st.sampled_from([(416, 416), (640, 384), (320, 608)]),
)
def test_letterboxed_points_come_back(width: int, height: int, place: Any, model: tuple[int, int]) -> None:
    batch, placed = letterbox(
        np.zeros((height, width, 3), np.uint8), info(letterbox=place, width=model[0], height=model[1])
    )
    assert batch.shape == (1, 3, model[1], model[0])
    points = np.array([[0, 0], [width, height], [width / 3, height / 2]])
    inside = points * placed.scale + (placed.left, placed.top)
    assert (inside >= -0.01).all()
    assert (inside <= np.array(model) + 0.51).all()
    np.testing.assert_allclose(placed.to_picture(inside), points, atol=1e-2)


def test_the_picture_lies_where_the_letterbox_says() -> None:
    picture = np.full((100, 200, 3), 255, np.uint8)
    batch, placed = letterbox(picture, info())
    assert (placed.scale, placed.left, placed.top) == (0.32, 0, 16)
    assert (batch[0, :, 16:48] == 1).all()
    np.testing.assert_allclose(batch[0, :, :16], 114 / 255)
    np.testing.assert_allclose(batch[0, :, 48:], 114 / 255)


def test_mean_std_and_channel_order_are_the_models(tmp_path: Path) -> None:
    described = info(mean=(10, 20, 30), std=(2, 4, 8), channels="bgr")
    batch, _ = letterbox(np.full((64, 64, 3), (50, 100, 150), np.uint8), described)
    np.testing.assert_allclose(batch[0, :, 5, 5], [(150 - 10) / 2, (100 - 20) / 4, (50 - 30) / 8])


def _detector(path: Path, answer: NDArray[np.float32], described: ModelInfo, **settings: Any) -> PersonDetector:
    return PersonDetector(open_engine(constant_model(path / "m.onnx", [answer], described)), **settings)


def test_yolo_layout(tmp_path: Path) -> None:
    # A picture of 128 × 64 in an input of 64 × 64: scale 0.5, 16 px of padding above.
    columns = [(32, 32, 20, 10, 0.1, 0.9), (37, 32, 20, 10, 0.1, 0.8), (10, 30, 8, 8, 0.9, 0.2), (50, 40, 8, 8, 0, 0.6)]
    detector = _detector(tmp_path, np.array(columns, np.float32).T, info(classes=2, person_class=1))
    found = detector.detect(np.zeros((64, 128, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(44, 22, 84, 42), (92, 40, 108, 56)], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.9, 0.6])


def test_yolo_end2end_layout(tmp_path: Path) -> None:
    rows = [(10, 20, 30, 40, 0.9, 0), (11, 20, 31, 40, 0.8, 0), (5, 5, 9, 9, 0.7, 1), (0, 0, 0, 0, 0, 0)]
    detector = _detector(tmp_path, np.array(rows, np.float32), info(layout="yolo-end2end", classes=2))
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(10, 20, 30, 40), (11, 20, 31, 40)])


def test_yolox_layout(tmp_path: Path) -> None:
    answer = np.zeros((84, 7), np.float32)  # 8² + 4² + 2² cells, two classes
    answer[8 * 2 + 3] = (0.5, 0.25, np.log(2), np.log(4), 0.9, 0.8, 0.1)
    answer[64 + 4 * 1 + 2] = (0.0, 0.0, 0.0, 0.0, 0.9, 0.1, 0.9)
    detector = _detector(tmp_path, answer, info(layout="yolox", classes=2, letterbox="top-left"))
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(28 - 8, 18 - 16, 28 + 8, 18 + 16)], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.72], atol=1e-6)


def test_yolov6_layout(tmp_path: Path) -> None:
    rows = [(32, 32, 20, 10, 1.0, 0.1, 0.9), (10, 30, 8, 8, 1.0, 0.9, 0.2), (50, 40, 8, 8, 0.5, 0.0, 0.8)]
    detector = _detector(tmp_path, np.array(rows, np.float32), info(layout="yolov6", classes=2, person_class=1))
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(22, 27, 42, 37), (46, 36, 54, 44)], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.9, 0.4])


@pytest.mark.parametrize(("width", "height"), [(96, 96), (160, 96)])
def test_nanodet_layout(tmp_path: Path, width: int, height: int) -> None:
    cells = [(width // s) * (height // s) for s in (8, 16, 32)]
    scores = [np.zeros((2, n), np.float32) for n in cells]
    sides = [np.zeros((44, n), np.float32) for n in cells]
    # In the grid of stride 16, row 1, column 2: left 1.5, top 1, right 2, bottom 0 strides away.
    cell = width // 16 + 2
    scores[1][0, cell] = 0.8
    for side, bins in enumerate([(1, 2), (1, 1), (2, 2), (0, 0)]):
        for one in bins:
            sides[1][11 * side + one, cell] = 60
    described = info(layout="nanodet", classes=2, width=width, height=height)
    engine = open_engine(constant_model(tmp_path / "n.onnx", [*scores, *sides], described))
    found = PersonDetector(engine).detect(np.zeros((height, width, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(40 - 24, 24 - 16, 40 + 32, 24)], atol=1e-3)
    np.testing.assert_allclose(found.score, [0.8])


def test_boxes_are_clipped_and_those_outside_dropped(tmp_path: Path) -> None:
    columns = [(0, 32, 20, 10, 0.9), (-40, 32, 20, 10, 0.9), (30, 30, 0, 0, 0.9)]
    detector = _detector(tmp_path, np.array(columns, np.float32).T, info())
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(0, 27, 10, 37)])


def test_at_most_so_many_people(tmp_path: Path) -> None:
    columns = [(4 + 8 * i, 8, 6, 6, 0.3 + i / 100) for i in range(8)]
    detector = _detector(tmp_path, np.array(columns, np.float32).T, info(), max_people=3)
    np.testing.assert_allclose(detector.detect(np.zeros((64, 64, 3), np.uint8)).score, [0.37, 0.36, 0.35])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_output_that_is_not_a_number_is_an_error(tmp_path: Path, poison: float) -> None:
    detector = _detector(tmp_path, np.full((5, 3), poison, np.float32), info())
    with pytest.raises(WardposeError, match="not finite"):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("layout", ["yolo", "yolo-end2end", "yolox", "yolov6", "nanodet"])
def test_output_of_another_layout_is_an_error(tmp_path: Path, layout: Any) -> None:
    detector = _detector(tmp_path, np.zeros((9, 11), np.float32), info(layout=layout))
    with pytest.raises(WardposeError, match="layout"):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_a_pose_model_is_no_detector(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", [np.zeros((17, 8, 8), np.float32)], info(task="pose", layout="heatmap"))
    with pytest.raises(WardposeError, match="pose model"):
        PersonDetector(open_engine(path))


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30), iou=st.floats(0.1, 0.9), steps=st.sampled_from([3, 1000])
)
def test_suppression_is_the_greedy_one_the_first_of_equals_first(seed: int, count: int, iou: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], 1).astype(np.float32)
    score = (rng.integers(1, steps + 1, count) / steps).astype(np.float32)  # three steps: many are equal
    expected: list[int] = []
    for one in np.argsort(-score, kind="stable"):
        if (iou_matrix(boxes[[one]], boxes[expected]) <= iou).all():
            expected.append(int(one))
    assert non_maximum_suppression(boxes, score, iou).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30), iou=st.floats(0.1, 0.9))
def test_suppression_keeps_the_best_and_nothing_that_overlaps_it(seed: int, count: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes, score = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], 1), rng.random(count)
    kept = non_maximum_suppression(boxes, score, iou)
    overlap = iou_matrix(boxes[kept], boxes[kept]) - np.eye(len(kept))
    assert (overlap <= iou).all()
    assert (np.diff(score[kept]) <= 0).all()
    for dropped in set(range(count)) - set(kept.tolist()):
        better = kept[score[kept] >= score[dropped]]
        assert (iou_matrix(boxes[dropped : dropped + 1], boxes[better]) > iou).any()


def test_a_box_lies_where_the_surest_of_those_that_say_the_same_put_it(tmp_path: Path) -> None:
    columns = [(15, 30, 20, 40, 0.9), (17, 30, 20, 40, 0.9), (45, 30, 20, 40, 0.8), (47, 30, 20, 40, 0.4)]
    detector = _detector(tmp_path, np.array(columns, np.float32).T, info())
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.xyxy, [(6, 10, 26, 50), (35 + 2 / 9, 10, 55 + 2 / 9, 50)], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.9, 0.8])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 30), size=st.sampled_from([0.0, 5.0, 60.0]))
def test_a_box_that_nothing_agrees_with_stays_and_others_stay_within_those_that_do(
    seed: int, count: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, size, (count, 2))], 1).astype(np.float32)
    score = rng.uniform(0, 1, count).astype(np.float32)
    kept = non_maximum_suppression(boxes, score, 0.5)
    voted = voted_boxes(boxes, score, kept)
    for row, box in zip(kept, voted, strict=True):
        near = boxes[(iou_matrix(boxes[[row]], boxes)[0] >= 0.65) | (np.arange(count) == row)]
        assert (near.min(0) - 1e-3 <= box).all() and (box <= near.max(0) + 1e-3).all()
        if len(near) == 1:
            np.testing.assert_allclose(box, boxes[row], rtol=1e-6)
