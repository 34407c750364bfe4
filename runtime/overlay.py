"""Drawing people: over a picture, on a neutral ground without any pixel of the camera, and in character cells.

Each person has a colour of their own, left limbs in its full tone, right ones in its pale one. Sure limbs are solid,
doubtful ones dashed; a person of whom too little is sure is a rounded box, never a scribble.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.belief import DOUBTFUL, SURE, limb_score, shows_skeleton
from runtime.detections import Detections
from runtime.frames import Origin
from runtime.skeleton import LIMBS, Skeletons
from runtime.state import LiveState, not_this_bed

Colour = tuple[int, int, int]

_GROUND: Colour = (22, 27, 34)
_GROUND_DEAD: Colour = (38, 38, 40)
_BED: Mapping[str, Colour] = {
    "mattress": (52, 60, 70), "pillow": (72, 80, 90), "side": (36, 42, 50), "edge": (110, 120, 132)
}  # fmt: skip
_WHITE: Colour = (236, 240, 244)
_EDGE: Colour = (12, 14, 18)
# Told apart by lightness too, for eyes that confuse red and green.
PEOPLE: tuple[Colour, ...] = (
    (64, 180, 255),
    (255, 166, 64),
    (196, 130, 255),
    (90, 214, 160),
    (255, 122, 150),
    (238, 220, 84),
)
_LIVE: Colour = (74, 201, 126)
_WARN: Colour = (242, 184, 62)
_DEAD: Colour = (235, 94, 85)
_FAINT: Colour = (96, 98, 102)

_ENDS = (9, 10, 15, 16)  # COCO's wrists and ankles
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def draw_skeletons(
    canvas: NDArray[np.uint8], skeletons: Skeletons, detections: Detections | None = None, origin: Origin = "camera"
) -> NDArray[np.uint8]:
    """A copy of the (H, W, 3) RGB picture with people drawn on it, and where given boxes with track id and score.

    origin: what the picture is of; where that is not a camera's view, it is written over it.
    """
    picture = np.ascontiguousarray(canvas).copy()
    thick = max(2, round(min(picture.shape[:2]) / 200))
    people = _people(skeletons, detections)
    for index, person in enumerate(people):
        if detections is not None and person.box is not None:
            if person.skeleton:
                corner, other = (tuple(int(v) for v in person.box[i : i + 2].round()) for i in (0, 2))
                cv2.rectangle(picture, corner, other, person.tone(False), 1, cv2.LINE_AA)
            number = "" if detections.track_id is None else f"{detections.track_id[index]}  "
            _label(picture, f"{number}{detections.score[index]:.2f}", person.box[:2], thick, person.colour)
    for person in people:
        _draw(picture, person, thick, vivid=True)
    if warning := not_this_bed(origin):
        _banner(picture, warning, _WARN, max(18, picture.shape[0] // 14))
    return picture


def skeleton_on_neutral(
    size: tuple[int, int],
    skeletons: Skeletons,
    state: LiveState,
    *,
    frame_size: tuple[int, int] | None = None,
    detections: Detections | None = None,
    bed: Sequence[Mapping[str, Any]] = (),
) -> NDArray[np.uint8]:
    """Skeletons on a plain ground, (height, width, 3) uint8 RGB, with the state above them; never a camera pixel.

    size: width and height of the answer. frame_size: width and height of the frame the keypoints are in, `size`
    where None. detections: the same people's boxes, without which somebody of whom too little is sure isn't shown.
    bed: the parts of the bed in the frame (`runtime.display.bed_picture`), drawn under the people.
    Anything but a fresh frame is drawn in grey under a banner, so that nobody takes it for now; a fresh one that no
    camera sees now (simulated, recorded) bears a warning and a frame in its colour.
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
        for part in bed:
            _bed_part(picture, part, zoom, shift)
        for person in _people(skeletons, detections):
            _draw(picture, person.moved(zoom, shift), thick, vivid=vivid)
    colour = _LIVE if state.live else _WARN if vivid or state.state in ("paused", "starting") else _DEAD
    _banner(picture, state.headline(), colour, bar)
    if not state.live:
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), colour, max(3, height // 120))
    return picture


def skeleton_cells(
    skeletons: Skeletons, width: int, height: int, cols: int, rows: int, detections: Detections | None = None
) -> list[str]:
    """The people of a `width` × `height` frame as `rows` lines of `cols` braille characters (2 × 4 dots each).

    Dots have no tone: a doubtful limb is dotted. detections: as in `skeleton_on_neutral`.
    """
    dots = np.zeros((rows * 4, cols * 2), np.uint8)
    if width > 0 and height > 0 and dots.size:
        zoom = min(dots.shape[1] / width, dots.shape[0] / height)
        shift = (np.array([dots.shape[1] - 1, dots.shape[0] - 1]) - np.array([width, height]) * zoom) / 2
        for person in _people(skeletons, detections):
            for start, end, limb in person.moved(zoom, shift).lines():
                for a, b in [(start, end)] if limb >= SURE else _dashes(start, end, 1.0, 2.0):
                    cv2.line(dots, _pixel(a), _pixel(b), 1)
    return ["".join(chr(0x2800 + code) for code in line) for line in _codes(dots).tolist()]


def side_cells(
    skeletons: Skeletons, width: int, height: int, cols: int, rows: int, detections: Detections | None = None,
    bed: NDArray[np.floating] | None = None,
) -> list[list[tuple[str, str]]]:  # fmt: skip
    """As `skeleton_cells`, in runs of (text, side): `left` and `right` limbs, `body` for what joins them and for boxes,
    `bed`, or nothing. A sure wrist or ankle bears an L or an R, so that sides are told without colours too.

    bed: the mattress's outline as a polyline (N, 2) px of the frame, NaN where it is out of sight; its first quarter is
    the head end, as in `calibration.outline`.
    """
    layers = {side: np.zeros((rows * 4, cols * 2), np.uint8) for side in ("bed", "body", "left", "right")}
    letters: dict[tuple[int, int], tuple[str, str]] = {}
    if width > 0 and height > 0 and rows and cols:
        zoom = min(cols * 2 / width, rows * 4 / height)
        shift = (np.array([cols * 2 - 1, rows * 4 - 1]) - np.array([width, height]) * zoom) / 2
        if bed is not None:
            for start, end in itertools.pairwise(bed * zoom + shift):
                if np.isfinite([*start, *end]).all():
                    cv2.line(layers["bed"], _pixel(start), _pixel(end), 1)
            middle = (bed * zoom + shift)[: len(bed) // 4 + 1].mean(axis=0) / (2, 4)
            if np.isfinite(middle).all() and 0 <= middle[1] < rows:
                letters |= {
                    (int(middle[1]), int(middle[0]) - 2 + i): (letter, "bed") for i, letter in enumerate("head")
                }
        for person in _people(skeletons, detections):
            moved = person.moved(zoom, shift)
            for start, end, limb, side in moved.sided_lines():
                for a, b in [(start, end)] if limb >= SURE else _dashes(start, end, 1.0, 2.0):
                    cv2.line(layers[side], _pixel(a), _pixel(b), 1)
            for joint in _ENDS if person.skeleton else ():
                x, y = _pixel(moved.points[joint] / (2, 4))
                if person.score[joint] >= SURE and 0 <= x < cols and 0 <= y < rows:
                    side = _side(joint, joint)
                    letters[y, x] = (side[0].upper(), side)
    return [_runs(layers, letters, row, cols) for row in range(rows)]


def _runs(
    layers: dict[str, NDArray[np.uint8]], letters: dict[tuple[int, int], tuple[str, str]], row: int, cols: int
) -> list[tuple[str, str]]:
    """One line of cells; a cell of several sides is of the one that stands before."""
    runs: list[tuple[str, str]] = []
    codes = {side: _codes(dots[row * 4 : row * 4 + 4])[0] for side, dots in layers.items()}
    for col in range(cols):
        there = [side for side in ("left", "right", "body", "bed") if codes[side][col]]
        code = 0
        for side in there:
            code |= int(codes[side][col])
        text, side = letters.get((row, col), (chr(0x2800 + code), there[0] if there else ""))
        if runs and runs[-1][1] == side:
            runs[-1] = (runs[-1][0] + text, side)
        else:
            runs.append((text, side))
    return runs


def _codes(dots: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Dots (4·rows, 2·cols) as braille codes (rows, cols)."""
    codes = np.zeros((dots.shape[0] // 4, dots.shape[1] // 2), np.int64)
    for row, pair in enumerate(_BRAILLE):
        for col, bit in enumerate(pair):
            codes += dots[row::4, col::2].astype(np.int64) * bit
    return codes


@dataclass(frozen=True, slots=True)
class _Person:
    """One person to be drawn: points (17, 2) and scores (17,), or nothing but a box (4,)."""

    points: NDArray[np.floating]
    score: NDArray[np.floating]
    box: NDArray[np.floating] | None
    skeleton: bool
    colour: Colour

    def moved(self, zoom: float, shift: NDArray[np.floating]) -> _Person:
        box = None if self.box is None else (self.box.reshape(2, 2) * zoom + shift).reshape(4)
        return replace(self, points=self.points * zoom + shift, box=box)

    def tone(self, pale: bool) -> Colour:
        return tuple(round(v + 0.55 * (255 - v)) for v in self.colour) if pale else self.colour  # type: ignore[return-value]

    def lines(self) -> list[tuple[NDArray[np.floating], NDArray[np.floating], float]]:
        """Start, end and belief of every line, the doubtful ones first."""
        if not self.skeleton:
            return [(a, b, SURE) for a, b in _sides(self.box)] if self.box is not None else []
        limbs = sorted(zip(limb_score(self.score).tolist(), LIMBS, strict=True))
        return [(self.points[a], self.points[b], believed) for believed, (a, b) in limbs if believed >= DOUBTFUL]

    def sided_lines(self) -> list[tuple[NDArray[np.floating], NDArray[np.floating], float, str]]:
        """As `lines`, each with its side: left, right, or body."""
        if not self.skeleton:
            return [(a, b, belief, "body") for a, b, belief in self.lines()]
        limbs = sorted(zip(limb_score(self.score).tolist(), LIMBS, strict=True))
        return [
            (self.points[a], self.points[b], believed, _side(a, b))
            for believed, (a, b) in limbs
            if believed >= DOUBTFUL
        ]


def _people(skeletons: Skeletons, detections: Detections | None) -> list[_Person]:
    """Detections and skeletons are of the same people in the same order, or one of them is empty."""
    count = max(len(skeletons), 0 if detections is None else len(detections))
    boxes = detections.xyxy if detections is not None and len(detections) == count else None
    ids = skeletons.track_id if len(skeletons) else None if detections is None else detections.track_id
    people = []
    for index in range(count):
        has = index < len(skeletons)
        points = skeletons.keypoints[index] if has else np.zeros((17, 2), np.float32)
        score = skeletons.score[index] if has else np.zeros(17, np.float32)
        number = index if ids is None else int(ids[index]) - 1
        box = None if boxes is None else boxes[index].astype(np.float64)
        people.append(_Person(points, score, box, bool(shows_skeleton(score)), PEOPLE[number % len(PEOPLE)]))
    return people


def _draw(picture: NDArray[np.uint8], person: _Person, thick: int, *, vivid: bool) -> None:
    if not person.skeleton:
        if person.box is not None:
            _rounded(picture, person.box, _EDGE, thick + 2)
            _rounded(picture, person.box, person.colour if vivid else _FAINT, thick)
        return
    limbs = sorted(zip(limb_score(person.score).tolist(), LIMBS, strict=True))
    # A dark edge keeps a limb legible on any picture.
    for edge in (True, False):
        for believed, (a, b) in limbs:
            if believed < DOUBTFUL:
                continue
            sure = believed >= SURE
            colour = _EDGE if edge else person.tone(_pale(a, b)) if vivid else _FAINT
            width = (thick if sure else max(1, thick // 2)) + (2 if edge else 0)
            start, end = person.points[a], person.points[b]
            for one, other in [(start, end)] if sure else _dashes(start, end, 3.0 * thick, 3.0 * thick):
                cv2.line(picture, _pixel(one), _pixel(other), colour, width, cv2.LINE_AA)
    for index in np.flatnonzero(person.score >= DOUBTFUL).tolist():
        sure = person.score[index] >= SURE
        radius = thick if index >= 5 else max(1, thick - 1)
        colour = person.tone(_pale(index, index)) if vivid else _FAINT
        cv2.circle(picture, _pixel(person.points[index]), radius + 1, _EDGE, -1, cv2.LINE_AA)
        cv2.circle(picture, _pixel(person.points[index]), radius, colour, -1 if sure else 1, cv2.LINE_AA)


def _pale(a: int, b: int) -> bool:
    """Whether a limb is a right one: COCO's even keypoints are, but for the nose; what joins two sides is not."""
    return 0 not in (a, b) and a % 2 == 0 and b % 2 == 0


def _side(a: int, b: int) -> str:
    """Of which side a limb is: COCO's odd keypoints are left ones; what joins two sides, or the nose, is the body."""
    if 0 in (a, b) or (a % 2) != (b % 2):
        return "body"
    return "left" if a % 2 else "right"


def _dashes(
    start: NDArray[np.floating], end: NDArray[np.floating], dash: float, gap: float
) -> list[tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """Pieces of the line from start to end: `dash` pixels, then `gap` left out; a bounded number of them."""
    length = float(np.linalg.norm(end - start))
    if length <= dash:
        return [(start, end)]
    count = min(int(np.ceil(length / (dash + gap))), 200)
    step = (end - start) / count
    return [(start + i * step, start + (i + dash / (dash + gap)) * step) for i in range(count)]


def _sides(box: NDArray[np.floating]) -> list[tuple[NDArray[np.floating], NDArray[np.floating]]]:
    corners = np.array([(box[i], box[j]) for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))])
    return list(zip(corners, np.roll(corners, -1, axis=0), strict=True))


def _rounded(picture: NDArray[np.uint8], box: NDArray[np.floating], colour: Colour, thick: int) -> None:
    """The outline of a box with rounded corners."""
    x1, y1, x2, y2 = np.clip(box, -16000, 16000)
    radius = min(x2 - x1, y2 - y1) / 5
    angles = np.linspace(0, np.pi / 2, 9)
    arcs = [
        np.stack([x + radius * np.cos(angles + turn), y + radius * np.sin(angles + turn)], axis=1)
        for x, y, turn in (
            (x2 - radius, y2 - radius, 0.0), (x1 + radius, y2 - radius, np.pi / 2),
            (x1 + radius, y1 + radius, np.pi), (x2 - radius, y1 + radius, 1.5 * np.pi),
        )
    ]  # fmt: skip
    outline = np.rint(np.concatenate(arcs)).astype(np.int32)
    cv2.polylines(picture, [outline], True, colour, thick, cv2.LINE_AA)


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    # OpenCV's line arithmetic overflows beyond 16 bits; far outside is outside all the same.
    x, y = np.clip(np.rint(point), -16000, 16000)
    return int(x), int(y)


def _grid(picture: NDArray[np.uint8]) -> None:
    step = max(24, picture.shape[0] // 12)
    lighter = np.clip(picture[0, 0].astype(int) + 6, 0, 255).astype(np.uint8)
    picture[::step], picture[:, ::step] = lighter, lighter


def _bed_part(picture: NDArray[np.uint8], part: Mapping[str, Any], zoom: float, shift: NDArray[np.floating]) -> None:
    bits = 4  # of a pixel: whole pixels would make a long edge tremble
    line = np.rint(np.clip(np.array(part["points"]) * zoom + shift, -16000, 16000) * 2**bits).astype(np.int32)
    if part["closed"]:
        cv2.fillPoly(picture, [line], _BED.get(part["part"], _BED["side"]), cv2.LINE_AA, bits)
    cv2.polylines(picture, [line], bool(part["closed"]), _BED["edge"], 1, cv2.LINE_AA, bits)


def _label(picture: NDArray[np.uint8], text: str, at: NDArray[np.floating], thick: int, colour: Colour) -> None:
    scale, weight = 0.3 + 0.1 * thick, max(1, thick // 2)
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
    x, y = int(np.clip(at[0], 0, 16000)), max(int(np.clip(at[1], 0, 16000)), height + base)
    cv2.rectangle(picture, (x, y - height - base), (x + width + 4, y), _GROUND, -1)
    cv2.putText(picture, text, (x + 2, y - base + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, weight, cv2.LINE_AA)


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
