"""Taking a plate: some seconds of frames of the empty bed become one picture and one depth, or a reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from runtime.capture.registration import register_depth
from runtime.frames import Frame

_CELLS_WIDE = 160  # movement is looked for in cells of the picture: finer is noise, coarser misses a hand
_MOVED_LEVEL = 10.0  # of 255: a cell that differs by more than its noise and by this has changed
_MOVED_CELLS = 12  # changed cells side by side that are no flicker
_MOVED_DEPTH = 0.03  # share of its distance by which a depth cell must differ, at least 40 mm
_LEAST_DEPTH = 0.1  # share of the picture that must have depth
_CLEAR_M = 0.12  # metres above the mattress from which something lies on it that is not bedding
_CLEAR_PILLOW_M = 0.28  # the same in the third toward the head, where pillows are
_CLEAR_SHARE = 0.02  # of the mattress that may be so
_SMALL_HOLE_PX = 6


@dataclass(frozen=True)
class FusedView:
    """color: (H, W, 3) uint8 RGB, the median of the frames. depth: (H, W) uint16 millimetres as the colour camera sees
    it, holes filled. measured: (H, W) bool, where they were not. noise: of one frame, of full scale."""

    color: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    measured: NDArray[np.bool_]
    camera: CameraModel
    noise: float


def fuse(frames: Sequence[Frame]) -> FusedView:
    """One view from frames of a scene in which nothing moves; slow changes of light and noise do no harm.

    Raises WardposeError where the frames have no depth, their lens is not known, or something moved between them.
    """
    first = frames[0]
    if first.camera is None:
        raise WardposeError("the source does not know its lens", where=first.source, mend="take plates with a Kinect")
    if any(frame.depth is None or frame.depth_camera is None for frame in frames):
        raise WardposeError("it gives no depth", where=first.source, mend="take plates with a depth camera, depth on")
    stack = np.stack([frame.color for frame in frames])
    color = np.asarray(np.median(stack, axis=0), dtype=np.uint8)
    _require_still(stack, color, first.source)
    depths = np.stack([frame.depth for frame in frames if frame.depth is not None])
    depth = _median_depth(depths)
    _require_still_depth(depths, depth, first.source)
    registered = register_depth(replace(first, depth=depth))
    if (registered > 0).mean() < _LEAST_DEPTH:
        raise WardposeError(
            "its depth is all but empty",
            where=first.source,
            mend="uncover the depth camera; nothing may be within 0.5 m",
        )
    deviation = np.abs(stack[:, ::4, ::4].astype(np.int16) - color[::4, ::4].astype(np.int16))
    noise = float(deviation.mean()) / 0.798 / 255  # a normal distribution's mean distance is 0.798 σ
    return FusedView(color, fill_holes(registered), registered > 0, first.camera, noise)


def _median_depth(depths: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The median of the readings of each pixel (0 = none) where at least half of the frames have one."""
    count = (depths > 0).sum(axis=0)
    ordered = np.sort(depths, axis=0)  # the pixels without a reading come first
    middle = np.take_along_axis(ordered, (len(depths) - 1 - count // 2)[None].clip(0), axis=0)[0]
    return np.where((count > 0) & (2 * count >= len(depths)), middle, 0).astype(np.uint16)


def _require_still(stack: NDArray[np.uint8], median: NDArray[np.uint8], source: str) -> None:
    height, width = median.shape[:2]
    size = (_CELLS_WIDE, max(1, round(_CELLS_WIDE * height / width)))
    cells = np.stack([_cells(frame, size) for frame in stack])
    reference = _cells(median, size)
    # The whole picture's level, and its slow slope, may drift with clouds and lamps.
    for k, cell in enumerate(cells):
        ratio = cv2.GaussianBlur(reference, (0, 0), 40) / np.maximum(cv2.GaussianBlur(cell, (0, 0), 40), 1.0)
        cells[k] = cell * ratio
    off = np.abs(cells - reference)
    limit = np.maximum(_MOVED_LEVEL, 6.0 * 1.4826 * np.median(off))
    _require_few(off > limit, source)


def _require_still_depth(depths: NDArray[np.uint16], median: NDArray[np.uint16], source: str) -> None:
    step = max(1, median.shape[1] // _CELLS_WIDE)
    size = (median.shape[1] // step, median.shape[0] // step)
    reference = _depth_cells(median, size, step)
    off = np.stack([np.abs(_depth_cells(depth, size, step) - reference) for depth in depths])
    _require_few(np.nan_to_num(off) > np.maximum(40.0, _MOVED_DEPTH * np.nan_to_num(reference)), source)


def _cells(color: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    return cv2.resize(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _depth_cells(depth: NDArray[np.uint16], size: tuple[int, int], step: int) -> NDArray[np.float32]:
    """Median depth of each cell (rows, columns); NaN where less than all of it was measured: edges flicker."""
    width, height = size
    tiles = depth[: height * step, : width * step].reshape(height, step, width, step)
    blocks = tiles.swapaxes(1, 2).reshape(height, width, step * step)
    return np.where((blocks > 0).all(axis=2), np.median(blocks, axis=2), np.nan).astype(np.float32)


def _require_few(changed: NDArray[np.bool_], source: str) -> None:
    """changed: (frames, rows, columns); raise where a patch of it is larger than flicker."""
    for number, frame in enumerate(changed):
        _, _, statistics, _ = cv2.connectedComponentsWithStats(frame.astype(np.uint8), connectivity=4)
        if len(statistics) > 1 and statistics[1:, cv2.CC_STAT_AREA].max() >= _MOVED_CELLS:
            raise WardposeError(
                f"something moved (picture {number + 1} of {len(changed)})",
                where=source,
                mend="let nobody walk through the picture, then take the plate again",
            )


def fill_holes(depth: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Depth (H, W) millimetres with its holes (0) filled from the readings about them.

    A small hole takes the farthest reading around: a time-of-flight camera loses what lies just behind an edge. A large
    one (a black or a shining surface) takes the nearest pixel's. A picture without any reading stays as it is.
    """
    if not (depth > 0).any():
        return depth
    filled = depth.copy()
    kernel = np.ones((3, 3), np.uint8)
    for _ in range(_SMALL_HOLE_PX):
        filled = np.where(filled == 0, cv2.dilate(filled, kernel), filled)
    nearest = distance_transform_edt(filled == 0, return_distances=False, return_indices=True)
    filled = filled[tuple(nearest)]
    smooth = cv2.medianBlur(np.ascontiguousarray(filled), 5)
    return np.where(depth > 0, depth, smooth).astype(np.uint16)


def require_empty_bed(
    view: FusedView, camera_from_bed: NDArray[np.float64], bed: Bed, source: str, step: int = 2
) -> None:
    """Raise WardposeError where something higher than bedding lies on the mattress, or the mattress is not seen.

    The raised backrest is taken to be where `bed` says.
    """
    v, u = np.mgrid[0 : view.camera.height : step, 0 : view.camera.width : step]
    seen = view.measured[::step, ::step].ravel()
    pixels = np.column_stack([u.ravel()[seen], v.ravel()[seen]]).astype(np.float64)
    z = view.depth[::step, ::step].ravel()[seen] / 1000.0
    bed_from_camera = np.linalg.inv(camera_from_bed)
    points = (view.camera.unproject(pixels) * z[:, None]) @ bed_from_camera[:3, :3].T + bed_from_camera[:3, 3]
    x, y, height = points.T
    on = (np.abs(x) < bed.length / 2 - 0.1) & (np.abs(y) < bed.width / 2 - 0.1) & (height > -0.3) & (height < 1.5)
    if on.sum() < 100:
        raise WardposeError(
            "the mattress is not in the picture where the calibration says", where=source, mend="calibrate again"
        )
    raised = np.tan(np.radians(bed.backrest_deg)) * np.maximum(-x - 0.1 * bed.length, 0.0)
    limit = np.where(x < -bed.length / 6, _CLEAR_PILLOW_M, _CLEAR_M) + raised
    share = float((on & (height > limit)).sum() / on.sum())
    if share > _CLEAR_SHARE:
        top = float(np.quantile((height - raised)[on & (height > limit)], 0.9))
        raise WardposeError(
            f"something {100 * top:.0f} cm high lies on {100 * share:.0f} % of the mattress",
            where=source,
            mend="a plate shows the empty bed: take it away, and let nobody lie or sit there",
        )
