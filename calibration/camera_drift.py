"""Whether the camera still looks where it looked when it was calibrated: small pieces of background, found again.

A reference holds pieces of the picture around corners that lie off the bed, normalised for local contrast so that a
lamp that goes on changes them little; no piece is large enough to be a picture of somebody. Each is looked for in
the new picture, coarse to fine, and the turn of the camera that most of them agree on (RANSAC; Fischler and Bolles,
1981, over pairs of directions) is the measure. Pieces hidden by people, or on things that were moved, disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate

WIDTH = 640  # px, of the picture that is measured
PIECE = 31  # px, side of a piece
_COARSE = 15  # px at half size, side of the part of a piece that is looked for first
_FINE = 21
_NEAR, _FAR = 5, 22  # half-size px around the expected place
_WIDE = 26  # quarter-size px, for a camera that was turned far
_MOST_POINTS = 220
_PER_CELL = 6
_CELLS = (8, 5)
_LEAST_MATCH = 0.55  # normalised correlation
_TOLERANCE_PX = 1.2
_LEAST_POINTS = 14
_LEAST_CELLS = 4
_ABOVE_BED_M, _BELOW_BED_M, _AROUND_BED_M = 0.7, 0.15, 0.12


@dataclass(frozen=True)
class BackgroundReference:
    """camera: of a picture `WIDTH` px wide. points: (N, 2) px. pieces: (N, PIECE, PIECE) uint8, normalised."""

    camera: CameraModel
    points: NDArray[np.float64]
    pieces: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CameraTurn:
    """How far the camera has turned since the reference: now_from_then (3, 3), with what speaks for it.

    agreeing: pieces that moved that way, of `seen` that were found at all. sigma_deg: one standard deviation of the
    angle, from the scatter of the pieces that agree.
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


def take_background(color: NDArray[np.uint8], estimate: CalibrationEstimate) -> BackgroundReference:
    """The reference of one picture (H, W, 3) RGB taken with the calibrated camera where it was calibrated.

    The bed, and the room over it where a patient may sit, are left out. Raises WardposeError where too little of the
    room has structure to hold on to.
    """
    normal = _normalised(color)
    height, width = normal.shape
    camera = estimate.camera.resized(width, height)
    margin = PIECE // 2 + 2
    mask = np.zeros((height, width), np.uint8)
    mask[margin : height - margin, margin : width - margin] = 255
    cv2.fillConvexPoly(mask, _bed_hull(estimate, camera), 0)
    found = cv2.goodFeaturesToTrack(normal, 2000, 0.02, 7, mask=mask, blockSize=7)
    points = np.empty((0, 2)) if found is None else np.asarray(found, np.float64).reshape(-1, 2)
    cell = _cell_of(points, camera)
    kept = np.concatenate([np.flatnonzero(cell == c)[:_PER_CELL] for c in range(_CELLS[0] * _CELLS[1])])
    points = np.rint(points[np.sort(kept)][:_MOST_POINTS])
    if len(points) < 2 * _LEAST_POINTS:
        raise WardposeError(
            f"only {len(points)} points of the room around the bed can be recognised again",
            where="watching for a bumped camera", mend="let the camera see more of the room, or light it",
        )  # fmt: skip
    half = PIECE // 2
    pieces = np.stack(
        [normal[y - half : y + half + 1, x - half : x + half + 1] for x, y in points.astype(int)]
    )  # fmt: skip
    return BackgroundReference(camera, points, np.ascontiguousarray(pieces))


