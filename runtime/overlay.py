"""Drawing people: over a picture, on a neutral ground without any pixel of the camera, and in character cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.skeleton import LIMBS, Skeletons

State = Literal["starting", "live", "no-signal", "paused"]
Colour = tuple[int, int, int]

# Keypoints and limbs below this score are not drawn: a wrong limb misleads more than a missing one.
SHOWN_SCORE = 0.3
STALE_S = 1.0

_GROUND: Colour = (22, 27, 34)
_GROUND_DEAD: Colour = (38, 38, 40)
_LEFT: Colour = (88, 196, 255)
_RIGHT: Colour = (255, 171, 92)
_CENTRE: Colour = (236, 240, 244)
_BOX: Colour = (120, 134, 150)
_LIVE: Colour = (74, 201, 126)
_WARN: Colour = (242, 184, 62)
_DEAD: Colour = (235, 94, 85)
_FAINT: Colour = (96, 98, 102)

_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True, slots=True)
class LiveState:
    """What the live path is doing. age_s: seconds since the shown frame was captured, None where there is none."""

    state: State
    age_s: float | None = None

    @property
    def fresh(self) -> bool:
        """True only where what is shown is what the camera sees now."""
        return self.state == "live" and self.age_s is not None and self.age_s <= STALE_S

    def headline(self) -> str:
        """The state in words for a glance; anything but "LIVE" means: don't rely on what you see."""
        age = "" if self.age_s is None else f" - last {_duration(self.age_s)} ago"
        if self.state == "paused":
            return "PAUSED"
        if self.state == "starting":
            return "STARTING - no live picture yet"
        return f"LIVE  {self.age_s or 0:.1f} s" if self.fresh else f"NO LIVE PICTURE{age}"


def draw_skeletons(
    canvas: NDArray[np.uint8], skeletons: Skeletons, detections: Detections | None = None
) -> NDArray[np.uint8]:
    """A copy of the (H, W, 3) RGB picture with skeletons, and where given boxes with track id and score, drawn on it.

    Left limbs are blue, right ones orange, the middle white.
    """
    picture = np.ascontiguousarray(canvas).copy()
    thick = max(1, round(min(picture.shape[:2]) / 240))
    if detections is not None:
        for index, (box, score) in enumerate(zip(detections.xyxy, detections.score, strict=True)):
            corner = tuple(int(v) for v in box[:2].round())
            cv2.rectangle(picture, corner, tuple(int(v) for v in box[2:].round()), _BOX, thick, cv2.LINE_AA)
            track = "" if detections.track_id is None else f"{detections.track_id[index]}  "
            _label(picture, f"{track}{score:.2f}", corner, thick)
    _draw(picture, skeletons.keypoints, skeletons.score, thick, vivid=True)
    return picture


