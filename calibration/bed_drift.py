"""Whether the bed still stands where it was calibrated, from depth: moved, raised or lowered, backrest changed.

No target is needed and a patient may lie in it. What is rigid about a bed is its rim: rails, boards and the mattress's
edge over the floor around it. Of the rim of then, straight pieces as long as a forearm are kept, four lengths each, so
that nobody's outline can be drawn from it. The rim of now, seen from above, is laid over it (a search over x, y and yaw
on a map of 2.5 cm cells); the height is the step that most of the rim's cells took. The backrest is the slope of the
lowest surface headward of the hinge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate

# The hinge of the backrest lies this share of the length headward of the middle, as in most hospital beds.
_HINGE_SHARE = 0.1
_CELL_M = 0.025
_AROUND_M = 1.2  # about the outline; a bed is followed over half of it
_RIM_M = (0.1, 0.3)  # inside and outside of the outline
_PIECE_M = 0.25  # length of a piece of the rim
_LEVEL_M = 0.05  # the mattress's edge is level
_HIGHEST_RIM_M = 0.6  # over the mattress: no board and no rail is higher, so it is somebody or something else
_LEAST_PIECES = 6
_LEAST_RIM = 60  # cells
_HIGH_M, _LOW_M = -0.08, -0.2  # over the mattress: from here on it is bed, below that it is floor
_HEIGHTS_M = np.arange(-0.40, 0.61, 0.01)
_MOST_HEIGHTS = 4
_EDGE_M = 0.06
_STEP_M = 0.015  # rim cells within this of each other took the same step
_LEAST_ALIKE = 0.4  # of the rim's cells took it, or it is a blanket or an arm
# Agreement of the rim, up to 1, elsewhere and at home:
_BETTER = 0.09  # elsewhere must be better than home by this
_LEFT_OVER = 0.45  # and without the rails leave no more than this share of what disagrees at home
_SURE, _LEAST_AGREEMENT = 0.82, 0.6
_UNMOVED_BUT_RAILS = 0.72
_SAME_HEIGHT_M = 0.04
_NO_MOVE = np.zeros(3)
Cells = tuple[NDArray[np.float64], NDArray[np.int8]]  # where (N, 2), metres, and what was there


@dataclass(frozen=True, slots=True)
class BedPosition:
    """The bed's move since the reference: `raised_m` up, `toward_foot_m` and `toward_left_m` along the bed's axes,
    `yaw_deg` about the vertical; and the angle of its backrest now.

    other_rails: it stands at home by its boards and edges, but a side rail is not as it was.
    """

    raised_m: float
    toward_foot_m: float
    toward_left_m: float
    yaw_deg: float
    backrest_deg: float
    other_rails: bool = False


@dataclass(frozen=True)
class BedReference:
    """The bed's rim when it stood right, in straight pieces along the mattress's outline.

    pieces: (P, 4), metres, NaN where not seen: how far beyond the outline the bed reaches there, from how far beyond it
    the floor was seen, and how high (bed frame) the mattress's edge and what stands beyond it were.
    """

    bed: Bed
    pieces: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.pieces.shape != (number_of_pieces(self.bed), 4):
            raise ValueError(f"{self.pieces.shape} are no pieces of this bed's rim")

    @cached_property
    def rim(self) -> NDArray[np.int8]:
        """(X, Y) map about the mattress's outline as the pieces tell it: 1 where something is as high as the mattress,
        −1 where the floor is seen, 0 elsewhere."""
        piece, beyond = _pieces_mask(self.bed)
        reach, floor = self.pieces[piece, 0], self.pieces[piece, 1]
        rim = np.where(beyond < reach, 1, np.where(beyond > floor, -1, 0)).astype(np.int8)
        rim[~_rim_mask(self.bed)] = 0
        return rim

    @cached_property
    def top(self) -> NDArray[np.float64]:
        """(X, Y) map of how high (m, bed frame) the rim's ones are; NaN where that is not known."""
        piece, beyond = _pieces_mask(self.bed)
        return np.where(self.rim > 0, np.where(beyond < 0, self.pieces[piece, 2], self.pieces[piece, 3]), np.nan)


