"""COCO's figures, the person score and their statistics."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from tests.runtime.onnx_graphs import info
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.person_score import person_scores
from tuning.evaluate.report import evaluate_detector, evaluate_pose, open_for_evaluation, summarise
from tuning.export import export_onnx
from tuning.import_model import import_model


class Truth:
    """Answers with the boxes of the truth, moved by `shift` pixels, in the file's order."""

    def __init__(self, pictures: list[Picture], shift: float = 0.0) -> None:
        self._pictures, self._shift = iter(pictures), shift

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        boxes = (next(self._pictures).boxes + self._shift).astype(np.float32)
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32))

    def estimate(self, color: NDArray[np.uint8], people: Detections) -> Skeletons:
        picture = next(self._pictures)
        return Skeletons(
            (picture.keypoints[..., :2] + self._shift).astype(np.float32), np.ones((len(people), 17), np.float32)
        )


def test_the_truth_itself_scores_one(drawn_people: Path) -> None:
    file = drawn_people / "annotations.json"
    evaluation = evaluate_detector(Truth(read_people(file)), file)
    assert (evaluation.images, evaluation.people) == (24, 24)
    assert evaluation.AP == evaluation.AP50 == evaluation.AR == pytest.approx(1.0)
    assert evaluation.person_score == pytest.approx(1.0, abs=1e-5)
    assert pytest.approx(1.0) == evaluate_pose(Truth(read_people(file)), file).AP


def test_looser_boxes_and_skeletons_score_less(drawn_people: Path) -> None:
    file = drawn_people / "annotations.json"
    evaluation = evaluate_detector(Truth(read_people(file), shift=3.0), file)
    assert 0.2 < evaluation.AP < 0.95 and pytest.approx(1.0) == evaluation.AP50
    assert evaluate_pose(Truth(read_people(file), shift=5.0), file).AP < 0.9


def test_nothing_found_scores_nothing(drawn_people: Path) -> None:
    pictures = read_people(drawn_people / "annotations.json")
    evaluation = summarise(pictures, {picture.id: Detections.empty() for picture in pictures})
    assert (evaluation.AP, evaluation.AR, evaluation.person_score) == (0, 0, 0)


def _one_picture(tmp_path: Path, *boxes: tuple[float, float, float, float]) -> Path:
    """A COCO file of one grey picture with people in these boxes (x, y, width, height)."""
    cv2.imwrite(str(tmp_path / "one.png"), np.full((200, 300, 3), 90, np.uint8))
    people = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
         "keypoints": [50, 50, 2] * 17}
        for i, box in enumerate(boxes)
    ]  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "one.png", "width": 300, "height": 200}],
        "annotations": people, "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    file = tmp_path / "one.json"
    file.write_text(json.dumps(content))
    return file


class Found:
    """Answers with these boxes, surest first, and with joints as likely as given for each."""

    def __init__(self, *found: tuple[tuple[float, float, float, float], float, float]) -> None:
        boxes, self.score, joints = zip(*found, strict=True)
        self._boxes, self._joints = np.array(boxes, np.float32), dict(zip(boxes, joints, strict=True))

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        return Detections(self._boxes, np.array(self.score, np.float32))

    def estimate(self, color: NDArray[np.uint8], people: Detections) -> Skeletons:
        likely = np.array([self._joints[tuple(box)] for box in people.xyxy.tolist()], np.float32)
        return Skeletons(np.full((len(people), 17, 2), 50, np.float32), np.repeat(likely[:, None], 17, axis=1))


def test_people_found_where_nobody_is_are_counted_as_they_would_be_shown(tmp_path: Path) -> None:
    file = _one_picture(tmp_path, (10, 10, 100, 150))
    somebody, part = ((10.0, 10.0, 110.0, 150.0), 0.9, 0.9), ((12.0, 12.0, 60.0, 60.0), 0.8, 0.9)
    cushion, chair = ((200.0, 10.0, 260.0, 60.0), 0.5, 0.0), ((200.0, 120.0, 280.0, 190.0), 0.7, 0.0)
    faint = ((120.0, 150.0, 190.0, 195.0), 0.3, 0.9)
    detector = Found(somebody, part, chair, cushion, faint)
    doubts = info().model_copy(update={"threshold": 0.4, "doubtful": 0.35, "certain": 0.6})
    alone = evaluate_detector(detector, file, info=doubts)
    assert (alone.found, alone.false_people) == (1.0, 2.0)
    borne_out = evaluate_detector(detector, file, pose=detector, info=doubts)
    assert (borne_out.found, borne_out.false_people) == (1.0, 1.0)
    sure = doubts.model_copy(update={"doubtful": None})
    assert evaluate_detector(detector, file, pose=detector, info=sure).false_people == 2.0
    assert borne_out.figures()["false_people"] == 1.0
    # A witness beside the detector says the same of boxes that show nobody, and need not be asked of the others.
    witness = Found(cushion)
    beside = evaluate_detector(detector, file, info=doubts, witness=witness)
    assert (beside.found, beside.false_people) == (1.0, 1.0) and beside.keypoints is None
    assert evaluate_detector(detector, file, info=sure, witness=witness).false_people == 2.0