def skeleton_on_neutral(
    size: tuple[int, int], skeletons: Skeletons, state: LiveState, *, frame_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Skeletons on a plain ground, (height, width, 3) uint8 RGB, with the state above them; never a camera pixel.

    size: width and height of the answer. frame_size: width and height of the frame the keypoints are in, `size`
    where None. Anything but a fresh live frame is drawn in grey under a banner, so that nobody takes it for now.
    """
    width, height = size
    vivid = state.fresh
    picture = np.full((height, width, 3), _GROUND if vivid else _GROUND_DEAD, np.uint8)
    bar = max(18, height // 14)
    _grid(picture)
    if state.state != "paused":
        frame_width, frame_height = frame_size or size
        zoom = min(width / frame_width, height / frame_height)
        shift = np.array([(width - frame_width * zoom) / 2, (height - frame_height * zoom) / 2])
        thick = max(2, round(min(width, height) / 130))
        _draw(picture, skeletons.keypoints * zoom + shift, skeletons.score, thick, vivid=vivid)
    colour = _LIVE if vivid else _WARN if state.state in ("paused", "starting") else _DEAD
    _banner(picture, state.headline(), colour, bar)
    if not vivid:
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), colour, max(3, height // 120))
    return picture


def skeleton_cells(skeletons: Skeletons, width: int, height: int, cols: int, rows: int) -> list[str]:
    """The skeletons of a `width` × `height` frame as `rows` lines of `cols` braille characters (2 × 4 dots each)."""
    dots = np.zeros((rows * 4, cols * 2), np.uint8)
    if len(skeletons) and width > 0 and height > 0 and dots.size:
        zoom = min(dots.shape[1] / width, dots.shape[0] / height)
        shift = (np.array([dots.shape[1] - 1, dots.shape[0] - 1]) - np.array([width, height]) * zoom) / 2
        for points, believed in _believed(skeletons.keypoints * zoom + shift, skeletons.score):
            for a, b in LIMBS:
                if believed[a] and believed[b]:
                    cv2.line(dots, _pixel(points[a]), _pixel(points[b]), 1)
            for point in points[believed]:
                cv2.circle(dots, _pixel(point), 0, 1)
    codes = np.zeros((rows, cols), np.int64)
    for row, pair in enumerate(_BRAILLE):
        for col, bit in enumerate(pair):
            codes += dots[row::4, col::2].astype(np.int64) * bit
    return ["".join(chr(0x2800 + code) for code in line) for line in codes.tolist()]


def _believed(
    keypoints: NDArray[np.floating], score: NDArray[np.floating]
) -> list[tuple[NDArray[np.floating], NDArray[np.bool_]]]:
    return [(points, scores >= SHOWN_SCORE) for points, scores in zip(keypoints, score, strict=True)]


def _draw(
    picture: NDArray[np.uint8], keypoints: NDArray[np.floating], score: NDArray[np.floating], thick: int, *, vivid: bool
) -> None:
    for points, believed in _believed(keypoints, score):
        for a, b in LIMBS:
            if believed[a] and believed[b]:
                # A dark edge keeps a limb legible on any picture.
                cv2.line(picture, _pixel(points[a]), _pixel(points[b]), (12, 14, 18), thick + 2, cv2.LINE_AA)
        for a, b in LIMBS:
            if believed[a] and believed[b]:
                colour = _side(a, b) if vivid else _FAINT
                cv2.line(picture, _pixel(points[a]), _pixel(points[b]), colour, thick, cv2.LINE_AA)
        for index in np.flatnonzero(believed).tolist():
            colour = _side(index, index) if vivid else _FAINT
            cv2.circle(picture, _pixel(points[index]), thick + 1, (12, 14, 18), -1, cv2.LINE_AA)
            cv2.circle(picture, _pixel(points[index]), thick, colour, -1, cv2.LINE_AA)


def _side(a: int, b: int) -> Colour:
    """COCO's odd keypoints are left, even ones right; 0 is the nose."""
    if 0 in (a, b) or a % 2 != b % 2:
        return _CENTRE
    return _LEFT if a % 2 else _RIGHT


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    # OpenCV's line arithmetic overflows beyond 16 bits; far outside is outside all the same.
    x, y = np.clip(np.rint(point), -16000, 16000)
    return int(x), int(y)


def _grid(picture: NDArray[np.uint8]) -> None:
    step = max(24, picture.shape[0] // 12)
    lighter = np.clip(picture[0, 0].astype(int) + 6, 0, 255).astype(np.uint8)
    picture[::step], picture[:, ::step] = lighter, lighter


def _label(picture: NDArray[np.uint8], text: str, corner: tuple[int, ...], thick: int) -> None:
    scale = 0.35 + 0.15 * thick
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    x, y = corner[0], max(corner[1], height + base)
    cv2.rectangle(picture, (x, y - height - base), (x + width + 4, y), _GROUND, -1)
    cv2.putText(picture, text, (x + 2, y - base + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, _CENTRE, thick, cv2.LINE_AA)


def _banner(picture: NDArray[np.uint8], text: str, colour: Colour, bar: int) -> None:
    scale, thick = bar / 42, max(1, bar // 24)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    room = picture.shape[1] - bar - 12
    if width > room > 0:
        scale *= room / width
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    picture[:bar] = (picture[:bar] * 0.55).astype(np.uint8)
    cv2.circle(picture, (bar // 2 + 2, bar // 2), max(3, bar // 5), colour, -1, cv2.LINE_AA)
    baseline = (bar + height) // 2
    cv2.putText(picture, text, (bar + 4, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