def points_of(
    depth: NDArray[np.uint16], depth_camera: CameraModel, color_from_depth: NDArray[np.float64],
    estimate: CalibrationEstimate,
) -> NDArray[np.float64]:  # fmt: skip
    """Points (N, 3), metres, bed frame, about the bed, of depth (h, w) in mm with 0 = no reading.

    estimate.camera_from_bed must be the colour camera's pose at the time of the picture.
    """
    z = depth.ravel()
    rays = _rays(depth_camera)
    seen = (z > 0) & np.isfinite(rays).all(axis=1)
    bed_from_depth = np.linalg.inv(estimate.camera_from_bed) @ color_from_depth
    points = (rays[seen] * (z[seen, None] / 1000.0)) @ bed_from_depth[:3, :3].T + bed_from_depth[:3, 3]
    reach = np.array([estimate.bed.length, estimate.bed.width]) / 2 + _AROUND_M
    return points[(np.abs(points[:, :2]) < reach).all(axis=1)]


def take_bed(pictures: Sequence[NDArray[np.float64]], bed: Bed) -> BedReference | None:
    """The reference from the points (see `points_of`) of a few depth pictures of the bed where it stands right.

    With several, people who come and go leave no trace; of what lies on the rim, nothing that is narrower than half a
    piece. None where too little of the bed and its floor is seen.
    """
    tops = np.stack([_tops(points, bed) for points in pictures])
    high, low = (tops > _HIGH_M).sum(axis=0), (tops < _LOW_M).sum(axis=0)
    rim = np.where(high > low, 1, np.where(low > high, -1, 0)).astype(np.int8)
    rim[~_rim_mask(bed)] = 0
    if min(np.count_nonzero(rim > 0), np.count_nonzero(rim < 0)) < _LEAST_RIM:
        return None
    # The lower middle: of an even number of pictures, not between a rail and the arm that lay on it.
    ranked = np.sort(np.where(tops > _HIGH_M, tops, np.inf), axis=0)
    middle = np.take_along_axis(ranked, np.maximum(high - 1, 0)[None] // 2, axis=0)[0]
    piece, beyond = _pieces_mask(bed)
    about = [(piece == number) & _rim_mask(bed) for number in range(number_of_pieces(bed))]
    pieces = np.stack([_straight(rim[of], middle[of], beyond[of]) for of in about])
    return BedReference(bed, pieces) if np.isfinite(pieces[:, 0]).sum() >= _LEAST_PIECES else None


def number_of_pieces(bed: Bed) -> int:
    """Into how many straight pieces its rim is cut."""
    return 2 * sum(round(side / _PIECE_M) for side in (bed.length, bed.width))


def _straight(rim: NDArray[np.int8], top: NDArray[np.float32], beyond: NDArray[np.float64]) -> NDArray[np.float64]:
    """The four lengths of a piece from its cells (N,); see `BedReference`."""
    nothing = np.full(4, np.nan)
    steps = np.arange(-_RIM_M[0], _RIM_M[1] + 1e-9, _CELL_M)
    # Where bed ends and floor begins: the edge that the fewest cells contradict.
    wrong = [((rim > 0) & (beyond > edge)).sum() + ((rim < 0) & (beyond < edge)).sum() for edge in steps]
    reach = float(steps[int(np.argmin(wrong))])
    bed, floor = (rim > 0) & (beyond < reach), (rim < 0) & (beyond > reach)
    if bed.sum() < 0.5 * (beyond < reach).sum() or reach <= steps[0]:
        return nothing
    seen = [floor[(beyond > edge) & (beyond < edge + _CELL_M)].mean() > 0.5 for edge in steps[:-1]]
    begins = next((float(edge) for edge, shows in zip(steps[:-1], seen, strict=True) if shows), np.nan)
    inner, outer = (
        float(np.median(top[bed & side])) if (bed & side).any() else np.nan for side in (beyond < 0, beyond > 0)
    )
    if outer > _HIGHEST_RIM_M:  # a wall, a cupboard or somebody stands there
        reach, begins, outer = min(reach, 0.0), np.nan, np.nan
    if abs(inner) > _LEVEL_M:  # a pillow, feet, a backrest that is up
        inner = np.nan
    return np.round([reach, begins, inner, outer], 3) + 0.0


def measure_bed(points: NDArray[np.float64], references: Sequence[BedReference]) -> BedPosition | None:
    """The bed's move since it was referred to; None where too little of its rim is seen to say.

    references: of the same bed at the same place, its rails up or down; the one that fits best counts.
    """
    if not references:
        return None
    bed = references[0].bed
    tops = _tops(points, bed)
    maps = [(height, _occupancy(tops, height)) for height in (0.0, *_surfaces(points, bed))]
    found = [at for reference in references if (at := _measure(points, tops, maps, reference)) is not None]
    return max(found, key=lambda at: at[0])[1] if found else None


def _measure(
    points: NDArray[np.float64], tops: NDArray[np.float32], maps: Sequence[tuple[float, NDArray[np.int8]]],
    reference: BedReference,
) -> tuple[float, BedPosition] | None:  # fmt: skip
    """The position by one reference, and how sure it is, up to 1. maps: what is bed and what floor, by its height."""
    bed = reference.bed
    rim = _cells_of(reference, reference.rim != 0)
    fixed = _cells_of(reference, (reference.rim != 0) & ~_rails_mask(bed))
    best: tuple[float, NDArray[np.float64], float, bool] | None = None
    for height, occupied in maps:
        score, pose, other_rails = _place(occupied, rim, fixed)
        raised = _step_of_rim(tops, reference, pose, height)
        if raised is None or abs(raised - height) > _SAME_HEIGHT_M:
            continue
        if best is None or score > best[0]:
            best = (score, pose, raised, other_rails)
        if score > _SURE or other_rails:
            break
    if best is None or best[0] < _LEAST_AGREEMENT:
        return None
    score, (x, y, yaw), raised, other_rails = best
    slope = _backrest(points, bed, (x, y, yaw), raised)
    return score, BedPosition(raised, float(x), float(y), float(np.degrees(yaw)), slope, other_rails)


@lru_cache(maxsize=2)
def _rays(camera: CameraModel) -> NDArray[np.float64]:
    v, u = np.mgrid[: camera.height, : camera.width]
    return camera.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(np.float64))


