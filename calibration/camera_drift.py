"""Whether the camera still looks where it looked when it was calibrated: a constellation of spots, found again.

A reference holds where some spots of the room were in the picture, off the bed, and of each whether it was brighter or
darker than what lies around it. That is one bit a spot and nothing of how the room looks: no picture can be made of it.
Those of a new picture are laid over them, and the turn of the camera that brings the most together is the measure: the
turn expected, unless another is clearly better among pairs near that place (RANSAC; Fischler and Bolles, 1981, over
pairs of directions), else over a grid of turns. Spots that people hide, or that were on things that have moved, find no
partner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.spots import AROUND_PX, CELLS, MARGIN_PX, cell_of, find_spots, size_of

_PER_CELL = 5
_APART_PX = 12.0  # between two that are kept
_SAME_PX, _SAME_SHARE = 1.0, 0.75  # a spot that is kept is found within this in this share of the pictures
_NEAR_PX = 12.0  # around the expected place
_TRIES = 600
_GRID_DEG, _GRID_STEP_DEG, _GRID_ROLL_DEG, _GRID_ROLL_STEP_DEG = 18.0, 0.75, 12.0, 1.5
_GRID_POINTS, _GRID_BEST, _GRID_PX = 80, 6, 3
_TOLERANCE_PX = 1.5
_LEAST_POINTS = 12
_LEAST_SHARE = 0.2  # of the spots that should be in view
_LEAST_CELLS = 4
# A turn that was expected is one guess and not the best of hundreds, so that fewer spots prove it: as many as
# seldom meet one of their kind by chance. Another turn must bring clearly more together.
_SELDOM, _LEAST_SHARE_AS_EXPECTED, _BETTER_THAN_EXPECTED = 1e-7, 0.15, 4
_ABOVE_BED_M, _BELOW_BED_M, _AROUND_BED_M = 0.7, 0.15, 0.12
_AROUND_PEOPLE = 0.15  # of a box's larger side


@dataclass(frozen=True)
class BackgroundReference:
    """camera: of a picture `spots.WIDTH` px wide. points: (N, 2) px. bright: (N,), whether brighter than around it."""

    camera: CameraModel
    points: NDArray[np.float64]
    bright: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CameraTurn:
    """How far the camera has turned since the reference: now_from_then (3, 3), with what speaks for it.

    agreeing: spots that moved that way, of `seen` that should be in view. sigma_deg: one standard deviation of the
    angle, from the scatter of the spots that agree.
    """

    now_from_then: NDArray[np.float64]
    agreeing: int
    seen: int
    sigma_deg: float

    @property
    def rotation_vector_deg(self) -> NDArray[np.float64]:
        from scipy.spatial.transform import Rotation  # OpenCV's Rodrigues calls rotations below 1e-6 rad none at all

        return np.degrees(Rotation.from_matrix(self.now_from_then).as_rotvec())

    @property
    def degrees(self) -> float:
        return float(np.linalg.norm(self.rotation_vector_deg))


def take_background(
    pictures: Sequence[NDArray[np.uint8]], estimate: CalibrationEstimate, people: NDArray[np.float64] | None = None
) -> BackgroundReference:
    """The reference of some pictures (H, W, 3) RGB taken with the calibrated camera where it was calibrated.

    Kept is what is found in most of them at the same place. The bed, the room over it where a patient may sit, and the
    boxes of people (K, 4), pixels of the pictures, with a margin, are left out. Raises WardposeError where too little
    of the room has structure to hold on to.
    """
    height, width = size_of(pictures[0])
    camera = estimate.camera.cut(width, height)
    points, bright = find_spots(pictures[0])
    total, times = points.copy(), np.ones(len(points))
    for picture in pictures[1:]:
        others, others_bright = find_spots(picture)
        off = np.linalg.norm(points[:, None] - others[None], axis=2) + np.where(bright[:, None] == others_bright, 0, 99)
        nearest = off.argmin(axis=1) if len(others) else np.zeros(len(points), np.int64)
        same = off.min(axis=1, initial=99) < _SAME_PX
        total[same] += others[nearest[same]]
        times += same
    mean = total / times[:, None]
    apart = _kept_out(estimate, camera, people, width / pictures[0].shape[1])
    allowed = apart[tuple(np.rint(points[:, ::-1]).astype(int).T)] > 0
    chosen = _spread(mean, np.flatnonzero(allowed & (times >= _SAME_SHARE * len(pictures))), camera)
    if len(chosen) < 2 * _LEAST_POINTS:
        raise WardposeError(
            f"only {len(chosen)} points of the room around the bed can be recognised again",
            where="watching for a bumped camera",
            mend="let the camera see more of the room, or light it",
        )
    return BackgroundReference(camera, np.round(mean[chosen], 2), bright[chosen])


def measure_turn(
    reference: BackgroundReference, color: NDArray[np.uint8], *, expected: NDArray[np.float64] | None = None
) -> CameraTurn | None:
    """The camera's turn since the reference, from a new picture; None where too little of the background is seen.

    expected: (3, 3) where the turn is looked for first, such as the last measure; no turn by default.
    """
    if size_of(color) != (reference.camera.height, reference.camera.width):
        return None
    found, bright = find_spots(color)
    if len(found) < _LEAST_POINTS:
        return None
    for guess in [np.eye(3)] if expected is None else [expected, np.eye(3)]:
        if (turn := _search(reference, found, bright, guess)) is not None:
            return turn
    for guess in _grid(reference, found, bright):
        if (turn := _search(reference, found, bright, guess, expected=False)) is not None:
            return turn
    return None


def _kept_out(
    estimate: CalibrationEstimate, camera: CameraModel, people: NDArray[np.float64] | None, scale: float
) -> NDArray[np.uint8]:
    """A mask (h, w) that is 0 where nothing may be kept: at the bed, and at people, whose boxes are scaled."""
    mask = np.full((camera.height, camera.width), 255, np.uint8)
    cv2.fillConvexPoly(mask, _bed_hull(estimate, camera), 0)
    for x1, y1, x2, y2 in (np.empty((0, 4)) if people is None else people) * scale:
        margin = _AROUND_PEOPLE * max(x2 - x1, y2 - y1) + 4 * AROUND_PX
        left, top = max(int(x1 - margin), 0), max(int(y1 - margin), 0)
        mask[top : max(int(y2 + margin) + 1, 0), left : max(int(x2 + margin) + 1, 0)] = 0
    return mask


def _spread(points: NDArray[np.float64], which: NDArray[np.int64], camera: CameraModel) -> NDArray[np.int64]:
    """The first of the points `which` (indices), apart from each other and all over the picture."""
    chosen: list[int] = []
    count = [0] * (CELLS[0] * CELLS[1])
    cells = cell_of(points, (camera.width, camera.height))
    for index in which:
        cell = int(cells[index])
        if count[cell] == _PER_CELL:
            continue
        if chosen and np.linalg.norm(points[chosen] - points[index], axis=1).min() < _APART_PX:
            continue
        chosen.append(int(index))
        count[cell] += 1
    return np.array(sorted(chosen), np.int64)


def _bed_hull(estimate: CalibrationEstimate, camera: CameraModel) -> NDArray[np.int32]:
    """The convex outline (N, 2) px of the bed and of the room over it."""
    bed = estimate.bed
    x, y = bed.length / 2 + _AROUND_BED_M, bed.width / 2 + _AROUND_BED_M
    corners = np.array([[a, b, z] for a in (-x, x) for b in (-y, y) for z in (-_BELOW_BED_M, _ABOVE_BED_M)])
    box = np.concatenate([a + np.linspace(0, 1, 9)[:, None] * (b - a) for a in corners for b in corners])
    seen = box @ estimate.camera_from_bed[:3, :3].T + estimate.camera_from_bed[:3, 3]
    # Far outside the picture the rational model folds back, so directions are cut at a little over the field of view.
    seen = seen[seen[:, 2] > 0.05]
    limit = 1.15 * np.array([camera.width / camera.fx, camera.height / camera.fy]) / 2
    plane = np.clip(seen[:, :2] / seen[:, 2:], -limit, limit)
    pixels = camera.project(np.column_stack([plane, np.ones(len(plane))]))
    return cv2.convexHull(np.rint(pixels).astype(np.int32))


def _search(
    reference: BackgroundReference, found: NDArray[np.float64], bright: NDArray[np.bool_], guess: NDArray[np.float64],
    *, expected: bool = True,
) -> CameraTurn | None:  # fmt: skip
    """The turn that most spots agree on, of those near where `guess` puts them; where that was `expected`, itself,
    refined, unless another brings clearly more together."""
    camera = reference.camera
    then = _directions(reference.points, camera)
    turned = then @ guess.T
    places = camera.project(turned)
    low, high = MARGIN_PX, np.array([camera.width, camera.height]) - MARGIN_PX
    ahead = (turned[:, 2] > 0.1) & ((places > low) & (places < high)).all(axis=1)
    near = (np.abs(places[:, None] - found[None]) < _NEAR_PX).all(axis=2)
    near &= ahead[:, None] & (reference.bright[:, None] == bright[None])
    which, partner = np.nonzero(near)
    pairs = _Pairs(then[which], _directions(found, camera)[partner], which, int(ahead.sum()))
    likely = _as_expected(pairs, guess, found, reference) if expected else None
    if (best := _most_agreed(pairs, _tolerance(camera))) is None:
        return likely
    other = _refined(pairs, best, reference, max(_LEAST_POINTS, int(np.ceil(_LEAST_SHARE * pairs.visible))))
    if likely is None or (other is not None and other.agreeing >= likely.agreeing + _BETTER_THAN_EXPECTED):
        return other
    return likely


def _as_expected(
    pairs: _Pairs, guess: NDArray[np.float64], found: NDArray[np.float64], reference: BackgroundReference
) -> CameraTurn | None:
    """`guess`, refined, where more spots speak for it than would by chance."""
    from scipy.stats import poisson

    meet = pairs.meet(guess, _tolerance(reference.camera))
    # Half of the spots are of a kind, more or less.
    density = 0.5 * len(found) / (reference.camera.width * reference.camera.height)
    by_chance = int(poisson.isf(_SELDOM, pairs.visible * density * np.pi * _TOLERANCE_PX**2))
    least = max(by_chance + 1, int(np.ceil(_LEAST_SHARE_AS_EXPECTED * pairs.visible)))
    if len(np.unique(pairs.which[meet])) < least:
        return None
    return _refined(pairs, meet, reference, least)


@dataclass(frozen=True)
class _Pairs:
    """Directions (C, 3) of a spot then and of one near it now, many of which do not belong together; which: the spot of
    each pair; visible: how many spots should be in view."""

    then: NDArray[np.float64]
    now: NDArray[np.float64]
    which: NDArray[np.int64]
    visible: int

    def meet(self, turn: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
        """Which of the pairs a turn brings together."""
        return np.asarray(np.linalg.norm(self.then @ turn.T - self.now, axis=1) < tolerance)


def _tolerance(camera: CameraModel) -> float:
    return _TOLERANCE_PX / camera.fx


def _directions(pixels: NDArray[np.float64], camera: CameraModel) -> NDArray[np.float64]:
    rays = camera.unproject(pixels)
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))


def _most_agreed(pairs: _Pairs, tolerance: float) -> NDArray[np.bool_] | None:
    """Which pairs (C,) the turn brings together that brings the most together, of those that two pairs make."""
    then, now = pairs.then, pairs.now
    if len(then) < _LEAST_POINTS:
        return None
    rng = np.random.default_rng(len(then))  # the same picture always gives the same measure
    first, second = rng.integers(len(then), size=(2, _TRIES))
    long = np.linalg.norm(then[first] - then[second], axis=1)
    # A turn leaves the distance of two directions as it is; chance seldom does.
    fits = (long > 0.1) & (np.abs(np.linalg.norm(now[first] - now[second], axis=1) - long) < 2 * tolerance)
    first, second = first[fits], second[fits]
    if not len(first):
        return None
    turns = _frames(now[first], now[second]) @ np.swapaxes(_frames(then[first], then[second]), 1, 2)
    off = np.linalg.norm(np.einsum("tij,nj->tni", turns, then) - now, axis=2) < tolerance
    return np.asarray(off[int(off.sum(axis=1).argmax())])


def _refined(
    pairs: _Pairs, agreeing: NDArray[np.bool_], reference: BackgroundReference, least: int
) -> CameraTurn | None:
    """The turn that fits the pairs that agree (C,) best; None where they are of fewer than `least` spots."""
    camera = reference.camera
    for _ in range(3):
        if agreeing.sum() < least:
            return None
        turn = _kabsch(pairs.then[agreeing], pairs.now[agreeing])
        error = np.linalg.norm(pairs.then @ turn.T - pairs.now, axis=1)
        agreeing = error < _tolerance(camera)
    spots = np.unique(pairs.which[agreeing])
    cells = cell_of(reference.points[spots], (camera.width, camera.height))
    if len(spots) < least or len(set(cells)) < _LEAST_CELLS:
        return None
    scatter = float(np.sqrt((error[agreeing] ** 2).sum() / (2 * agreeing.sum() - 3)))
    information = sum(np.eye(3) - np.outer(d, d) for d in pairs.then[agreeing])
    sigma = np.sqrt(scatter**2 * np.trace(np.linalg.inv(information)))
    return CameraTurn(turn, len(spots), pairs.visible, float(np.degrees(sigma)))


def _frames(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal axes (T, 3, 3), as columns, from pairs of directions."""
    x = a + b
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    z = np.cross(a, b)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=2)


