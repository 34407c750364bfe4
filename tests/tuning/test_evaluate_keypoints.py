"""Skeletons are scored as COCO scores them, whichever way the picture is turned."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.coco import _ground_truth
from tuning.evaluate.keypoints import KeypointFigures, similarity, summarise_keypoints
from tuning.evaluate.report import evaluate_detector, evaluate_pose
from tuning.evaluate.turned import QUARTERS, turn_labels, turn_pixels


def picture(seed: int, people: int = 2) -> Picture:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (people, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(40, 90, (people, 2))], axis=1)
    keypoints = np.zeros((people, 17, 3))
    keypoints[..., 2] = rng.integers(0, 3, (people, 17))
    keypoints[:, 0, 2] = 2
    known = keypoints[..., 2] > 0
    keypoints[..., :2] = np.where(known[..., None], rng.uniform(0, 190, (people, 17, 2)), 0)
    areas = rng.uniform(900, 4000, people)
    said = tuple({"posture": posture} for posture in rng.choice(["supine", "standing"], people).tolist())
    ids = np.arange(people) + 40
    return Picture(1, Path("x.jpg"), 320, 200, ids, boxes, keypoints, areas, np.zeros(people, bool), said, {})


class Truth:
    """Answers each box with the skeleton of the person it belongs to, moved by so many pixels."""

    def __init__(self, pictures: list[Picture], off_px: float = 0.0) -> None:
        self._pictures, self._off_px, self.turn = {p.path.name: p for p in pictures}, off_px, 0

    def skeletons(self, labels: Picture, boxes: Detections) -> Skeletons:
        order = [int(np.abs(labels.boxes - box).sum(1).argmin()) for box in boxes.xyxy]
        points = labels.keypoints[order][..., :2] + self._off_px
        return Skeletons(points.astype(np.float32), np.full(points.shape[:2], 0.9, np.float32))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_the_similarity_of_a_person_is_that_of_pycocotools(seed: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = picture(seed, people=1)
    found = labels.keypoints[0, :, :2] + np.random.default_rng(seed).normal(0, 4, (17, 2))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _ground_truth([labels])
        truth.createIndex()
        row = {"image_id": 1, "category_id": 1, "score": 1.0,
               "keypoints": np.column_stack([found, np.ones(17)]).ravel().tolist()}  # fmt: skip
        evaluation = COCOeval(truth, truth.loadRes([row]), "keypoints")
        evaluation._prepare()
    expected = float(evaluation.computeOks(1, 1)[0, 0])
    counted = labels.keypoints[0, :, 2] > 0
    assert similarity(found, labels.keypoints[0, :, :2], float(labels.areas[0]), counted) == pytest.approx(expected)


def test_the_true_skeleton_scores_one_and_somebody_unfound_scores_nothing() -> None:
    labels = picture(3)
    boxes = Detections(labels.boxes[:1].astype(np.float32), np.ones(1, np.float32))
    skeletons = Truth([labels]).skeletons(labels, boxes)
    figures = summarise_keypoints([labels], {1: skeletons}, {1: boxes}, {1: np.ones(1)})
    assert figures.oks == pytest.approx({40: 1, 41: 0}, abs=1e-6)
    assert figures.mean_oks == pytest.approx(0.5) and figures.people == 2


@pytest.mark.parametrize(("off_px", "right"), [(0.0, 1.0), (90.0, 0.0)])
def test_a_confidence_is_off_by_what_it_says_over_what_is_right(off_px: float, right: float) -> None:
    many = [replace(_seen_from_the_side(seed), id=seed) for seed in range(12)]
    boxes = {one.id: Detections(one.boxes.astype(np.float32), np.ones(2, np.float32)) for one in many}
    found = {one.id: Truth([one], off_px).skeletons(one, boxes[one.id]) for one in many}
    figures = summarise_keypoints(many, found, boxes, {one.id: np.ones(2) for one in many})
    assert figures.confidence_joints == 12 * 2 * 17
    assert figures.confidence_error == pytest.approx(abs(0.9 - right), abs=1e-6)  # 0.9 is what `Truth` says
    few = summarise_keypoints(many[:1], {0: found[0]}, {0: boxes[0]}, {0: np.ones(2)})
    assert few.confidence_error is None and few.confidence_joints == 34


def _seen_from_the_side(seed: int) -> Picture:
    """People all of whose joints are labelled, the trunk longer than it is broad."""
    labels = picture(seed)
    labels.keypoints[..., 2] = 2
    labels.keypoints[:, [5, 6], :2] = labels.boxes[:, None, :2] + [[10, 10], [30, 10]]
    labels.keypoints[:, [11, 12], :2] = labels.boxes[:, None, :2] + [[10, 60], [30, 60]]
    return labels


def test_what_is_wrong_of_hidden_joints_alone_costs_the_visible_ones_nothing() -> None:
    labels = _seen_from_the_side(3)
    labels.keypoints[:, 13:, 2] = 1
    boxes = Detections(labels.boxes.astype(np.float32), np.ones(2, np.float32))
    skeletons = Truth([labels]).skeletons(labels, boxes)
    skeletons.keypoints[:, 13:] += 200
    figures = summarise_keypoints([labels], {1: skeletons}, {1: boxes}, {1: np.ones(2)})
    assert figures.AP_visible == pytest.approx(1) and figures.AP < 0.8
    assert figures.mean_oks_visible == pytest.approx(1, abs=1e-6)


def test_what_ap_lacks_is_told_by_where_it_is_lost() -> None:
    # Two people with hidden legs, of whom one is found: arms and legs of that one lie wrong.
    labels = _seen_from_the_side(3)
    labels.keypoints[:, 13:, 2] = 1
    boxes = Detections(labels.boxes[:1].astype(np.float32), np.ones(1, np.float32))
    truth = Truth([labels]).skeletons(labels, boxes)

    def figures(*wrong: int) -> KeypointFigures:
        skeletons = replace(truth, keypoints=truth.keypoints.copy())
        skeletons.keypoints[:, list(wrong)] += 300
        return summarise_keypoints([labels], {1: skeletons}, {1: boxes}, {1: np.ones(1)})

    found = figures().AP
    assert 0.4 < found < 0.6  # one of two
    legs, arms = [13, 14, 15, 16], [7, 8, 9, 10]
    of_legs, of_both = figures(*legs), figures(*legs, *arms)
    assert found > of_legs.AP and found == of_legs.AP_hidden_right == of_legs.AP_all_right
    assert of_legs.AP_visible_right == of_legs.AP
    assert of_both.AP_hidden_right is not None and of_both.AP_visible_right is not None
    assert of_both.AP < min(of_both.AP_hidden_right, of_both.AP_visible_right) < found == of_both.AP_all_right


def test_people_are_told_apart_by_posture() -> None:
    labels = picture(3)
    boxes = Detections(labels.boxes.astype(np.float32), np.ones(2, np.float32))
    skeletons = Truth([labels], 5).skeletons(labels, boxes)
    figures = summarise_keypoints([labels], {1: skeletons}, {1: boxes}, {1: np.ones(2)})
    assert {name: row.people for name, row in figures.postures.items()} == {
        name: labels.postures.count(name) for name in set(labels.postures)
    }
    assert sum(row.mean_oks * row.people for row in figures.postures.values()) / 2 == pytest.approx(figures.mean_oks)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(QUARTERS))
def test_a_turned_label_lies_on_the_turned_pixel(seed: int, degrees: int) -> None:
    labels = picture(seed)
    x, y = (int(v) for v in labels.keypoints[0, 0, :2].round())
    pixels = np.zeros((labels.height, labels.width, 3), np.uint8)
    pixels[y, x] = 255
    labels.keypoints[0, 0, :2] = x, y
    turned = turn_labels(labels, degrees)
    canvas = turn_pixels(pixels, degrees)
    assert canvas.shape[:2] == (turned.height, turned.width)
    row, column = np.argwhere(canvas[..., 0])[0]
    assert turned.keypoints[0, 0, :2].tolist() == [column, row]
    assert ((turned.boxes[:, 2:] - turned.boxes[:, :2]).prod(1)) == pytest.approx(
        (labels.boxes[:, 2:] - labels.boxes[:, :2]).prod(1)
    )


def test_four_quarters_are_none() -> None:
    labels = picture(5)
    turned = turn_labels(turn_labels(labels, 270), 90)
    np.testing.assert_allclose(turned.boxes, labels.boxes)
    np.testing.assert_allclose(turned.keypoints, labels.keypoints)


@pytest.mark.parametrize("turn", QUARTERS)
@pytest.mark.parametrize("boxes", ["truth", "detected"])
def test_a_perfect_model_is_perfect_on_turned_pictures(drawn_people: Path, turn: int, boxes: str) -> None:
    annotations = drawn_people / "annotations.json"
    labels = [turn_labels(p, turn) for p in read_people(annotations)]
    seen = iter(labels)

    class Detector:
        current = labels[0]

        def detect(self, color: NDArray[np.uint8]) -> Detections:
            Detector.current = next(seen)
            people = Detector.current.boxes.astype(np.float32)
            return Detections(people, np.full(len(people), 0.9, np.float32))

    class Pose:
        def estimate(self, color: NDArray[np.uint8], people: Detections) -> Skeletons:
            assert color.shape[:2] == (Detector.current.height, Detector.current.width)
            return Truth([]).skeletons(Detector.current, people)

    found = evaluate_detector(
        Detector(), annotations, pose=Pose(), boxes="truth" if boxes == "truth" else "detected", turn_deg=turn
    )
    assert pytest.approx(1) == found.AP50 and found.keypoints is not None
    assert found.keypoints.mean_oks == pytest.approx(1, abs=1e-4) and pytest.approx(1) == found.keypoints.AP50


def test_a_turn_that_is_no_quarter_is_refused(drawn_people: Path) -> None:
    with pytest.raises(WardposeError, match="45"):
        evaluate_pose(Truth([]), drawn_people / "annotations.json", turn_deg=45)  # type: ignore[arg-type]