@lru_cache(maxsize=4)
def _map_shape(bed: Bed) -> tuple[int, int]:
    length, width = (2 * int(np.ceil((side / 2 + _AROUND_M) / _CELL_M)) for side in (bed.length, bed.width))
    return length, width


@lru_cache(maxsize=4)
def _rim_mask(bed: Bed) -> NDArray[np.bool_]:
    """The cells (X, Y) near the mattress's outline."""
    x, y = (np.abs((np.arange(n) + 0.5 - n / 2) * _CELL_M) for n in _map_shape(bed))
    beyond = np.maximum(x[:, None] - bed.length / 2, y[None, :] - bed.width / 2)  # the outline's distance, < 0 inside
    return np.asarray((beyond > -_RIM_M[0]) & (beyond < _RIM_M[1]))


@lru_cache(maxsize=4)
def _pieces_mask(bed: Bed) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of every cell (X, Y), to which piece of the rim it belongs and how far (m) beyond the outline it lies."""
    x, y = ((np.arange(n) + 0.5 - n / 2) * _CELL_M for n in _map_shape(bed))
    beyond_end, beyond_side = np.abs(x)[:, None] - bed.length / 2, np.abs(y)[None, :] - bed.width / 2
    many_x, many_y = (round(side / _PIECE_M) for side in (bed.length, bed.width))
    along_x, along_y = (
        np.clip(((v / side + 0.5) * many).astype(np.int64), 0, many - 1)
        for v, side, many in ((x, bed.length, many_x), (y, bed.width, many_y))
    )
    of_side = along_x[:, None] + many_x * (y > 0)[None, :]
    of_end = 2 * many_x + along_y[None, :] + many_y * (x > 0)[:, None]
    return np.where(beyond_side > beyond_end, of_side, of_end), np.maximum(beyond_end, beyond_side)


@lru_cache(maxsize=4)
def _rails_mask(bed: Bed) -> NDArray[np.bool_]:
    """The cells (X, Y) where side rails go up and down."""
    x, y = (np.abs((np.arange(n) + 0.5 - n / 2) * _CELL_M) for n in _map_shape(bed))
    beside = (y > bed.width / 2 - 0.02) & (y < bed.width / 2 + 0.12)
    return np.asarray((x < bed.length / 2 - 0.1)[:, None] & beside[None, :])


def _tops(points: NDArray[np.float64], bed: Bed) -> NDArray[np.float32]:
    """The highest point of every cell (X, Y), metres; NaN where nothing is seen."""
    shape = _map_shape(bed)
    cell = np.floor(points[:, :2] / _CELL_M).astype(np.int64) + np.array(shape) // 2
    kept = ((cell >= 0) & (cell < shape)).all(axis=1)
    tops = np.full(shape[0] * shape[1], -np.inf, np.float32)
    np.maximum.at(tops, cell[kept, 0] * shape[1] + cell[kept, 1], points[kept, 2].astype(np.float32))
    return np.where(np.isfinite(tops), tops, np.nan).reshape(shape)


def _occupancy(tops: NDArray[np.float32], height: float) -> NDArray[np.int8]:
    return np.where(tops > height + _HIGH_M, 1, np.where(tops < height + _LOW_M, -1, 0)).astype(np.int8)


def _surfaces(points: NDArray[np.float64], bed: Bed) -> list[float]:
    """Heights (m) at which something of some size lies level within the bed's outline, the largest first."""
    inside = (points[:, 0] > -_HINGE_SHARE * bed.length) & (points[:, 0] < bed.length / 2 - 0.15)
    inside &= (np.abs(points[:, 1]) < bed.width / 2 - 0.15) & (points[:, 2] > 0.1 - bed.height)
    counts, _ = np.histogram(points[inside, 2], _HEIGHTS_M)
    smooth = np.convolve(counts, np.ones(3), "same")
    peaks = 1 + np.flatnonzero((smooth[1:-1] >= smooth[:-2]) & (smooth[1:-1] > smooth[2:]))
    peaks = peaks[smooth[peaks] > 0.15 * smooth.max()]
    largest = peaks[np.argsort(-smooth[peaks], kind="stable")][:_MOST_HEIGHTS]
    return [float(_HEIGHTS_M[peak] + 0.005) for peak in largest]


