"""The bed as lines and faces in the camera's picture: what a page draws under the people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bed_view import BedView

# Metres, of a common hospital bed; only the mattress is measured, the rest is there to be recognised.
_THICK, _BOARD_GAP = 0.14, 0.06
_HEAD_UP, _FOOT_UP, _BOARD_DOWN = 0.42, 0.20, 0.30
_RAIL_UP, _RAIL_OUT = 0.30, 0.05
_HINGE = 0.10  # of the length, from the middle toward the head, where the backrest bends
_PIECES = 12  # of an edge, so that it bends as the lens bends it
_NEAREST = 0.05

Points = NDArray[np.float64]


def bed_picture(view: BedView, width: int, height: int) -> list[dict[str, Any]]:
    """The bed's parts in a `width` × `height` picture, the farthest first; empty where the calibration is of another
    shape of picture or the camera does not see the whole mattress before it.

    A part: `part` (mattress, side, head, foot, pillow, rail), `closed` (a face, else a line), `points` [[x, y], …] in
    pixels, which may lie outside the picture.
    """
    camera = view.camera
    if width < 1 or height < 1 or abs(width * camera.height - height * camera.width) > 0.01 * width * camera.height:
        return []
    camera = camera.resized(width, height)
    told = []
    for part, closed, points in _parts(view):
        seen = _edges(points, closed) @ view.camera_from_bed[:3, :3].T + view.camera_from_bed[:3, 3]
        if (seen[:, 2] < _NEAREST).any():
            if part == "mattress":
                return []
            continue
        pixels = camera.project(seen)
        told.append((part == "rail", -float(seen[:, 2].mean()), part, closed, pixels))
    order = {"side": 0, "head": 0, "foot": 0, "mattress": 1, "pillow": 2, "rail": 3}
    told.sort(key=lambda one: (order[one[2]], one[1]))
    return [
        {"part": part, "closed": closed, "points": np.clip(pixels, -1e5, 1e5).round(1).tolist()}
        for _, _, part, closed, pixels in told
    ]


def _parts(view: BedView) -> list[tuple[str, bool, Points]]:
    bed = view.bed
    x, y, thick = bed.length / 2, bed.width / 2, _THICK
    hinge = -_HINGE * bed.length

    def bent(points: list[list[float]]) -> Points:
        out = np.array(points, np.float64)
        angle = np.radians(bed.backrest_deg)
        run, rise = np.maximum(hinge - out[:, 0], 0.0), out[:, 2].copy()
        raised = run > 0
        out[raised, 0] = hinge - run[raised] * np.cos(angle) + rise[raised] * np.sin(angle)
        out[raised, 2] = run[raised] * np.sin(angle) + rise[raised] * np.cos(angle)
        return out

    parts: list[tuple[str, bool, Points]] = []
    # What is raised is another face than what lies flat, and both are one mattress.
    for start, end in ((-x, hinge), (hinge, x)) if bed.backrest_deg else ((-x, x),):
        parts.append(("mattress", True, bent([[start, -y, 0], [start, y, 0], [end, y, 0], [end, -y, 0]])))
        for side in (-y, y):
            parts.append(
                ("side", True, bent([[start, side, 0], [end, side, 0], [end, side, -thick], [start, side, -thick]]))
            )
    parts.append(("side", True, bent([[x, -y, 0], [x, y, 0], [x, y, -thick], [x, -y, -thick]])))
    parts.append(("side", True, bent([[-x, -y, 0], [-x, y, 0], [-x, y, -thick], [-x, -y, -thick]])))
    for name, at, top in (("head", -x - _BOARD_GAP, _HEAD_UP), ("foot", x + _BOARD_GAP, _FOOT_UP)):
        low = -_BOARD_DOWN
        parts.append((name, True, np.array([[at, -y, low], [at, y, low], [at, y, top], [at, -y, top]], np.float64)))
    wide = 0.36 * bed.width
    parts.append(
        ("pillow", True, bent([[-x + 0.08, -wide, 0.02], [-x + 0.08, wide, 0.02], [-x + 0.46, wide, 0.02],
                               [-x + 0.46, -wide, 0.02]]))
    )  # fmt: skip
    for side in (-y - _RAIL_OUT, y + _RAIL_OUT):
        for low, high in ((-0.78 * x, -0.02 * x), (0.12 * x, 0.78 * x)):
            frame = [[low, side, -thick], [low, side, _RAIL_UP], [high, side, _RAIL_UP], [high, side, -thick]]
            parts.append(("rail", False, np.array(frame, np.float64)))
            middle = _RAIL_UP / 2 - thick / 2
            parts.append(("rail", False, np.array([[low, side, middle], [high, side, middle]], np.float64)))
    return parts


def _edges(points: Points, closed: bool) -> Points:
    """The outline in small pieces."""
    ends = np.roll(points, -1, axis=0) if closed else points[1:]
    starts = points if closed else points[:-1]
    along = np.linspace(0, 1, _PIECES, endpoint=False)[:, None]
    pieces = [start + along * (end - start) for start, end in zip(starts, ends, strict=True)]
    if not closed:
        pieces.append(points[-1:])
    return np.concatenate(pieces)
