"""Finding the people in a picture with any of the supported detector layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detections import Detections, iou_matrix
from runtime.detector_layouts import decode_boxes, suppressed
from runtime.engines.engine import InferenceEngine
from runtime.model_info import ModelInfo

# Boxes that reach non-maximum suppression: far more than a room holds.
_MOST_CANDIDATES = 300
# Overlap from which the less sure of two boxes goes, live.
LIVE_NMS_IOU = 0.5
# Overlap from which a box says the same as the one that is kept, and the power of its score by which it counts.
# Measured on tuned NanoDets: up to three points of person score more where boxes are suppressed from .65 on, as in an
# evaluation, up to one from .5 on, as live; voters from .5 or .6 on cost people who lie.
_SAME_BOX, _SURENESS = 0.65, 3


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture sits in a model's input: input = picture · scale + (left, top), in pixels."""

    scale: float
    left: int
    top: int

    def to_picture(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., 2) input pixels to picture pixels."""
        return ((points - np.array([self.left, self.top])) / self.scale).astype(np.float32)

    def boxes_to_picture(self, xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, 4) boxes in input pixels to picture pixels."""
        return self.to_picture(xyxy.reshape(-1, 2, 2)).reshape(-1, 4)


def letterbox(color: NDArray[np.uint8], info: ModelInfo) -> tuple[NDArray[np.float32], Letterbox]:
    """The picture (H, W, 3) RGB, scaled to fit and padded, as the model's normalised (1, 3, height, width) input.

    `centre` follows ultralytics' rounding, `top-left` that of YOLOX.
    """
    height, width = color.shape[:2]
    scale = min(info.width / width, info.height / height)
    if info.letterbox == "centre":
        new_width, new_height = round(width * scale), round(height * scale)
        left, top = round((info.width - new_width) / 2 - 0.1), round((info.height - new_height) / 2 - 0.1)
    else:
        new_width, new_height, left, top = int(width * scale), int(height * scale), 0, 0
    new_width, new_height = max(new_width, 1), max(new_height, 1)
    canvas = np.full((info.height, info.width, 3), info.pad_value, np.uint8)
    canvas[top : top + new_height, left : left + new_width] = cv2.resize(
        color, (new_width, new_height), interpolation=cv2.INTER_LINEAR
    )
    return normalise(canvas[None], info), Letterbox(scale, left, top)


def normalise(pictures: NDArray[np.uint8], info: ModelInfo) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 RGB to (N, 3, H, W) float32 in the model's channel order, mean taken off, divided by std."""
    if info.channels == "bgr":
        pictures = pictures[..., ::-1]
    planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32)
    if any(info.mean):
        planes -= np.asarray(info.mean, np.float32).reshape(1, 3, 1, 1)
    planes *= 1 / np.asarray(info.std, np.float32).reshape(1, 3, 1, 1)
    return planes


class PersonDetector:
    """Boxes of people, from an engine and its model's description.

    confidence: score below which a box is dropped; None is the model's own threshold. nms_iou: overlap above which the
    lower-scored of two boxes goes (models that need no suppression are left alone). max_people: boxes kept, highest
    score first.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        confidence: float | None = None,
        nms_iou: float = LIVE_NMS_IOU,
        max_people: int = 20,
    ) -> None:
        info = engine.info
        if info.task != "detect":
            raise WardposeError(f"{info.name} is a {info.task} model", mend="name a detector")
        if info.person_class >= info.classes:
            raise WardposeError(
                f"person is class {info.person_class} of only {info.classes}", where=info.name, mend="mend its card"
            )
        self.engine, self.nms_iou, self.max_people = engine, nms_iou, max_people
        self.confidence = info.threshold if confidence is None else confidence

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        """People in a (H, W, 3) uint8 RGB picture, highest score first; none found is an empty answer, not an error.

        Raises WardposeError when the model answers with a shape its description does not allow, or not with numbers.
        """
        batch, placed = letterbox(color, self.engine.info)
        return self.decode(self.engine.run(batch), placed, color.shape[1], color.shape[0])

    def decode(self, outputs: list[NDArray[np.float32]], placed: Letterbox, width: int, height: int) -> Detections:
        """The model's raw outputs for one picture of `width` × `height` pixels as people."""
        info = self.engine.info
        boxes, scores = decode_boxes(outputs, info)
        likely = scores >= self.confidence
        boxes, scores = boxes[likely], np.clip(scores[likely], 0, 1)
        order = np.argsort(-scores, kind="stable")[:_MOST_CANDIDATES]
        boxes, scores = placed.boxes_to_picture(boxes[order]), scores[order]
        boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
        solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, scores = boxes[solid], scores[solid]
        if not suppressed(info):
            keep = non_maximum_suppression(boxes, scores, self.nms_iou)[: self.max_people]
            boxes, scores = voted_boxes(boxes, scores, keep).astype(np.float32), scores[keep]
        return Detections(boxes[: self.max_people].astype(np.float32), scores[: self.max_people].astype(np.float32))


def non_maximum_suppression(xyxy: NDArray[np.floating], score: NDArray[np.floating], iou: float) -> NDArray[np.intp]:
    """Indices of the boxes kept, highest score first: each overlaps every better kept one by at most `iou`."""
    order = np.argsort(-score, kind="stable")
    boxes = xyxy[order].astype(np.float64)
    corners_sizes: Any = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)  # its stubs know lists alone
    # Ranks in the place of scores: which of two equal scores goes first, OpenCV leaves open.
    ranks: Any = np.arange(len(order), 0, -1, dtype=np.float32)
    kept = cv2.dnn.NMSBoxes(corners_sizes, ranks, 0.0, iou)
    return order[np.asarray(kept, np.intp).reshape(-1)]


def voted_boxes(xyxy: NDArray[np.floating], score: NDArray[np.floating], kept: NDArray[np.intp]) -> NDArray[np.float64]:
    """(K, 4) the boxes `kept` (K,), each moved to the mean of all (N, 4) that say the same, the surest before all.

    Box voting (Gidaris, Komodakis 2015): the box with the best score is not the one with the best edges.
    """
    same = iou_matrix(xyxy[kept], xyxy) >= _SAME_BOX
    same[np.arange(len(kept)), kept] = True
    weight = same * np.maximum(np.asarray(score, np.float64), 1e-6) ** _SURENESS
    voted: NDArray[np.float64] = weight @ np.asarray(xyxy, np.float64) / weight.sum(1, keepdims=True)
    return voted