def _place(occupied: NDArray[np.int8], rim: Cells, fixed: Cells) -> tuple[float, NDArray[np.float64], bool]:
    """How well the rim agrees with the map of now, at which pose (x, y, yaw), and whether a rail is not as it was.

    A rail that was let down or put up looks a little like a step aside, and what hides an end of the bed lets it slide
    along; but then the rest of the rim, which has no rails (`fixed`), agrees little better there than at home.
    """
    at_home = float(_agreement(occupied, *rim, _NO_MOVE[None])[0])
    if at_home + _BETTER > 1:
        return at_home, _NO_MOVE, False
    best, pose = _fit(occupied, *rim)
    if best < at_home + _BETTER:
        return at_home, _NO_MOVE, False
    there, here = (float(_agreement(occupied, *fixed, place[None])[0]) for place in (pose, _NO_MOVE))
    if best > _SURE and 1 - there < _LEFT_OVER * (1 - here):
        return best, pose, False
    if here > _UNMOVED_BUT_RAILS:
        return here, _NO_MOVE, True
    return best, pose, False


def _cells_of(reference: BedReference, which: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Where (N, 2), metres, the cells of a mask (X, Y) lie, and what was there."""
    rows, columns = np.nonzero(which)
    cells = (np.column_stack([rows, columns]) + 0.5 - np.array(reference.rim.shape) / 2) * _CELL_M
    return cells, reference.rim[rows, columns]


def _fit(
    occupied: NDArray[np.int8], cells: NDArray[np.float64], value: NDArray[np.int8]
) -> tuple[float, NDArray[np.float64]]:
    """How well, up to 1, and at which pose (x, y, yaw) the cells agree best with the map of now."""
    pose, reach, turn = _NO_MOVE, 0.4, np.radians(9.0)
    few = slice(None, None, 3)
    for shifts, turns, part in ((17, 7, few), (5, 5, few), (5, 3, slice(None))):
        x, y = (pose[k] + np.linspace(-reach, reach, shifts) for k in (0, 1))
        yaw = pose[2] + np.linspace(-turn, turn, turns)
        poses = np.stack(np.meshgrid(x, y, yaw, indexing="ij"), axis=-1).reshape(-1, 3)
        scores = _agreement(occupied, cells[part], value[part], poses)
        pose = poses[scores > scores.max() - 0.005].mean(axis=0)  # the middle of a plateau
        reach, turn = 2.0 * reach / (shifts - 1), 2.0 * turn / (turns - 1)
    return float(_agreement(occupied, cells, value, pose[None])[0]), pose


def _agreement(
    occupied: NDArray[np.int8], cells: NDArray[np.float64], value: NDArray[np.int8], poses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Right minus wrong cells over the cells seen, at least half of them, for every pose (P, 3)."""
    row, column = _cells_at(cells, poses, occupied.shape)
    now = occupied[row, column]
    agree = (now * value).sum(axis=1, dtype=np.float64)
    return np.asarray(agree / np.maximum((now != 0).sum(axis=1), 0.5 * len(value)))


def _cells_at(
    cells: NDArray[np.float64], poses: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    cos, sin = np.cos(poses[:, 2, None]), np.sin(poses[:, 2, None])
    x = poses[:, 0, None] + cos * cells[:, 0] - sin * cells[:, 1]
    y = poses[:, 1, None] + sin * cells[:, 0] + cos * cells[:, 1]
    row, column = ((v / _CELL_M + n / 2).astype(np.int64) for v, n in ((x, shape[0]), (y, shape[1])))
    return np.clip(row, 0, shape[0] - 1), np.clip(column, 0, shape[1] - 1)


def _step_of_rim(
    tops: NDArray[np.float32], reference: BedReference, pose: NDArray[np.float64], height: float
) -> float | None:
    """The change of height that most of the rim's high cells took, looked for around `height`. Side rails do not tell:
    of one that was put up, all cells rise alike."""
    told = (reference.rim > 0) & ~_rails_mask(reference.bed)
    cells, _ = _cells_of(reference, told)
    row, column = _cells_at(cells, pose[None], tops.shape)
    steps = tops[row[0], column[0]] - reference.top[told]
    steps = np.sort(steps[np.isfinite(steps) & (np.abs(steps - height) < 0.3)])
    if len(steps) < _LEAST_RIM // 2:
        return None
    alike = np.searchsorted(steps, steps + 2 * _STEP_M) - np.arange(len(steps))
    first = int(alike.argmax())
    if alike[first] < _LEAST_ALIKE * len(steps):
        return None
    return float(np.median(steps[first : first + alike[first]]))


def _backrest(points: NDArray[np.float64], bed: Bed, pose: tuple[float, float, float], height: float) -> float:
    """The slope (degrees, not below flat) of the lowest surface headward of the hinge: the median of the slopes between
    slices (Theil and Sen), which a pillow, a head or a gap beside the mattress does not move."""
    x, y = points[:, 0] - pose[0], points[:, 1] - pose[1]
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    along, across, up = cos * x + sin * y, -sin * x + cos * y, points[:, 2] - height
    hinge = -_HINGE_SHARE * bed.length
    on = (np.abs(across) < bed.width / 2 - _EDGE_M) & (up > -0.06) & (up < 0.9)
    away, heights = [], []
    for distance in np.arange(0.0, bed.length / 2 + hinge - 0.1, 0.04):
        z = up[on & (np.abs(hinge - distance - along) < 0.03)]
        if len(z) >= 20:
            away.append(distance)
            heights.append(np.quantile(z, 0.07))
    if len(away) < 6:
        return 0.0
    first, second = np.triu_indices(len(away), k=4)
    rise = (np.array(heights)[second] - np.array(heights)[first]) / (np.array(away)[second] - np.array(away)[first])
    return max(float(np.degrees(np.arctan(np.median(rise)))), 0.0)