def measure_turn(
    reference: BackgroundReference, color: NDArray[np.uint8], *, expected: NDArray[np.float64] | None = None
) -> CameraTurn | None:
    """The camera's turn since the reference, from a new picture; None where too little of the background is seen.

    expected: (3, 3) where the turn is looked for first, such as the last measure; no turn by default.
    """
    normal = _normalised(color)
    if normal.shape != (reference.camera.height, reference.camera.width):
        return None
    half = cv2.resize(normal, (normal.shape[1] // 2, normal.shape[0] // 2), interpolation=cv2.INTER_AREA)
    guess = np.eye(3) if expected is None else expected
    for reach in (_NEAR, _FAR):
        turn = _search(reference, normal, half, guess, reach)
        if turn is not None:
            return turn
    far = _far_turn(reference, half)
    return None if far is None else _search(reference, normal, half, far, _NEAR)


def _normalised(color: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray, `WIDTH` px wide, with the same local mean and contrast everywhere."""
    height, width = color.shape[:2]
    size = (WIDTH, round(WIDTH * height / width))
    small = cv2.resize(color, size, interpolation=cv2.INTER_AREA) if width != WIDTH else color
    gray = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.8)
    mean = cv2.blur(gray, (25, 25))
    deviation = np.sqrt(cv2.blur((gray - mean) ** 2, (25, 25)))
    # A flat wall has noise only; the constant keeps it from being blown up into structure.
    return np.clip(128 + 42 * (gray - mean) / (deviation + 4.0), 0, 255).astype(np.uint8)


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


def _cell_of(points: NDArray[np.float64], camera: CameraModel) -> NDArray[np.int64]:
    column, row = (points / [camera.width, camera.height] * _CELLS).astype(np.int64).T
    return row * _CELLS[0] + column


def _search(
    reference: BackgroundReference, normal: NDArray[np.uint8], half: NDArray[np.uint8], guess: NDArray[np.float64],
    reach: int,
) -> CameraTurn | None:  # fmt: skip
    """Look for every piece within `reach` half-size px of where `guess` puts it, and for the turn they agree on."""
    camera = reference.camera
    then = _directions(reference.points, camera)
    places = camera.project(then @ guess.T)
    found, which = [], []
    for index, (place, piece) in enumerate(zip(places, reference.pieces, strict=True)):
        pixel = _find_piece(piece, place, normal, half, reach)
        if pixel is not None:
            found.append(pixel)
            which.append(index)
    if len(found) < _LEAST_POINTS:
        return None
    return _agree(then[which], _directions(np.array(found), camera), reference.points[which], camera)


def _find_piece(
    piece: NDArray[np.uint8], place: NDArray[np.float64], normal: NDArray[np.uint8], half: NDArray[np.uint8], reach: int
) -> tuple[float, float] | None:
    """Where the piece is (px, to a fraction), or None."""
    small = cv2.resize(_middle(piece, 2 * _COARSE), (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    # A piece spans an even number of pixels here, so its middle lies half a pixel off the point.
    start = _best(half, small, (place - 0.5) / 2 - 0.25, reach)
    if start is None:
        return None
    fine = _best(normal, _middle(piece, _FINE), np.array(start[:2]) * 2 + 1.0, 3, fraction=True)
    return None if fine is None or fine[2] < _LEAST_MATCH else fine[:2]


def _middle(piece: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    low = (piece.shape[0] - side) // 2
    return piece[low : low + side, low : low + side]


def _best(
    picture: NDArray[np.uint8], piece: NDArray[np.uint8], place: NDArray[np.float64], reach: int, *,
    fraction: bool = False,
) -> tuple[float, float, float] | None:  # fmt: skip
    """The middle (x, y) and the correlation of the best match within `reach` px of `place`; None near the border."""
    radius = piece.shape[0] // 2
    x, y = round(float(place[0])), round(float(place[1]))
    left, top = max(x - reach - radius, 0), max(y - reach - radius, 0)
    window = picture[top : y + reach + radius + 1, left : x + reach + radius + 1]
    if window.shape[0] < piece.shape[0] + 2 or window.shape[1] < piece.shape[1] + 2:
        return None
    match = cv2.matchTemplate(window, piece, cv2.TM_CCOEFF_NORMED)
    _, value, _, (u, v) = cv2.minMaxLoc(match)
    if not np.isfinite(value):
        return None
    du = dv = 0.0
    if fraction:
        if not (0 < u < match.shape[1] - 1 and 0 < v < match.shape[0] - 1):
            return None
        du, dv = _vertex(match[v, u - 1 : u + 2]), _vertex(match[v - 1 : v + 2, u])
    return left + u + radius + du, top + v + radius + dv, float(value)


def _vertex(three: NDArray[np.float32]) -> float:
    """Where the parabola through three neighbouring values has its top, from the middle one."""
    before, middle, after = (float(v) for v in three)
    bend = before - 2 * middle + after
    return 0.0 if bend >= -1e-9 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _directions(pixels: NDArray[np.float64], camera: CameraModel) -> NDArray[np.float64]:
    rays = camera.unproject(pixels)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _agree(
    then: NDArray[np.float64], now: NDArray[np.float64], points: NDArray[np.float64], camera: CameraModel
) -> CameraTurn | None:
    tolerance = _TOLERANCE_PX / camera.fx
    rng = np.random.default_rng(len(then))  # the same picture always gives the same measure
    best: NDArray[np.bool_] | None = None
    first, second = rng.integers(len(then), size=(2, 300))
    apart = np.linalg.norm(then[first] - then[second], axis=1) > 0.1
    turns = _frames(now[first[apart]], now[second[apart]]) @ np.swapaxes(
        _frames(then[first[apart]], then[second[apart]]), 1, 2
    )
    if not len(turns):
        return None
    off = np.linalg.norm(np.einsum("tij,nj->tni", turns, then) - now, axis=2) < tolerance
    best = off[int(off.sum(axis=1).argmax())]
    for _ in range(3):
        if best.sum() < _LEAST_POINTS:
            return None
        turn = _kabsch(then[best], now[best])
        error = np.linalg.norm(then @ turn.T - now, axis=1)
        best = error < tolerance
    agreeing = int(best.sum())
    if agreeing < max(_LEAST_POINTS, 0.3 * len(then)) or len(set(_cell_of(points[best], camera))) < _LEAST_CELLS:
        return None
    scatter = float(np.sqrt((error[best] ** 2).sum() / (2 * agreeing - 3)))
    information = sum(np.eye(3) - np.outer(d, d) for d in then[best])
    sigma = np.sqrt(scatter**2 * np.trace(np.linalg.inv(information)))
    return CameraTurn(turn, agreeing, len(then), float(np.degrees(sigma)))


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


def _far_turn(reference: BackgroundReference, half: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """A rough turn of a camera that was turned up to about 18 degrees, from larger pieces at a quarter of the size."""
    quarter = cv2.resize(half, (half.shape[1] // 2, half.shape[0] // 2), interpolation=cv2.INTER_AREA)
    small = [cv2.resize(_middle(p, 28), (7, 7), interpolation=cv2.INTER_AREA) for p in reference.pieces]
    found, which = [], []
    for index, (point, piece) in enumerate(zip(reference.points, small, strict=True)):
        place = _best(quarter, piece, point / 4 - 0.375, _WIDE)
        if place is not None and place[2] > 0.8:
            found.append((4 * place[0] + 1.5, 4 * place[1] + 1.5))
            which.append(index)
    if len(found) < _LEAST_POINTS:
        return None
    then, now = _directions(reference.points[which], reference.camera), _directions(np.array(found), reference.camera)
    return _rough_agreement(then, now, 8.0 / reference.camera.fx)


def _rough_agreement(
    then: NDArray[np.float64], now: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64] | None:
    rng = np.random.default_rng(len(then))
    first, second = rng.integers(len(then), size=(2, 2000))
    apart = np.linalg.norm(then[first] - then[second], axis=1) > 0.15
    first, second = first[apart], second[apart]
    turns = _frames(now[first], now[second]) @ np.swapaxes(_frames(then[first], then[second]), 1, 2)
    near = np.linalg.norm(np.einsum("tij,nj->tni", turns, then) - now, axis=2) < tolerance
    best = near[int(near.sum(axis=1).argmax())]
    return _kabsch(then[best], now[best]) if best.sum() >= 8 else None
