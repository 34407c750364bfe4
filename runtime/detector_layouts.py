"""From a detector's raw outputs to boxes in its input's pixels: one decoder for each layout, in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo

Floats = NDArray[np.float32]
Boxes = tuple[Floats, Floats]

_STRIDES = (8, 16, 32)


def decode_boxes(outputs: list[Floats], info: ModelInfo) -> Boxes:
    """Boxes (N, 4) xyxy in input pixels and the person's scores (N,), neither thresholded nor suppressed.

    Raises WardposeError for outputs that are not finite or that the model's description does not allow.
    """
    for output in outputs:
        require_finite(output, info)
    return _DECODERS[info.layout](outputs, info)


def suppressed(info: ModelInfo) -> bool:
    """Whether the model itself leaves one box a person."""
    return info.layout == "yolo-end2end"


def require_finite(output: Floats, info: ModelInfo) -> Floats:
    """The output itself; raises WardposeError where it holds NaN or infinity."""
    if not np.isfinite(output).all():
        raise WardposeError(
            "the model's output is not finite", where=info.name, mend="export it again; half precision can overflow"
        )
    return output


def _wrong_shape(outputs: list[Floats], info: ModelInfo, expected: str) -> WardposeError:
    shapes = ", ".join(str(list(output.shape)) for output in outputs)
    return WardposeError(
        f"output is {shapes}, layout {info.layout!r} with {info.classes} classes gives {expected}",
        where=info.name,
        mend="correct the layout in the model's description",
    )


def _centre_to_corners(cxcywh: Floats) -> Floats:
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def _cells(info: ModelInfo) -> list[tuple[int, int, int]]:
    """Columns, rows and stride of each grid of a three-stride head."""
    return [(info.width // stride, info.height // stride, stride) for stride in _STRIDES]


def _grid(info: ModelInfo) -> tuple[Floats, Floats]:
    """Column and row (N, 2) of every cell, and its stride (N, 1) in pixels, row by row, the finest grid first."""
    cells = _cells(info)
    grid = np.concatenate([np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 2) for w, h, _ in cells])
    stride = np.concatenate([np.full((w * h, 1), s, np.float32) for w, h, s in cells])
    return grid.astype(np.float32), stride


def _yolo(outputs: list[Floats], info: ModelInfo) -> Boxes:
    output = outputs[0]
    if output.ndim != 3 or output.shape[:2] != (1, 4 + info.classes):
        raise _wrong_shape(outputs, info, f"[1, {4 + info.classes}, N]")
    return _centre_to_corners(output[0, :4].T), output[0, 4 + info.person_class]


def _end2end(outputs: list[Floats], info: ModelInfo) -> Boxes:
    output = outputs[0]
    if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != 6:
        raise _wrong_shape(outputs, info, "[1, M, 6]")
    people = output[0][np.rint(output[0, :, 5]).astype(int) == info.person_class]
    return people[:, :4], people[:, 4]


def _detr(outputs: list[Floats], info: ModelInfo) -> Boxes:
    output = outputs[0]
    if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != 4 + info.classes:
        raise _wrong_shape(outputs, info, f"[1, M, {4 + info.classes}]")
    size = np.array([info.width, info.height] * 2, np.float32)
    return _centre_to_corners(output[0, :, :4] * size), output[0, :, 4 + info.person_class]


def _yolox(outputs: list[Floats], info: ModelInfo) -> Boxes:
    grid, stride = _grid(info)
    if outputs[0].shape != (1, len(grid), 5 + info.classes):
        raise _wrong_shape(outputs, info, f"[1, {len(grid)}, {5 + info.classes}]")
    raw = outputs[0][0]
    centre = (raw[:, :2] + grid) * stride
    # A size beyond e^10 cells is noise; bounding it keeps the exponential finite.
    size = np.exp(np.minimum(raw[:, 2:4], 10)) * stride
    boxes = _centre_to_corners(np.concatenate([centre, size], axis=1).astype(np.float32))
    return boxes, raw[:, 4] * raw[:, 5 + info.person_class]


def _yolov6(outputs: list[Floats], info: ModelInfo) -> Boxes:
    output = outputs[0]
    if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != 5 + info.classes:
        raise _wrong_shape(outputs, info, f"[1, N, {5 + info.classes}]")
    return _centre_to_corners(output[0, :, :4]), output[0, :, 4] * output[0, :, 5 + info.person_class]


def _nanodet(outputs: list[Floats], info: ModelInfo) -> Boxes:
    """Each side's distance is the mean of a distribution over whole strides (Li et al., Generalized Focal Loss, 2020),
    counted from the cell's centre."""
    cells = [w * h for w, h, _ in _cells(info)]
    scores, distances = outputs[: len(cells)], outputs[len(cells) :]
    bins = distances[0].shape[1] // 4 if distances and distances[0].ndim == 3 else 0
    expected = [(1, info.classes, n) for n in cells] + [(1, 4 * bins, n) for n in cells]
    if bins < 2 or [output.shape for output in outputs] != expected:
        rows = ", ".join(f"[1, {info.classes}, {n}]" for n in cells) + ", " + ", ".join(f"[1, 4·b, {n}]" for n in cells)
        raise _wrong_shape(outputs, info, rows)
    grid, stride = _grid(info)
    logits = np.concatenate(distances, axis=2)[0].reshape(4, bins, -1)
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    steps = np.arange(bins, dtype=np.float32)
    sides = (weight * steps[None, :, None]).sum(1) / weight.sum(1) * stride.T
    centre = ((grid + 0.5) * stride).T
    boxes = np.concatenate([centre - sides[:2], centre + sides[2:]]).T
    return boxes.astype(np.float32), np.concatenate([s[0, info.person_class] for s in scores])


_DECODERS: dict[str, Callable[[list[Floats], ModelInfo], Boxes]] = {
    "yolo": _yolo, "yolo-end2end": _end2end, "yolox": _yolox, "yolov6": _yolov6, "nanodet": _nanodet,
    "detr": _detr,
}  # fmt: skip
