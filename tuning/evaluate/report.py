"""A model's figures on a COCO file: COCO's own, the person score, and the scores person by person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.coco import score_boxes, score_keypoints
from tuning.evaluate.person_score import person_scores

Progress = Callable[[int, int, str], None]
# The paper's settings for evaluation; live, both are stricter.
CONFIDENCE_FLOOR = 0.001
NMS_IOU = 0.65
MOST_BOXES = 100


class Detector(Protocol):
    def detect(self, color: NDArray[np.uint8]) -> Detections: ...


class PoseEstimator(Protocol):
    def estimate(self, color: NDArray[np.uint8], people: Detections) -> Skeletons: ...


class KeypointFigures(BaseModel):
    AP: float
    AR: float


class Evaluation(BaseModel):
    """AP, AP50, AR, person_score: 0…1. scores: each person's own, in the file's order (crowds left out)."""

    model_config = ConfigDict(extra="forbid")

    AP: float = Field(title="AP over IoU 0.50:0.95")
    AP50: float = Field(title="AP at IoU 0.50")
    AR: float = Field(title="AR over IoU 0.50:0.95")
    person_score: float = Field(title="Mean person score")
    images: int = Field(title="Pictures")
    people: int = Field(title="People")
    keypoints: KeypointFigures | None = Field(default=None, title="Keypoint figures")
    scores: list[float] = Field(default_factory=list, title="Person scores, one a person")

    def figures(self) -> dict[str, float]:
        """The figures a model card keeps."""
        kept = {"AP": self.AP, "AP50": self.AP50, "AR": self.AR, "person_score": self.person_score}
        if self.keypoints:
            kept |= {"keypoints_AP": self.keypoints.AP, "keypoints_AR": self.keypoints.AR}
        return {name: round(value, 4) for name, value in kept.items()} | {"people": self.people, "images": self.images}


def open_for_evaluation(onnx: Path, *, prefer: str | None = None, threads: int | None = None) -> Detector:
    """A detector with the confidence floor and suppression that COCO's figures are measured with."""
    from runtime.detect import PersonDetector
    from runtime.engines.engine import open_engine

    engine = open_engine(onnx, prefer=prefer, threads=threads)
    return PersonDetector(engine, confidence=CONFIDENCE_FLOOR, nms_iou=NMS_IOU, max_people=MOST_BOXES)


def evaluate_detector(
    detector: Detector,
    coco_json: Path,
    images_dir: Path | None = None,
    progress: Progress | None = None,
    *,
    pose: PoseEstimator | None = None,
) -> Evaluation:
    """Score `detector` on every picture of a COCO file; with `pose`, the skeletons on the boxes it finds as well.

    The detector must report boxes down to a score of 0.001 (`open_for_evaluation`). Raises WardposeError for a file
    that is no COCO file and for pictures that are missing or unreadable.
    """
    pictures = read_people(coco_json, images_dir)
    found: list[Detections] = []
    skeletons: list[Skeletons] = []
    for index, picture in enumerate(pictures):
        if progress:
            progress(index, len(pictures), picture.path.name)
        color = read_picture(picture.path)
        people = detector.detect(color)
        found.append(people)
        if pose is not None:
            likely = people[:20]
            skeletons.append(pose.estimate(color, likely) if len(likely) else Skeletons.empty())
    keypoints = None
    if pose is not None:
        ranks = [people.score[: len(s)] * _confidence(s) for people, s in zip(found, skeletons, strict=True)]
        keypoints = _keypoints(pictures, skeletons, ranks)
    if progress:
        progress(len(pictures), len(pictures), "scoring")
    return summarise(pictures, found, keypoints)


def evaluate_pose(
    pose: PoseEstimator, coco_json: Path, images_dir: Path | None = None, progress: Progress | None = None
) -> KeypointFigures:
    """Score a pose model alone, on the boxes of the truth; people without labelled keypoints are left out."""
    pictures = [picture for picture in read_people(coco_json, images_dir) if picture.keypoints[..., 2].any()]
    if not pictures:
        raise WardposeError("no person has keypoints", where=str(coco_json), mend="give a COCO file with keypoints")
    skeletons: list[Skeletons] = []
    for index, picture in enumerate(pictures):
        if progress:
            progress(index, len(pictures), picture.path.name)
        boxes = picture.boxes[~picture.ignored & picture.keypoints[..., 2].any(1)].astype(np.float32)
        people = Detections(boxes, np.ones(len(boxes), np.float32))
        skeletons.append(pose.estimate(read_picture(picture.path), people) if len(boxes) else Skeletons.empty())
    if progress:
        progress(len(pictures), len(pictures), "scoring")
    return _keypoints(pictures, skeletons, [_confidence(s) for s in skeletons])


def summarise(
    pictures: Sequence[Picture], found: Sequence[Detections], keypoints: KeypointFigures | None = None
) -> Evaluation:
    """The figures of what was found in each picture."""
    boxes = score_boxes(pictures, found)
    scores = [
        score
        for picture, people in zip(pictures, found, strict=True)
        for score in person_scores(picture.boxes[~picture.ignored], people).tolist()
    ]
    return Evaluation(
        AP=boxes.AP,
        AP50=boxes.AP50,
        AR=boxes.AR,
        person_score=float(np.mean(scores)) if scores else 0.0,
        images=len(pictures),
        people=len(scores),
        keypoints=keypoints,
        scores=scores,
    )


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise WardposeError("not a readable picture", where=str(path), mend="copy the picture again")
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)


def _confidence(skeletons: Skeletons) -> NDArray[np.float64]:
    """(N,) mean confidence of the keypoints a skeleton is sure of (0.2, as in the paper)."""
    sure = skeletons.score >= 0.2
    total = np.where(sure, skeletons.score, 0.0).sum(1)
    mean: NDArray[np.float64] = total / np.maximum(sure.sum(1), 1)
    return mean


def _keypoints(
    pictures: Sequence[Picture], skeletons: Sequence[Skeletons], ranks: Sequence[NDArray[np.float64]]
) -> KeypointFigures:
    figures = score_keypoints(pictures, skeletons, ranks)
    return KeypointFigures(AP=figures.AP, AR=figures.AR)
