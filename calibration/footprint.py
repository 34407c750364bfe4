"""The mattress seen from above: a rectangle of known size laid over what is bed, what is not, and what is hidden.

Every depth pixel is held against the mattress plane. A ray that ends on it shows mattress; one that ends below went
past the mattress where it crossed the plane; one that ends above on something facing upward shows what lies on the
bed; steep surfaces (rails, boards) are where a bed ends. What no ray reaches counts for nothing, so a patient, a rail
or a footboard in front of the mattress doesn't pull the rectangle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

CELL_M, GRID = 0.02, 240
REACH_M = 0.12  # how far from a rough rectangle its true edge is looked for
DEEP_M = 0.35  # how far inside it may be hidden, by a board in front of it
STRIP_M, FEWEST_IN_STRIP = 0.04, 5
LARGEST_GAP_M = 0.10
RIM_M = 0.10  # boards and rails are thinner than this
SOFT_SIGMA_M = 0.006
WALL_GAP_M, WALL_SIGMA_M = 0.02, 0.015  # a board's or rail's inner face beyond the mattress
OUTER_WALL_M, OUTER_WALL_SIGMA_M = 0.055, 0.02  # the same for its outer face
SIDES = ("head", "foot", "right", "left")  # the edges at −x, +x, −y and +y of the rectangle

OUTWARD = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])

Places = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Places (N, 2) on the mattress plane, metres: the bed and what lies low on it; what lies high above it, a raised
    backrest above all, which ends short of the mattress's own end; beside the bed; steep surfaces."""

    bed: Places
    high: Places
    beside: Places
    steep: Places


@dataclass(frozen=True)
class Rectangle:
    """Centre (x, y) and heading (radians) of a rectangle `length` × `width` on the mattress plane."""

    x: float
    y: float
    heading: float
    length: float
    width: float

    def local(self, places: Places) -> Places:
        """Places (N, 2) in the rectangle's own axes, from its centre."""
        return np.asarray((places - [self.x, self.y]) @ self._axes.T)

    def turned(self, directions: Places) -> Places:
        """Directions (N, 2) in the rectangle's own axes, as directions on the plane."""
        return np.asarray(directions @ self._axes)

    def turned_round(self) -> Rectangle:
        """The same rectangle with its two ends exchanged."""
        return replace(self, heading=self.heading + np.pi)

    @property
    def _axes(self) -> NDArray[np.float64]:
        c, s = np.cos(self.heading), np.sin(self.heading)
        return np.array([[c, s], [-s, c]])


@dataclass(frozen=True)
class Edges:
    """Where the mattress was seen to end: places (N, 2), which side each belongs to (N,) as an index of `SIDES`, its
    error (N,) in metres (one σ), and whether a steep surface ends it (N,)."""

    places: Places
    sides: NDArray[np.int64]
    sigmas: NDArray[np.float64]
    walls: NDArray[np.bool_]

    def span(self, side: int) -> float:
        """How many metres of that side were seen."""
        return float(STRIP_M * (self.sides == side).sum())

    def turned_round(self) -> Edges:
        """The same places on a rectangle whose ends are exchanged: head for foot, right for left."""
        return replace(self, sides=self.sides ^ 1)


def wide_enough(lying: Places) -> NDArray[np.bool_]:
    """Which of the places `lying` (N, 2) belong to surfaces wider than the rim of a board or rail."""
    if len(lying) == 0:
        return np.zeros(0, dtype=bool)
    origin = np.median(lying, axis=0) - GRID * CELL_M / 2
    cells = np.clip(np.floor((lying - origin) / CELL_M).astype(np.int64), 0, GRID - 1)
    reach = round(RIM_M / CELL_M)
    closed = cv2.morphologyEx(
        (_counts(lying, origin) >= 1).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
    )
    wide = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((reach, reach), np.uint8))
    return np.asarray(wide[cells[:, 1], cells[:, 0]] > 0)