def test_an_empty_room_finds_nobody_and_counts_whoever_is_seen(tmp_path: Path) -> None:
    evaluation = evaluate_detector(Found(((20.0, 20.0, 90.0, 90.0), 0.9, 0.0)), _one_picture(tmp_path))
    assert (evaluation.people, evaluation.found, evaluation.false_people) == (0, 0.0, 1.0)


def test_crowds_alone_are_nobody_to_be_found(tmp_path: Path, drawn_people: Path) -> None:
    content = json.loads((drawn_people / "annotations.json").read_text())
    for row in content["annotations"]:
        row["iscrowd"] = 1
    (tmp_path / "crowds.json").write_text(json.dumps(content))
    with pytest.raises(WardposeError, match="crowds alone, nobody to be found"):
        evaluate_detector(Truth([]), tmp_path / "crowds.json", drawn_people / "images")


def test_figures_on_real_photographs_are_those_of_pycocotools_on_the_original_file(
    shared_data: Path, tmp_path: Path
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = json.loads((shared_data / "lying_dev/person.json").read_text())
    content["images"] = content["images"][:40]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]
    part = tmp_path / "person.json"
    part.write_text(json.dumps(content))
    import_model(shared_data / "weights/person-v5nu.safetensors", tmp_path, "person", width=416, height=416)
    export_onnx(tmp_path / "person", tmp_path / "person.onnx")
    detector = open_for_evaluation(tmp_path / "person.onnx", threads=1)
    found: list[Detections] = []

    class Recorder:
        def detect(self, color: NDArray[np.uint8]) -> Detections:
            found.append(detector.detect(color))
            return found[-1]

    evaluation = evaluate_detector(Recorder(), part, shared_data / "lying_dev/images")
    truth = COCO(str(part))
    rows = [
        [image["id"], x1, y1, x2 - x1, y2 - y1, score, 1]
        for image, people in zip(content["images"], found, strict=True)
        for (x1, y1, x2, y2), score in zip(people.xyxy.astype(float), people.score, strict=True)
    ]
    reference = COCOeval(truth, truth.loadRes(np.array(rows)), "bbox")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    assert pytest.approx(reference.stats[[0, 1, 8]], abs=1e-6) == [evaluation.AP, evaluation.AP50, evaluation.AR]
    assert evaluation.AP50 > 0.5


def test_a_person_scores_their_overlap_from_three_quarters_up() -> None:
    people = np.array([[0, 0, 100, 100], [200, 0, 300, 100]], float)
    found = Detections(np.array([[0, 0, 100, 80], [200, 0, 300, 70]], np.float32), np.array([0.9, 0.9], np.float32))
    assert person_scores(people, found) == pytest.approx([0.8, 0.0])


def test_a_box_of_low_confidence_counts_for_nobody() -> None:
    people = np.array([[0, 0, 100, 100]], float)
    assert person_scores(people, Detections(people.astype(np.float32), np.array([0.19], np.float32))).tolist() == [0]


def test_one_box_serves_one_person() -> None:
    people = np.array([[0, 0, 100, 100], [0, 0, 100, 98]], float)
    scores = person_scores(people, Detections(people[:1].astype(np.float32), np.ones(1, np.float32)))
    assert sorted(scores.tolist()) == [0, 1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not a COCO file"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}', "no pictures"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}', "no category"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "person"}]}',
            "images row 1, file_name: is missing",
        ),
        (
            '{"images": [{"id": 1, "file_name": "../x.jpg", "width": 1, "height": 1}], "annotations": [],'
            ' "categories": [{"id": 1, "name": "person"}]}',
            "out of the folder",
        ),
        (
            '{"images": [{"id": 1, "file_name": "x.jpg", "width": 1, "height": 1}], "annotations": [],'
            ' "categories": [{"id": 1, "name": "person"}]}',
            "pictures are missing",
        ),
    ],
)
def test_a_file_that_does_not_hold_is_refused_in_words(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "coco.json").write_text(content)
    with pytest.raises(WardposeError, match=says):
        read_people(tmp_path / "coco.json")


def test_an_unreadable_picture_is_named(tmp_path: Path, drawn_people: Path) -> None:
    import shutil

    shutil.copytree(drawn_people, tmp_path / "data")
    (tmp_path / "data/images/000000.jpg").write_bytes(b"no picture")
    with pytest.raises(WardposeError, match=r"000000\.jpg"):
        evaluate_detector(Truth(read_people(drawn_people / "annotations.json")), tmp_path / "data/annotations.json")
