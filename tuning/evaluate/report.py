"""A model's figures on a COCO file: COCO's own, the person score, and the scores person by person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.belief import counted, least_score
from runtime.capture.photograph import read_photograph
from runtime.detect import LIVE_NMS_IOU, non_maximum_suppression
from runtime.detections import Detections, iou_matrix
from runtime.skeleton import Skeletons
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.coco import score_boxes
from tuning.evaluate.keypoints import KeypointFigures, mean_confidence, summarise_keypoints
from tuning.evaluate.person_score import person_scores
from tuning.evaluate.turned import QUARTERS, turn_labels, turn_pixels

# The paper's settings for evaluation; live, both are stricter.
CONFIDENCE_FLOOR = 0.001
NMS_IOU = 0.65
MOST_BOXES = 100
_LEAST = 0.25
# Boxes that get a skeleton at most: those that the live path looks at. Less likely ones, and those that COCO's figures
# want beside a better one of the same person, cost as much as any, and each is one more wrong skeleton. Measured on the
# simulated ward, without the second kind: a quarter fewer boxes, OKS AP and mean OKS as they were (.349 and .350, .561
# and .560).
MOST_SKELETONS = 20
# Overlap from which a person is found; overlap, or share of a box within somebody's, from which it shows them.
_FOUND_IOU, _SOMEBODY_IOU, _PART_OF_SOMEBODY = 0.5, 0.3, 0.5


if TYPE_CHECKING:
    from runtime.detect import PersonDetector
    from runtime.model_info import ModelInfo


class Detector(Protocol):
    def detect(self, color: NDArray[np.uint8]) -> Detections: ...


class PoseEstimator(Protocol):
    def estimate(self, color: NDArray[np.uint8], people: Detections) -> Skeletons: ...


class Evaluation(BaseModel):
    """AP, AP50, AR, person_score: 0…1. scores: each person's own, by the annotation's id (crowds left out)."""

    model_config = ConfigDict(extra="forbid")

    AP: float = Field(title="AP over IoU 0.50:0.95")
    AP50: float = Field(title="AP at IoU 0.50")
    AR: float = Field(title="AR over IoU 0.50:0.95")
    person_score: float = Field(title="Mean person score")
    images: int = Field(title="Pictures")
    people: int = Field(title="People")
    found: float | None = Field(default=None, title="Share of people found, as it runs live (IoU 0.50)")
    false_people: float | None = Field(default=None, title="People found where nobody is, as it runs live, a picture")
    misses: float | None = Field(default=None, title="People not found, as it runs live, a picture")
    keypoints: KeypointFigures | None = Field(default=None, title="Keypoint figures")
    scores: dict[int, float] = Field(default_factory=dict, title="Person score of each")
    covered: dict[int, float] = Field(default_factory=dict, title="Whether each is found, as it runs live (1, 0)")
    precision50: tuple[float, ...] = Field(default=(), title="Precision at 101 recalls, IoU 0.50")
    precision75: tuple[float, ...] = Field(default=(), title="Precision at 101 recalls, IoU 0.75")
    alarms: dict[int, int] = Field(default_factory=dict, title="Boxes that show nobody, by picture")

    def figures(self) -> dict[str, float]:
        """The figures a model card keeps."""
        kept = {"AP": self.AP, "AP50": self.AP50, "AR": self.AR, "person_score": self.person_score}
        if self.found is not None and self.false_people is not None:
            kept |= {"found": self.found, "false_people": self.false_people}
        if self.keypoints:
            kept |= {"keypoints_AP": self.keypoints.AP, "keypoints_mean_oks": self.keypoints.mean_oks}
        return {name: round(value, 4) for name, value in kept.items()} | {"people": self.people, "images": self.images}


def open_for_evaluation(onnx: Path, *, prefer: str | None = None, threads: int | None = None) -> PersonDetector:
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
    boxes: Literal["truth", "detected"] = "detected",
    turn_deg: int = 0,
    info: ModelInfo | None = None,
    witness: PoseEstimator | None = None,
) -> Evaluation:
    """Score `detector` on every picture of a COCO file; with `pose`, skeletons too, on boxes found or the true ones.

    turn_deg: every picture and its labels are turned clockwise by 0, 90, 180 or 270 degrees first. info: the detector's
    description, by which people count as they would live (None: all from a score of 0.25 on). witness: the pose model
    that is asked, as it is live, whether a box that the detector doubts shows a person; to save time only where nobody
    is, so that `found` takes its word for granted. The detector must report boxes down to a score of 0.001
    (`open_for_evaluation`). Raises WardposeError for a file that is no COCO file and for pictures that are missing or
    unreadable.
    """
    pictures = _turned(read_people(coco_json, images_dir, keypoints=pose is not None), turn_deg)
    if any(len(picture.ids) for picture in pictures) and all(picture.ignored.all() for picture in pictures):
        raise WardposeError("the file has crowds alone, nobody to be found", where=str(coco_json), mend="label people")
    found: dict[int, Detections] = {}
    seen: dict[int, Detections] = {}
    skeletons: dict[int, Skeletons] = {}
    live: dict[int, Detections] = {}
    for index, picture in enumerate(pictures):
        if progress:
            progress(index, len(pictures), picture.path.name)
        color = turn_pixels(read_photograph(picture.path), turn_deg)
        found[picture.id] = detector.detect(color)
        asked = pose is not None and boxes == "detected"
        doubted = asked or witness is not None
        live[picture.id] = people = _as_live(found[picture.id], _LEAST if info is None else least_score(info, doubted))
        if pose is not None:
            seen[picture.id] = people if asked else _labelled(picture)
            skeletons[picture.id] = (
                pose.estimate(color, seen[picture.id]) if len(seen[picture.id]) else Skeletons.empty()
            )
            if asked and info is not None:
                live[picture.id] = people[counted(info, people, skeletons[picture.id])]
        if witness is not None and info is not None and not asked:
            live[picture.id] = _borne_out(people, picture, color, info, witness)
    keypoints = None
    if pose is not None:
        ranks = {id: seen[id].score * mean_confidence(people) for id, people in skeletons.items()}
        keypoints = summarise_keypoints(pictures, skeletons, seen, ranks)
    if progress:
        progress(len(pictures), len(pictures), "scoring")
    return summarise(pictures, found, keypoints, live)


def evaluate_pose(
    pose: PoseEstimator,
    coco_json: Path,
    images_dir: Path | None = None,
    progress: Progress | None = None,
    *,
    turn_deg: int = 0,
) -> KeypointFigures:
    """Score a pose model alone, on the boxes of the truth; people without labelled keypoints are left out."""
    pictures = [
        picture for picture in read_people(coco_json, images_dir, keypoints=True) if picture.keypoints[..., 2].any()
    ]
    if not pictures:
        raise WardposeError("no person has keypoints", where=str(coco_json), mend="give a COCO file with keypoints")
    return pose_figures(pose, pictures, progress, turn_deg=turn_deg)


def pose_figures(
    pose: PoseEstimator, pictures: Sequence[Picture], progress: Progress | None = None, *, turn_deg: int = 0
) -> KeypointFigures:
    """Score a pose model on the true boxes of pictures, turned clockwise by 0, 90, 180 or 270 degrees first."""
    turned = _turned(pictures, turn_deg)
    skeletons: dict[int, Skeletons] = {}
    people: dict[int, Detections] = {}
    for index, picture in enumerate(turned):
        if progress:
            progress(index, len(turned), picture.path.name)
        people[picture.id] = boxes = _labelled(picture)
        color = turn_pixels(read_photograph(picture.path), turn_deg)
        skeletons[picture.id] = pose.estimate(color, boxes) if len(boxes) else Skeletons.empty()
    if progress:
        progress(len(turned), len(turned), "scoring")
    return summarise_keypoints(turned, skeletons, people, {id: mean_confidence(s) for id, s in skeletons.items()})


def summarise(
    pictures: Sequence[Picture],
    found: Mapping[int, Detections],
    keypoints: KeypointFigures | None = None,
    live: Mapping[int, Detections] | None = None,
) -> Evaluation:
    """The figures of what was found in each picture, by its id. live: those of it who count as it runs live."""
    boxes = score_boxes(pictures, found)
    shares: dict[str, Any] = {} if live is None else _live_figures(pictures, live)
    scores: dict[int, float] = {}
    for picture in pictures:
        counted = ~picture.ignored
        each = person_scores(picture.boxes[counted], found[picture.id])
        scores |= zip(picture.ids[counted].tolist(), each.tolist(), strict=True)
    return Evaluation(
        AP=boxes.AP,
        AP50=boxes.AP50,
        AR=boxes.AR,
        person_score=float(np.mean(list(scores.values()))) if scores else 0.0,
        images=len(pictures),
        people=len(scores),
        keypoints=keypoints,
        scores=scores,
        precision50=boxes.precision50,
        precision75=boxes.precision75,
        **shares,
    )


def _live_figures(pictures: Sequence[Picture], live: Mapping[int, Detections]) -> dict[str, Any]:
    """`covered`, `found`: the people whom a box covers, and their share; `alarms`, `false_people`: boxes that show
    nobody, no part of somebody and no crowd, and how many a picture; `misses`: people without a box a picture."""
    covered: dict[int, float] = {}
    alarms: dict[int, int] = {}
    for picture in pictures:
        boxes, counted = live[picture.id].xyxy, ~picture.ignored
        overlap = iou_matrix(picture.boxes, boxes)
        hit = np.asarray((overlap >= _FOUND_IOU).any(1))
        covered |= zip(picture.ids[counted].tolist(), hit[counted].astype(float).tolist(), strict=True)
        alarms[picture.id] = int((~_shows_somebody(boxes, picture)).sum())
    shown, found = max(len(pictures), 1), sum(covered.values())
    return {
        "covered": covered, "found": found / len(covered) if covered else 0.0, "alarms": alarms,
        "false_people": sum(alarms.values()) / shown, "misses": (len(covered) - found) / shown,
    }  # fmt: skip


def _shows_somebody(boxes: NDArray[np.floating], picture: Picture) -> NDArray[np.bool_]:
    """(N,) whether each box shows somebody, a part of somebody or a crowd."""
    shown = (iou_matrix(picture.boxes, boxes) >= _SOMEBODY_IOU) | (
        _share_within(boxes, picture.boxes).T >= _PART_OF_SOMEBODY
    )
    return np.asarray(shown.any(0))


def _borne_out(
    people: Detections, picture: Picture, color: NDArray[np.uint8], info: ModelInfo, witness: PoseEstimator
) -> Detections:
    """`people` without those whom the detector doubts and whose skeleton speaks for nobody, where nobody is."""
    certain = info.threshold if info.certain is None else info.certain
    asked = np.flatnonzero(~_shows_somebody(people.xyxy, picture) & (people.score < certain))
    if info.doubtful is None or not len(asked):
        return people
    stays = np.ones(len(people), bool)
    stays[asked] = counted(info, people[asked], witness.estimate(color, people[asked]))
    return people[stays]


def _share_within(boxes: NDArray[np.floating], people: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, P) the share of each box that lies within each person's."""
    a, b = np.asarray(boxes, np.float64)[:, None], np.asarray(people, np.float64)[None]
    shared = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(-1)
    share: NDArray[np.float64] = shared / np.maximum((a[..., 2:] - a[..., :2]).prod(-1), 1e-9)
    return share


def _turned(pictures: Sequence[Picture], turn_deg: int) -> list[Picture]:
    if turn_deg not in QUARTERS:
        raise WardposeError(f"a turn of {turn_deg}° is not known", mend="give 0, 90, 180 or 270")
    return [turn_labels(picture, turn_deg) for picture in pictures]


def _as_live(people: Detections, least: float) -> Detections:
    """Those whom the live path would look at: of this score and more, suppressed as it suppresses."""
    likely = people[people.score >= least]
    return likely[non_maximum_suppression(likely.xyxy, likely.score, LIVE_NMS_IOU)][:MOST_SKELETONS]


def _labelled(picture: Picture) -> Detections:
    """The true boxes of the people who have labelled keypoints."""
    boxes = picture.boxes[~picture.ignored & (picture.keypoints[..., 2] > 0).any(1)].astype(np.float32)
    return Detections(boxes, np.ones(len(boxes), np.float32))
