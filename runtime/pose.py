"""Skeletons of the people already found: crop, model, decode, back to the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from calibration.errors import WardposeError
from runtime.codecs import decode_heatmap, decode_heatmap_dark, decode_heatmap_udp, decode_movenet, decode_simcc
from runtime.crop import Crops
from runtime.detect import letterbox, normalise
from runtime.detections import Detections, iou_matrix
from runtime.detector_layouts import require_finite
from runtime.engines.engine import InferenceEngine
from runtime.model_info import ModelInfo
from runtime.skeleton import KEYPOINTS, MIRRORED, Skeletons
from runtime.turn import Aims, Looks, agreed, first_turns, trunk_turn
from runtime.turn_search import Views

# People in one call of the model: bounds memory, and what a crowd can do to the frame time of one call.
_BATCH = 8
_DECODERS = {"heatmap": decode_heatmap, "heatmap-dark": decode_heatmap_dark, "heatmap-udp": decode_heatmap_udp}


class PoseEstimator:
    """COCO-17 keypoints of detected people, from a top-down model or a whole-picture one (`yolo-pose`).

    The answer has one skeleton for each detection, in the same order and with its track id; a person for whom the
    model has no answer keeps a skeleton whose scores are all 0.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        if engine.info.task != "pose":
            raise WardposeError(f"{engine.info.name} is a {engine.info.task} model", mend="name a pose model")
        self.engine = engine

    @property
    def one_by_one(self) -> bool:
        """Whether each person costs a look of their own, as with all but whole-picture models."""
        return self.engine.info.layout != "yolo-pose"

    def estimate(self, color: NDArray[np.uint8], detections: Detections, aims: Aims | None = None) -> Skeletons:
        """Skeletons in a (H, W, 3) uint8 RGB picture; nobody detected gives nobody, without running the model.

        aims: what is known of each person's turn; without it, as in a single picture, every turn is searched for.
        Raises WardposeError when the model answers with a shape its description does not allow, or not with numbers.
        """
        if not len(detections):
            return Skeletons.empty()
        if self.one_by_one:
            keypoints, score = self._top_down(color, detections, aims or Aims.unknown(len(detections)))
        else:
            keypoints, score = self._whole_picture(color, detections)
        probability = self.engine.info.probability(score)
        return Skeletons(keypoints.astype(np.float32), probability, detections.track_id)

    def _top_down(
        self, color: NDArray[np.uint8], detections: Detections, aims: Aims
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        keypoints, score = _nothing(detections)
        extent = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
        solid = np.flatnonzero((extent >= 1).all(axis=1))
        boxes = detections.xyxy[solid]
        if not self.engine.info.turned_to_body:
            looks = self._look(color, boxes, Views.plain(np.arange(len(solid)), np.zeros(len(solid))))
            keypoints[solid], score[solid] = looks.keypoints, looks.score
            return keypoints, score
        turns = [first_turns(*one) for one in np.stack([aims.known, aims.hint], axis=1)[solid].tolist()]
        person = np.repeat(np.arange(len(solid)), [len(one) for one in turns])
        looks = self._look(color, boxes, Views.plain(person, np.concatenate([np.empty(0), *turns])))
        # Whoever was looked at from several sides is looked at again with each skeleton's own trunk upright.
        several = np.bincount(person, minlength=len(solid)) > 1
        searched = several[person]
        if searched.any():
            looks += self._look(color, boxes, Views.second(person[searched], trunk_turn(looks.keypoints[searched])))
        for index, row in enumerate(solid):
            keypoints[row], score[row] = agreed(looks[looks.person == index], boxes[index])
        return keypoints, score

    def look(self, color: NDArray[np.uint8], detections: Detections, views: Views) -> Looks:
        """Further looks at people of a (H, W, 3) uint8 RGB picture, in the order of `views`, with raw scores.

        Of a person whose box is smaller than a pixel nothing is seen (scores 0). Raises as `estimate` does.
        """
        boxes = np.asarray(detections.xyxy, np.float32).copy()
        flat = np.any(boxes[:, 2:] - boxes[:, :2] < 1, axis=1).reshape(-1)
        boxes[flat, 2:] = boxes[flat, :2] + 1
        looks = self._look(color, boxes, views)
        return Looks(looks.person, looks.keypoints, np.where(flat[views.person, None], 0, looks.score))

    def _look(self, color: NDArray[np.uint8], boxes: NDArray[np.float32], views: Views) -> Looks:
        """The looks of `views` at people in `boxes` (N, 4)."""
        info = self.engine.info
        size = (info.width, info.height)
        zoom = views.zoom[:, None]
        crops = Crops.around(boxes[views.person], views.turn, info.box_padding, size[0] / size[1])
        crops = Crops(crops.centre, crops.scale * zoom, crops.turn)
        keypoints, score = np.empty((len(crops), len(KEYPOINTS), 2)), np.empty((len(crops), len(KEYPOINTS)))
        # Where a point is counted in whole pixels the last one is `size - 1`; these two count widths.
        last = size[0] - (0 if info.layout in ("movenet", "heatmap-udp") else 1)
        for start in range(0, len(crops), _BATCH):
            part = slice(start, start + _BATCH)
            flipped = views.mirrored[part]
            cut = crops[part].cut(color, size, unit_lengths=info.layout == "heatmap-udp")
            cut[flipped] = cut[flipped][:, :, ::-1]
            in_crop, confidence = _decode(self.engine.run(normalise(cut, info)), len(cut), info)
            in_crop[flipped] = (in_crop[flipped] * (-1, 1) + (last, 0))[:, MIRRORED]
            confidence[flipped] = confidence[flipped][:, MIRRORED]
            keypoints[part], score[part] = crops[part].to_picture(in_crop, size), confidence
        return Looks(views.person, keypoints, score)

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