def rough_rectangle(evidence: Evidence, length: float, width: float) -> tuple[Rectangle, Places] | None:
    """The rectangle of that size with the most bed and the least of anything else in it, and the cells (N, 2) of the
    one connected bed that it was laid on; None where there is none."""
    if len(evidence.bed) < 200:
        return None
    origin = np.median(evidence.bed, axis=0) - GRID * CELL_M / 2
    bed, high, beside, steep = (
        _counts(places, origin) for places in (evidence.bed, evidence.high, evidence.beside, evidence.steep)
    )
    bed += high
    walls = cv2.dilate((steep >= 4).astype(np.uint8), np.ones((3, 3), np.uint8))
    seen = ((bed >= 2) & (bed >= beside) & (walls == 0)).astype(np.uint8)
    seen = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    opened = cv2.morphologyEx(seen, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return None
    blob = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    empty = ((beside >= 2) & (beside > bed)).astype(np.float64)
    weight = blob - empty * (1 - blob) - 0.4 * walls * (1 - blob)
    outline = np.argwhere(blob)[:, ::-1].astype(np.float32)
    (u, v), (along, across), turn = cv2.minAreaRect(outline)
    heading = np.radians(turn if along >= across else turn + 90)
    place = _best_place(weight, (u, v), heading, length, width)
    u, v, heading = place
    x, y = origin + (np.array([u, v]) + 0.5) * CELL_M
    return Rectangle(float(x), float(y), heading, length, width), origin + (outline + 0.5) * CELL_M


def _counts(places: Places, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    cells = np.floor((places - origin) / CELL_M).astype(np.int64)
    inside = ((cells >= 0) & (cells < GRID)).all(axis=1)
    flat = np.bincount(cells[inside, 1] * GRID + cells[inside, 0], minlength=GRID * GRID)
    return flat.reshape(GRID, GRID).astype(np.float64)


def _best_place(
    weight: NDArray[np.float64], centre: tuple[float, float], heading: float, length: float, width: float
) -> tuple[float, float, float]:
    """Column, row and heading of the rectangle whose cells weigh most: every shift of ever finer turns is tried."""
    turns, step = heading + np.radians(np.arange(-24, 25, 4)), np.radians(4)
    best: tuple[float, float, float, float] = (-np.inf, *centre, heading)
    size = (length / CELL_M, width / CELL_M)
    for _ in range(3):
        for turn in turns:
            # Turning the picture lets a box filter sum every rectangle of that heading at once.
            back = cv2.getRotationMatrix2D(centre, np.degrees(turn), 1.0)
            upright = cv2.warpAffine(weight.astype(np.float32), back, weight.shape[::-1], flags=cv2.INTER_LINEAR)
            box = (max(1, round(size[0])), max(1, round(size[1])))
            sums = cv2.boxFilter(upright, -1, box, normalize=False, borderType=cv2.BORDER_CONSTANT)
            row, column = np.unravel_index(int(sums.argmax()), sums.shape)
            if sums[row, column] > best[0]:
                forth = cv2.invertAffineTransform(back)
                u, v = forth @ np.array([float(column), float(row), 1.0])
                best = (float(sums[row, column]), float(u), float(v), float(turn))
        step /= 3
        turns = best[3] + step * np.arange(-2, 3)
    return best[1:]


def find_edges(evidence: Evidence, rough: Rectangle, camera: Places) -> Edges:
    """Where, strip by strip along each side of `rough`, bed gives way to something else.

    camera: (2,), the place on the plane above which the camera stands.
    """
    bed, high, beside, steep = (
        rough.local(places) for places in (evidence.bed, evidence.high, evidence.beside, evidence.steep)
    )
    bed_or_high = np.concatenate([bed, high])
    stand = rough.local(camera[None])[0]
    found: list[tuple[float, float, int, float, bool]] = []
    for side in range(4):
        along, outward = (1, 0) if side < 2 else (0, 1)
        sign = -1.0 if side in (0, 2) else 1.0
        half, reach = (rough.length, rough.width)[outward] / 2, (rough.length, rough.width)[along] / 2
        from_outside = bool(sign * stand[outward] > half)
        groups = []
        for places, inward in ((bed if side < 2 else bed_or_high, DEEP_M), (beside, REACH_M), (steep, REACH_M)):
            beyond = sign * places[:, outward] - half
            near = (beyond > -inward) & (beyond < REACH_M) & (np.abs(places[:, along]) < reach - STRIP_M)
            strip = np.floor((places[near, along] + reach) / STRIP_M).astype(np.int64)
            groups.append((strip, beyond[near]))
        for index in range(int(2 * reach / STRIP_M)):
            inner, other, upright = (beyond[strip == index] for strip, beyond in groups)
            ends = _where_it_ends(inner, other, upright, from_outside)
            if ends is not None:
                place, sigma, wall = ends
                lengthwise = -reach + (index + 0.5) * STRIP_M
                u, v = (sign * (half + place), lengthwise) if side < 2 else (lengthwise, sign * (half + place))
                found.append((u, v, side, sigma, wall))
    local = np.array([(u, v) for u, v, *_ in found]).reshape(-1, 2)
    return Edges(
        rough.turned(local) + [rough.x, rough.y],
        np.array([side for _, _, side, _, _ in found], dtype=np.int64),
        np.array([sigma for _, _, _, sigma, _ in found]),
        np.array([wall for *_, wall in found], dtype=bool),
    )


def _where_it_ends(
    bed: NDArray[np.float64], beside: NDArray[np.float64], steep: NDArray[np.float64], from_outside: bool
) -> tuple[float, float, bool] | None:
    """Metres beyond the rough edge at which bed ends in one strip, the error, and whether a steep surface ends it."""
    if len(bed) < FEWEST_IN_STRIP:
        return None
    other = np.concatenate([beside, steep])
    if len(other) < FEWEST_IN_STRIP:
        return None
    places = np.concatenate([bed, other])
    order = np.argsort(places, kind="stable")
    is_bed = (order < len(bed)).astype(np.float64)
    # Misplaced readings when the border lies after the first k of them: other inside plus bed outside.
    wrong = np.concatenate([[0.0], np.cumsum(1 - is_bed)]) + len(bed) - np.concatenate([[0.0], np.cumsum(is_bed)])
    border = int(wrong.argmin())
    if border in (0, len(places)) or wrong[border] > 0.2 * min(len(bed), len(other)) + 1:
        return None
    low, high = float(places[order[border - 1]]), float(places[order[border]])
    wall = bool((order[border : border + FEWEST_IN_STRIP] >= len(bed) + len(beside)).mean() > 0.5)
    if not wall:
        gap = high - low
        return None if gap > LARGEST_GAP_M else ((low + high) / 2, float(np.hypot(SOFT_SIGMA_M, gap / 12**0.5)), False)
    # A board or a rail stands a little off the mattress; seen from outside, its own thickness lies between them too.
    away, sigma = (OUTER_WALL_M, OUTER_WALL_SIGMA_M) if from_outside else (WALL_GAP_M, WALL_SIGMA_M)
    return max(high - away, low), sigma, True


def fit_rectangle(edges: Edges, start: Rectangle, *, iterations: int = 12) -> tuple[Rectangle, NDArray[np.float64]]:
    """The rectangle of `start`'s size that fits the edges best, and what each is off (N,) in metres, + = outside.

    Gauss–Newton with Huber's weights over centre and heading.
    """
    state = np.array([start.x, start.y, start.heading])
    outward = OUTWARD[edges.sides]
    half = np.where(edges.sides < 2, start.length / 2, start.width / 2)
    residual = np.zeros(len(edges.sides))
    for _ in range(iterations):
        normals = replace(start, heading=float(state[2])).turned(outward)
        away = edges.places - state[:2]
        residual = (normals * away).sum(axis=1) - half
        turned = normals @ np.array([[0.0, 1.0], [-1.0, 0.0]])  # how the normals change with the heading
        jacobian = np.column_stack([-normals, (turned * away).sum(axis=1)])
        share = np.abs(residual) / edges.sigmas
        weight = np.where(share > 2, 2 / np.maximum(share, 1e-9), 1.0) / edges.sigmas**2
        normal_matrix = (jacobian * weight[:, None]).T @ jacobian
        step = np.linalg.solve(normal_matrix + 1e-6 * np.eye(3), -(jacobian * weight[:, None]).T @ residual)
        state = state + step
        if np.abs(step).max() < 1e-6:
            break
    x, y, heading = state.tolist()
    return Rectangle(x, y, heading, start.length, start.width), residual
