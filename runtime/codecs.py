"""From a pose model's output to keypoints in its input's pixels, in numpy.

Every decoder takes P people at once and gives keypoints (P, K, 2) float32 in input pixels and scores (P, K) float32.
A keypoint the model gives no response for has score 0. Conventions are mmpose's, the tests' oracle: with UDP the last
cell's centre lies on the last pixel's centre, elsewhere a cell spans `input / heatmap` pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Decoded = tuple[NDArray[np.float32], NDArray[np.float32]]
Floats = NDArray[np.float32]

# Cells added to MoveNet's distances before they divide.
_CLOSE = np.float32(1.8)


def decode_simcc(x: Floats, y: Floats, split: float) -> Decoded:
    """SimCC (Li et al. 2022): the best bin of each axis. x: (P, K, width·split), y: (P, K, height·split)."""
    best = np.stack([x.argmax(-1), y.argmax(-1)], axis=-1).astype(np.float32)
    score = np.minimum(x.max(-1), y.max(-1))
    best[score <= 0] = -1
    return (best / np.float32(split)).astype(np.float32), np.maximum(score, 0)


def decode_heatmap(heatmaps: Floats, input_size: tuple[int, int]) -> Decoded:
    """The highest cell, moved a quarter of a cell toward its higher neighbour. heatmaps: (P, K, h, w)."""
    cell, score = _highest_cell(heatmaps)
    height, width = heatmaps.shape[2:]
    x, y = cell[..., 0].astype(int), cell[..., 1].astype(int)
    take = _Taker(heatmaps)
    # The bounds are those of mmpose's MSRA decoder, which leaves the outermost cells where they are.
    inside_x = (x > 1) & (x < width - 1) & (y > 0) & (y < height)
    inside_y = (y > 1) & (y < height - 1) & (x > 0) & (x < width)
    step_x = np.where(inside_x, np.sign(take(x + 1, y) - take(x - 1, y)), 0)
    step_y = np.where(inside_y, np.sign(take(x, y + 1) - take(x, y - 1)), 0)
    cell += 0.25 * np.stack([step_x, step_y], axis=-1).astype(np.float32)
    return (cell * _pixels_per_cell(heatmaps, input_size)).astype(np.float32), score


def decode_heatmap_dark(heatmaps: Floats, input_size: tuple[int, int], blur: int = 11) -> Decoded:
    """DARK (Zhang et al. 2020): one Newton step on the logarithm of the blurred map, at a stride of two cells.

    blur: Gaussian kernel in cells, matching the training's sigma (11 for 2, 17 for 3).
    """
    cell, score = _highest_cell(heatmaps)
    height, width = heatmaps.shape[2:]
    take = _Taker(np.log(np.maximum(_blurred(heatmaps, blur), 1e-10)))
    x, y = cell[..., 0].astype(int), cell[..., 1].astype(int)
    dx, dy = 0.5 * (take(x + 1, y) - take(x - 1, y)), 0.5 * (take(x, y + 1) - take(x, y - 1))
    dxx = 0.25 * (take(x + 2, y) - 2 * take(x, y) + take(x - 2, y))
    dyy = 0.25 * (take(x, y + 2) - 2 * take(x, y) + take(x, y - 2))
    dxy = 0.25 * (take(x + 1, y + 1) - take(x + 1, y - 1) - take(x - 1, y + 1) + take(x - 1, y - 1))
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2) & (score > 0)
    cell += np.where(inside[..., None], _newton_step(dx, dy, dxx, dxy, dyy), 0).astype(np.float32)
    return (cell * _pixels_per_cell(heatmaps, input_size)).astype(np.float32), score


def decode_heatmap_udp(heatmaps: Floats, input_size: tuple[int, int], blur: int = 11) -> Decoded:
    """UDP (Huang et al. 2020): DARK's step on directly neighbouring cells, in UDP's unit lengths.

    The result follows mmpose's convention: divide by the input size, not by it less one, to get the part of the crop.
    """
    cell, score = _highest_cell(heatmaps)
    height, width = heatmaps.shape[2:]
    log = np.log(np.clip(_blurred(heatmaps, blur), 1e-3, 50))
    take = _Taker(np.pad(log, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"))
    x, y = cell[..., 0].astype(int) + 1, cell[..., 1].astype(int) + 1
    here, right, left, below, above = take(x, y), take(x + 1, y), take(x - 1, y), take(x, y + 1), take(x, y - 1)
    dx, dy = 0.5 * (right - left), 0.5 * (below - above)
    dxx, dyy = right - 2 * here + left, below - 2 * here + above
    dxy = 0.5 * (take(x + 1, y + 1) - right - below + 2 * here - left - above + take(x - 1, y - 1))
    tiny = np.finfo(np.float32).eps
    step = _newton_step(dx, dy, dxx + tiny, dxy, dyy + tiny)
    cell += np.where((score > 0)[..., None], step, 0).astype(np.float32)
    unit = np.array([input_size[0] / (width - 1), input_size[1] / (height - 1)], np.float32)
    return (cell * unit).astype(np.float32), score


def decode_movenet(
    heatmap: Floats, regression: Floats, centre: Floats, offset: Floats, input_size: tuple[int, int]
) -> Decoded:
    """MoveNet's single-person head: the likeliest person's centre, that person's guesses, the best cell near each.

    heatmap (P, 17, h, w) and centre (P, 1, h, w) are logits; regression and offset (P, 34, h, w) are y, x of each
    keypoint in cells. Method and constants are those of the published graph (Votel, Li 2021): closeness weighs as
    1 / (distance in cells + 1.8), to the map's middle for the centre and to the guess for a keypoint.
    """
    people, keypoints, height, width = heatmap.shape
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    far = np.hypot(rows[:, None] - height // 2, columns[None] - width // 2)
    best = (_sigmoid(centre[:, 0]) / (far + _CLOSE)).reshape(people, -1).argmax(1)
    person = np.arange(people)
    guess = regression.reshape(people, keypoints, 2, -1)[person, ..., best]
    guess += np.stack(np.divmod(best, width), axis=-1)[:, None]
    far = np.sqrt(np.square(rows - guess[..., :1])[..., :, None] + np.square(columns - guess[..., 1:])[..., None, :])
    likely = _sigmoid(heatmap)
    cell = (likely / (far + _CLOSE)).reshape(people, keypoints, -1).argmax(-1)
    at = (person[:, None], np.arange(keypoints)[None])
    fine = offset.reshape(people, keypoints, 2, -1)[(*at, slice(None), cell)]
    place = np.stack(np.divmod(cell, width), axis=-1) + fine
    score = likely.reshape(people, keypoints, -1)[(*at, cell)]
    return (place[..., ::-1] * _pixels_per_cell(heatmap, input_size)).astype(np.float32), score.astype(np.float32)


def _sigmoid(logits: Floats) -> Floats:
    # Beyond ±60 float32 can't tell the answer from 0 or 1, and the exponential would overflow.
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)


def _highest_cell(heatmaps: Floats) -> Decoded:
    """(P, K, 2) x, y of the highest cell, (-1, -1) where nothing is above 0, and its value, at least 0."""
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    index, score = flat.argmax(-1), flat.max(-1)
    cell = np.stack([index % heatmaps.shape[3], index // heatmaps.shape[3]], axis=-1).astype(np.float32)
    cell[score <= 0] = -1
    return cell, np.maximum(score, 0).astype(np.float32)


class _Taker:
    """Reads maps (P, K, h, w) at one (x, y) each; what lies outside reads as the edge, for the callers to mask."""

    def __init__(self, maps: Floats) -> None:
        self._maps = maps
        self._person = np.arange(maps.shape[0])[:, None]
        self._keypoint = np.arange(maps.shape[1])[None]

    def __call__(self, x: NDArray[np.integer], y: NDArray[np.integer]) -> Floats:
        height, width = self._maps.shape[2:]
        return self._maps[self._person, self._keypoint, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]


def _newton_step(dx: Floats, dy: Floats, dxx: Floats, dxy: Floats, dyy: Floats) -> NDArray[np.float64]:
    """(..., 2) step to the top of the quadratic with this gradient and Hessian; 0 where it has no single top."""
    gradient = np.stack([dx, dy], -1).astype(np.float64)
    a, b, c = (v.astype(np.float64) for v in (dxx, dxy, dyy))
    determinant = a * c - b * b
    single = np.abs(determinant) > 0
    safe = np.where(single, determinant, 1)
    step = -np.stack([c * gradient[..., 0] - b * gradient[..., 1], a * gradient[..., 1] - b * gradient[..., 0]], -1)
    return np.where(single[..., None], step / safe[..., None], 0)


def _blurred(heatmaps: Floats, kernel: int) -> Floats:
    """Gaussian-blurred maps, zero beyond the border, each scaled back to its own old maximum."""
    blurred = np.empty_like(heatmaps)
    for person, maps in enumerate(heatmaps):
        for keypoint, one in enumerate(maps):
            soft = cv2.GaussianBlur(one, (kernel, kernel), 0, borderType=cv2.BORDER_CONSTANT)
            top = float(soft.max())
            blurred[person, keypoint] = soft * (float(one.max()) / top) if top > 0 else soft
    return blurred


def _pixels_per_cell(heatmaps: Floats, input_size: tuple[int, int]) -> Floats:
    return np.array([input_size[0] / heatmaps.shape[3], input_size[1] / heatmaps.shape[2]], np.float32)
