"""A contact sheet: pictures of a data set side by side, with their labels drawn on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from runtime.skeleton import LIMBS
from synth.labelled_set import read_labelled_set
from synth.visibility import ABSENT, VISIBLE

_TILE_WIDTH, _GAP, _COLUMNS = 400, 6, 4
_BOX = ((255, 196, 0), (64, 200, 255), (255, 110, 160), (140, 230, 90))
_LEFT, _RIGHT, _MIDDLE = (80, 170, 255), (255, 120, 80), (240, 240, 240)
_LEFT_KEYPOINTS = frozenset((1, 3, 5, 7, 9, 11, 13, 15))
_DASH = 5


def contact_sheet(place: Path, out_png: Path, count: int = 24) -> Path:
    """Draw up to `count` pictures, spread evenly over the data set, with their labels, into a PNG.

    The visible box is drawn through, the whole person's box dashed, the mask's rim thin: people keep their own colours.
    Full circles are visible keypoints, rings hidden ones; the person's left is blue, the right orange.
    Raises WardposeError where the COCO file or a picture is missing or broken.
    """
    found = read_labelled_set(place)
    tiles = [_tile(found.picture(image), found.by_image.get(image["id"], [])) for image in found.spread(count)]
    columns = min(_COLUMNS, len(tiles))
    height = max(tile.shape[0] for tile in tiles)
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (_TILE_WIDTH + _GAP) + _GAP, 3), 24, np.uint8)
    for position, tile in enumerate(tiles):
        y = _GAP + position // columns * (height + _GAP)
        x = _GAP + position % columns * (_TILE_WIDTH + _GAP)
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    ok, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not ok:
        raise WardposeError("the contact sheet could not be encoded", where=str(out_png))
    write_bytes(out_png, data.tobytes())
    return out_png


def _tile(color: NDArray[np.uint8], annotations: list[dict[str, Any]]) -> NDArray[np.uint8]:
    scale = _TILE_WIDTH / color.shape[1]
    size = (_TILE_WIDTH, max(1, round(color.shape[0] * scale)))
    for number, annotation in enumerate(annotations):
        _outline(color, annotation, _BOX[number % len(_BOX)])
    tile = cv2.resize(color, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for number, annotation in enumerate(annotations):
        draw_person(tile, annotation, scale, _BOX[number % len(_BOX)])
    return np.asarray(tile, dtype=np.uint8)


def draw_person(
    canvas: NDArray[np.uint8], annotation: dict[str, Any], scale: float = 1.0, box_color: tuple[int, int, int] = _BOX[0]
) -> None:
    """Draw one COCO annotation onto an RGB picture (H, W, 3), in place; `scale` canvas pixels a label pixel."""
    whole = annotation.get("full_bbox", annotation["bbox"])
    if np.abs(np.subtract(whole, annotation["bbox"])).max() * scale > _DASH:
        _dashed(canvas, [value * scale for value in whole], box_color)
    x, y, w, h = (value * scale for value in annotation["bbox"])
    cv2.rectangle(canvas, (round(x), round(y)), (round(x + w), round(y + h)), box_color, 1, cv2.LINE_AA)
    if name := str(annotation.get("posture", "")).replace("_", " "):
        _tag(canvas, name, round(x), round(y), box_color)
    keypoints = np.asarray(annotation.get("keypoints", []), dtype=np.float64).reshape(-1, 3)
    if not len(keypoints):
        return
    points = [(round(px * scale), round(py * scale)) for px, py in keypoints[:, :2]]
    for a, b in LIMBS:
        if keypoints[a, 2] != ABSENT and keypoints[b, 2] != ABSENT:
            cv2.line(canvas, points[a], points[b], _side(a, b), 1, cv2.LINE_AA)
    for k, point in enumerate(points):
        if keypoints[k, 2] != ABSENT:
            radius, line = (2, cv2.FILLED) if keypoints[k, 2] == VISIBLE else (3, 1)
            cv2.circle(canvas, point, radius, _side(k, k), line, cv2.LINE_AA)


def _tag(canvas: NDArray[np.uint8], text: str, x: int, y: int, color: tuple[int, int, int]) -> None:
    """Dark letters on a plate of the box's colour, above the point (x, y) or, at the upper edge, below it."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    x, y = max(min(x, canvas.shape[1] - width - 4), 0), y if y > height + 5 else y + height + 5
    cv2.rectangle(canvas, (x, y - height - 5), (x + width + 4, y), color, cv2.FILLED)
    cv2.putText(canvas, text, (x + 2, y - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (16, 16, 16), 1, cv2.LINE_AA)


def _outline(color: NDArray[np.uint8], annotation: dict[str, Any], line: tuple[int, int, int]) -> None:
    """The rim of the person's mask, one pixel, where the set has masks as COCO's uncompressed run lengths."""
    found = annotation.get("segmentation")
    if not isinstance(found, dict) or not isinstance(found.get("counts"), list):
        return
    counts = found["counts"]
    flat = np.repeat((np.arange(len(counts)) % 2).astype(np.uint8), counts)
    mask = flat.reshape(found["size"], order="F")
    # Drawn outside, so that nothing of a narrow arm is lost.
    color[cv2.dilate(mask, np.ones((3, 3), np.uint8)) > mask] = line


def _dashed(canvas: NDArray[np.uint8], box: list[float], color: tuple[int, int, int]) -> None:
    x, y, w, h = (round(value) for value in box)
    for start in range(x, x + w, 2 * _DASH):
        for row in (y, y + h):
            cv2.line(canvas, (start, row), (min(start + _DASH, x + w), row), color, 1)
    for start in range(y, y + h, 2 * _DASH):
        for column in (x, x + w):
            cv2.line(canvas, (column, start), (column, min(start + _DASH, y + h)), color, 1)


def _side(a: int, b: int) -> tuple[int, int, int]:
    left = (a in _LEFT_KEYPOINTS) + (b in _LEFT_KEYPOINTS)
    return _LEFT if left == 2 else _RIGHT if left == 0 and 0 not in (a, b) else _MIDDLE
