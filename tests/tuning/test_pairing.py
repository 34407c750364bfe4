"""From the file to the verdict a person is known by the annotation's id: no order of anything can mix people up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from tests.tuning.drawn import draw_people
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.report import Evaluation, evaluate_detector
from tuning.export import ExportReport
from tuning.gate.judged import Judged, of_detector, of_pose
from tuning.gate.verdict import Verdict, judge

EXPORT = ExportReport(
    path="m.onnx", sha256="", layout="yolo", width=64, height=64, pictures=3, inputs="pictures", max_error=0.0,
    tolerance=1e-3,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """Knows every picture by its pixels and is off by so many pixels, otherwise for each person."""

    truth: dict[bytes, Picture]
    off: float

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        boxes = np.array([box + self._shift(box, 4) for box in self.truth[color.tobytes()].boxes])
        return Detections(boxes.astype(np.float32), np.linspace(0.9, 0.8, len(boxes), dtype=np.float32))

    def estimate(self, color: NDArray[np.uint8], people: Detections) -> Skeletons:
        picture = self.truth[color.tobytes()]
        order = [int(np.abs(picture.boxes - box).sum(1).argmin()) for box in people.xyxy]
        points = np.array([picture.keypoints[k, :, :2] + self._shift(picture.boxes[k], 2) for k in order])
        return Skeletons(points.astype(np.float32), np.full(points.shape[:2], 0.9, np.float32))

    def _shift(self, box: NDArray[np.float64], values: int) -> NDArray[np.float64]:
        return np.random.default_rng(int(box.sum() * 100)).normal(0, self.off, values)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_people(tmp_path_factory.mktemp("pairing") / "data", 20, people=2) / "annotations.json"


def model(file: Path, off: float) -> Model:
    return Model({read_photograph(picture.path).tobytes(): picture for picture in read_people(file)}, off)


def rewritten(file: Path, name: str, change: Any) -> Path:
    content = json.loads(file.read_text())
    change(content)
    path = file.with_name(name)
    path.write_text(json.dumps(content))
    return path


def shuffle(content: dict[str, Any]) -> None:
    for kind in ("images", "annotations"):
        Random(1).shuffle(content[kind])


def test_pictures_and_people_in_another_order_give_the_same_verdict(file: Path) -> None:
    shuffled = rewritten(file, "shuffled.json", shuffle)
    better, worse = model(file, 0.5), model(file, 3.0)
    before = evaluate_detector(worse, file, pose=worse, boxes="truth")
    after, again = (evaluate_detector(better, one, pose=better, boxes="truth") for one in (file, shuffled))
    assert list(after.scores) != list(again.scores), "the order of the file is another"

    def boxes(found: Evaluation, one: Path) -> Judged:
        return of_detector(found, read_people(one))

    def pose(found: Evaluation, one: Path) -> Judged:
        assert found.keypoints is not None
        return of_pose(found.keypoints, read_people(one))

    def verdict(found: Evaluation, one: Path, judged: Callable[[Evaluation, Path], Judged]) -> Verdict:
        return judge({"ward": judged(found, one)}, {"ward": judged(before, file)}, EXPORT, target="ward")

    for judged in (boxes, pose):
        assert verdict(after, file, judged) == verdict(again, shuffled, judged)
    assert verdict(after, file, pose).passed


@pytest.mark.parametrize("gone", [0, 7])
def test_a_file_with_one_person_less_is_another_file(file: Path, gone: int) -> None:
    shorter = rewritten(file, f"shorter-{gone}.json", lambda content: content["annotations"].pop(gone))
    same = model(file, 1.0)
    before, after = (of_detector(evaluate_detector(same, one), read_people(one)) for one in (file, shorter))
    with pytest.raises(WardposeError, match="changed between the evaluations"):
        judge({"ward": after}, {"ward": before}, EXPORT, target="ward")


def test_as_many_other_people_are_other_people_too(file: Path) -> None:
    def renumber(content: dict[str, Any]) -> None:
        content["annotations"][-1]["id"] = 9000

    other = rewritten(file, "other.json", renumber)
    same = model(file, 1.0)
    before, after = (of_detector(evaluate_detector(same, one), read_people(one)) for one in (file, other))
    with pytest.raises(WardposeError, match="changed between the evaluations"):
        judge({"ward": after}, {"ward": before}, EXPORT, target="ward")


def test_what_the_file_says_of_a_person_stays_with_the_person(file: Path) -> None:
    def tell(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation |= {"posture": f"posture {annotation['id']}", "age": annotation["id"] + 0.5, "joints3d": [[0.0]]}
        shuffle(content)

    for picture in read_people(rewritten(file, "told.json", tell)):
        assert [f"posture {person}" for person in picture.ids] == list(picture.postures)
        assert [dict(said) for said in picture.attributes] == [
            {"posture": f"posture {person}", "age": person + 0.5} for person in picture.ids
        ]
