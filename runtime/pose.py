"""Skeletons of the people already found: crop, model, decode, back to the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from calibration.errors import WardposeError
from runtime.codecs import decode_heatmap, decode_heatmap_dark, decode_heatmap_udp, decode_movenet, decode_simcc
from runtime.detect import letterbox, normalise
from runtime.detections import Detections, iou_matrix
from runtime.detector_layouts import require_finite
from runtime.engines.engine import InferenceEngine
from runtime.model_info import ModelInfo
from runtime.skeleton import KEYPOINTS, Skeletons

# People in one call of the model: bounds memory, and what a crowd can do to the frame time of one call.
_BATCH = 8
_DECODERS = {"heatmap": decode_heatmap, "heatmap-dark": decode_heatmap_dark, "heatmap-udp": decode_heatmap_udp}


def box_to_centre_scale(
    xyxy: NDArray[np.floating], padding: float, aspect: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and sizes (N, 2) in pixels of the crops around boxes (N, 4), widened to `aspect` = width / height."""
    boxes = np.asarray(xyxy, np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    width, height = ((boxes[:, 2:] - boxes[:, :2]) * padding).T
    wide = width > height * aspect
    scale = np.stack([np.where(wide, width, height * aspect), np.where(wide, width / aspect, height)], axis=1)
    return centre, scale


def crop_matrix(
    centre: NDArray[np.floating], scale: NDArray[np.floating], size: tuple[int, int], *, unit_lengths: bool
) -> NDArray[np.float64]:
    """The (2, 3) affine map from picture to crop pixels.

    unit_lengths: UDP's convention, where the crop's first and last pixel centres lie on its borders (Huang et al.
    2020); else mmpose's older one, where `size` pixels span the crop's whole width.
    """
    span = np.asarray(size, np.float64) - (1 if unit_lengths else 0)
    zoom = span / scale if unit_lengths else np.full(2, size[0] / scale[0])
    return np.array([[zoom[0], 0, span[0] / 2 - zoom[0] * centre[0]], [0, zoom[1], span[1] / 2 - zoom[1] * centre[1]]])


class PoseEstimator:
    """COCO-17 keypoints of detected people, from a top-down model or a whole-picture one (`yolo-pose`).

    The answer has one skeleton for each detection, in the same order and with its track id; a person for whom the
    model has no answer keeps a skeleton whose scores are all 0.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        if engine.info.task != "pose":
            raise WardposeError(f"{engine.info.name} is a {engine.info.task} model", mend="name a pose model")
        self.engine = engine

    def estimate(self, color: NDArray[np.uint8], detections: Detections) -> Skeletons:
        """Skeletons in a (H, W, 3) uint8 RGB picture; nobody detected gives nobody, without running the model.

        Raises WardposeError when the model answers with a shape its description does not allow, or not with numbers.
        """
        if not len(detections):
            return Skeletons.empty()
        if self.engine.info.layout == "yolo-pose":
            keypoints, score = self._whole_picture(color, detections)
        else:
            keypoints, score = self._top_down(color, detections)
        return Skeletons(keypoints.astype(np.float32), np.clip(score, 0, 1).astype(np.float32), detections.track_id)

    def _top_down(
        self, color: NDArray[np.uint8], detections: Detections
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        info = self.engine.info
        size = (info.width, info.height)
        keypoints, score = _nothing(detections)
        extent = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
        solid = np.flatnonzero((extent >= 1).all(axis=1))
        centre, scale = box_to_centre_scale(detections.xyxy[solid], info.box_padding, size[0] / size[1])
        unit_lengths = info.layout == "heatmap-udp"
        for start in range(0, len(solid), _BATCH):
            part = slice(start, start + _BATCH)
            crops = [
                cv2.warpAffine(color, crop_matrix(c, s, size, unit_lengths=unit_lengths), size, flags=cv2.INTER_LINEAR)
                for c, s in zip(centre[part], scale[part], strict=True)
            ]
            outputs = self.engine.run(normalise(np.stack(crops), info))
            in_crop, confidence = _decode(outputs, len(crops), info)
            # mmpose's own way back, exact for UDP too: inverting the warp instead is off by half a pixel an axis.
            corner = centre[part, None] - scale[part, None] / 2
            keypoints[solid[part]] = in_crop / np.array(size) * scale[part, None] + corner
            score[solid[part]] = confidence
        return keypoints, score

    def _whole_picture(
        self, color: NDArray[np.uint8], detections: Detections
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        info = self.engine.info
        rows = 4 + info.classes + 3 * len(KEYPOINTS)
        batch, placed = letterbox(color, info)
        output = require_finite(self.engine.run(batch)[0], info)
        if output.ndim != 3 or output.shape[:2] != (1, rows):
            raise _wrong_shape([output], info, f"[1, {rows}, N]")
        keypoints, score = _nothing(detections)
        found = output[0].T
        # A few hundred of the best anchors hold every person; each detection takes the one that fits it best.
        found = found[np.argsort(-found[:, 4 + info.person_class], kind="stable")[:300]]
        half = found[:, 2:4] / 2
        boxes = placed.boxes_to_picture(np.concatenate([found[:, :2] - half, found[:, :2] + half], axis=1))
        overlap = iou_matrix(detections.xyxy, boxes)
        person, anchor = linear_sum_assignment(-overlap * found[:, 4 + info.person_class])
        fits = overlap[person, anchor] >= 0.3
        person, anchor = person[fits], anchor[fits]
        points = found[anchor, 4 + info.classes :].reshape(-1, len(KEYPOINTS), 3)
        keypoints[person], score[person] = placed.to_picture(points[..., :2]), points[..., 2]
        return keypoints, score


def _nothing(detections: Detections) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each detection a skeleton whose keypoints lie on the box's centre with score 0."""
    centre = (detections.xyxy[:, :2] + detections.xyxy[:, 2:]) / 2
    return np.repeat(centre[:, None], len(KEYPOINTS), axis=1), np.zeros((len(detections), len(KEYPOINTS)), np.float32)


def _decode(
    outputs: list[NDArray[np.float32]], people: int, info: ModelInfo
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    for output in outputs:
        require_finite(output, info)
    shapes = [output.shape for output in outputs]
    if info.layout == "simcc":
        bins = [(people, len(KEYPOINTS), round(side * info.simcc_split)) for side in (info.width, info.height)]
        if shapes != bins:
            raise _wrong_shape(outputs, info, str(bins))
        return decode_simcc(outputs[0], outputs[1], info.simcc_split)
    if info.layout == "movenet":
        joints = len(KEYPOINTS)
        cells = shapes[0][2:] if len(shapes[0]) == 4 else ()
        if len(cells) != 2 or shapes != [(people, c, *cells) for c in (joints, 2 * joints, 1, 2 * joints)]:
            raise _wrong_shape(outputs, info, f"[{people}, {joints}, h, w] and {2 * joints}, 1, {2 * joints} maps")
        return decode_movenet(outputs[0], outputs[1], outputs[2], outputs[3], (info.width, info.height))
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] != (people, len(KEYPOINTS)):
        raise _wrong_shape(outputs, info, f"[{people}, {len(KEYPOINTS)}, h, w]")
    return _DECODERS[info.layout](outputs[0], (info.width, info.height))


def _wrong_shape(outputs: list[NDArray[np.float32]], info: ModelInfo, expected: str) -> WardposeError:
    return WardposeError(
        f"output is {[list(o.shape) for o in outputs]}, layout {info.layout!r} gives {expected}",
        where=info.name,
        mend="correct the layout in the model's description",
    )