def _kabsch(then: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation (3, 3) that best brings `then` onto `now` (Kabsch, 1976)."""
    u, _, vt = np.linalg.svd(now.T @ then)
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _grid(
    reference: BackgroundReference, found: NDArray[np.float64], bright: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    """The likeliest turns (3, 3) of a camera that was turned by up to 18 degrees: over a grid of turns, how many spots
    come to lie near one of their kind, against how many would by chance."""
    camera = reference.camera
    maps = np.zeros((2, round(camera.height / _GRID_PX), round(camera.width / _GRID_PX)), np.uint8)
    column, row = (np.minimum((found[:, k] / _GRID_PX).astype(int), maps.shape[2 - k] - 1) for k in (0, 1))
    maps[bright.astype(int), row, column] = 1
    maps = np.stack([cv2.dilate(one, np.ones((3, 3), np.uint8)) for one in maps])
    few = np.unique(np.linspace(0, len(reference.points) - 1, _GRID_POINTS).astype(int))
    points, kind = reference.points[few], reference.bright[few].astype(int)
    then = _directions(points, camera).astype(np.float32)
    turns = _grid_turns()
    moved = np.einsum("tij,nj->tni", turns, then)
    depth = np.maximum(moved[..., 2], 0.1)
    # A pinhole's projection that is right where the spot was: the distortion changes little over so small a way.
    places = [
        ((moved[..., k] / depth * focal + (points[:, k] - then[:, k] / then[:, 2] * focal)) / _GRID_PX).astype(np.int32)
        for k, focal in enumerate((camera.fx, camera.fy))
    ]
    inside = (places[0] >= 0) & (places[0] < maps.shape[2]) & (places[1] >= 0) & (places[1] < maps.shape[1])
    met = maps[kind, np.where(inside, places[1], 0), np.where(inside, places[0], 0)] * inside
    chance = float(maps.mean())
    seen = inside.sum(axis=1)
    score = (met.sum(axis=1, dtype=np.int64) - chance * seen) / np.sqrt(np.maximum(seen, _LEAST_POINTS))
    return [turns[index].astype(np.float64) for index in np.argsort(-score, kind="stable")[:_GRID_BEST]]


@cache
def _grid_turns() -> NDArray[np.float32]:
    from scipy.spatial.transform import Rotation

    reach = np.arange(-_GRID_DEG, _GRID_DEG + 1e-6, _GRID_STEP_DEG)
    roll = np.arange(-_GRID_ROLL_DEG, _GRID_ROLL_DEG + 1e-6, _GRID_ROLL_STEP_DEG)
    vectors = np.stack(np.meshgrid(reach, reach, roll, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = vectors[np.linalg.norm(vectors, axis=1) <= _GRID_DEG]
    return np.asarray(Rotation.from_rotvec(np.radians(vectors)).as_matrix(), np.float32)
