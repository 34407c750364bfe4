"""Procedural, seamlessly repeating pictures, all from a generator's noise: floors, walls, fabrics, views, posters.

Each returns (h, w, 3) uint8 sRGB. Textures multiply a mesh's colour, so fabric and paint stay near white and carry
only variation, unless the picture has colours of its own. They come from a stock of a few of each kind, since drawing
one takes longer than all else in a room; colour, scale and place tell two uses of one apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
FLOORS = ("linoleum", "tiles", "wood", "terrazzo", "carpet")
CREASES = 6
FABRICS = ("plain", "stripes", "checks", "waffle", "dots", "bands", "blotches")


_STOCK = 16  # pictures of each kind
_Draw = Callable[..., Picture]


def _stocked(draw: _Draw) -> _Draw:
    """`draw`, but picking with `rng` from pictures made when first asked for and then kept, to be read only."""

    @cache
    def made(number: int, arguments: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> Picture:
        picture = draw(np.random.default_rng([number, len(draw.__name__)]), *arguments, **dict(options))
        picture.flags.writeable = False
        return picture

    @wraps(draw)
    def picked(rng: np.random.Generator, *arguments: Any, **options: Any) -> Picture:
        return made(int(rng.integers(_STOCK)), arguments, tuple(sorted(options.items())))

    return picked


def noise(rng: np.random.Generator, size: int, cells_y: int, cells_x: int) -> NDArray[np.float32]:
    """Smooth noise (size, size), zero mean, unit variance, repeating."""
    field = rng.standard_normal((cells_y, cells_x)).astype(np.float32)
    # One axis after the other: what is cut off again need not be stretched along both.
    return _standardized(_stretched(_stretched(field, size, 1), size, 0))


def _stretched(field: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """A repeating field (h, w), smoothly enlarged to `size` along one axis."""
    count, pad = field.shape[axis], 3
    if count == size:
        return field
    start, length = round(pad * size / count), round((count + 2 * pad) * size / count)
    if axis == 0:
        tall = cv2.resize(_wrapped(field, pad, 0), (field.shape[1], length), interpolation=cv2.INTER_CUBIC)
        return tall[start : start + size]
    wide = cv2.resize(_wrapped(field, 0, pad), (length, field.shape[0]), interpolation=cv2.INTER_CUBIC)
    return wide[:, start : start + size]


def _wrapped(field: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """A repeating field (h, w) with so many more rows and columns of its repeats on every side."""
    return cv2.copyMakeBorder(field, rows, rows, columns, columns, cv2.BORDER_WRAP)


def _standardized(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The field (h, w) with zero mean and unit variance."""
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(field))
    return np.asarray((field - mean) * (1.0 / (deviation + 1e-6)), dtype=np.float32)


def _picture(field: NDArray[np.float32]) -> Picture:
    return cv2.convertScaleAbs(cv2.max(field, 0.0), alpha=255.0)


def _gray(field: NDArray[np.float32]) -> Picture:
    return cv2.cvtColor(_picture(field), cv2.COLOR_GRAY2RGB)


def _axes(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows (size, 1) and columns (1, size) from 0 to below 1, to be broadcast."""
    steps = np.arange(size, dtype=np.float32) / np.float32(size)
    return steps[:, None], steps[None]


@_stocked
def paint(rng: np.random.Generator, size: int = 256) -> Picture:
    """A painted wall: unevenness, faint roller grain, a few scuffs and patches where it was touched."""
    value = 0.95 + 0.008 * noise(rng, size, 3, 3) + 0.004 * noise(rng, size, 24, 24)
    canvas = np.asarray(value, np.float32)
    for _ in range(int(rng.integers(0, 6))):
        x, y = (int(v) for v in rng.integers(10, size - 10, 2))
        run = rng.normal(0, 6, 2).astype(int)
        cv2.line(canvas, (x, y), (x + int(run[0]), y + int(run[1]) // 3), 0.86 + 0.06 * float(rng.random()), 1)
    return _gray(cv2.GaussianBlur(canvas, (0, 0), 0.6))


@_stocked
def ceiling(rng: np.random.Generator, size: int = 256) -> Picture:
    """One repeat (2.4 m) of a ceiling: plaster, or tiles of 0.6 m in a grid of bars."""
    value = 0.95 + 0.006 * noise(rng, size, 5, 5)
    if rng.random() < 0.55:
        y, x = _axes(size)
        bars = ((y * 4) % 1 < 0.045) | ((x * 4) % 1 < 0.045)
        value = np.where(bars, 0.99, value - 0.03 + 0.012 * noise(rng, size, size // 2, size // 2))
        edge = (((y * 4) % 1 > 0.965) | ((x * 4) % 1 > 0.965)) & ~bars
        value = np.where(edge, 0.8, value)
    return _gray(value)


@_stocked
def grain(rng: np.random.Generator, size: int = 256) -> Picture:
    """A wooden board or veneer, its grain along x."""
    return _gray(
        0.93
        + 0.025 * noise(rng, size, size // 3, 3)
        + 0.02 * noise(rng, size, 10, 2)
        + 0.01 * noise(rng, size, size, 12)
    )


@_stocked
def floor(rng: np.random.Generator, kind: str, size: int = 512) -> Picture:
    """One repeat (2 m) of a floor of `FLOORS`."""
    y, x = _axes(size)
    if kind == "tiles":
        count = int(rng.integers(4, 9))
        tile = rng.standard_normal((count, count)).astype(np.float32)
        value = (
            0.88
            + 0.03 * cv2.resize(tile, (size, size), interpolation=cv2.INTER_NEAREST)
            + 0.02 * noise(rng, size, 32, 32)
        )
        joint = ((y * count) % 1 < 0.03) | ((x * count) % 1 < 0.03)
        if rng.random() < 0.3:
            dark = rng.uniform(0.45, 0.8)
            if count % 2 == 0:
                checker = ((y * count).astype(int) + (x * count).astype(int)) % 2 == 1
                np.multiply(value, dark, out=value, where=checker)
        return _gray(np.multiply(value, 0.7, out=value, where=joint))
    if kind == "wood":
        planks = int(rng.integers(10, 18))
        plank = (y[:, 0] * planks).astype(int)
        tone = rng.normal(0, 0.04, planks).astype(np.float32)[plank, None]
        ends = ((x + rng.random((planks, 1)).astype(np.float32)) * 2) % 1 < 0.006
        lines = noise(rng, size, size // 2, 4)
        joint = ((y * planks) % 1 < 0.05) | ends[plank]
        value = 0.82 + tone + 0.035 * lines + 0.02 * noise(rng, size, size, 16)
        return _gray(np.multiply(value, 0.72, out=value, where=joint))
    if kind == "terrazzo":
        chips = noise(rng, size, size // 3, size // 3)
        value = 0.87 + 0.02 * noise(rng, size, 8, 8)
        np.subtract(value, 0.13, out=value, where=chips > 1.2)
        return _gray(np.add(value, 0.07, out=value, where=chips < -1.4))
    if kind == "carpet":
        return _gray(0.85 + 0.06 * noise(rng, size, size, size) + 0.015 * noise(rng, size, 10, 10))
    if kind == "linoleum":
        value = (
            0.92 + 0.015 * noise(rng, size, 6, 6) + 0.008 * noise(rng, size, 60, 60) + 0.01 * noise(rng, size, 200, 200)
        )
        return _gray(value)
    raise ValueError(f"floor kind must be one of {', '.join(FLOORS)}, got {kind!r}")


@cache
def creases(number: int, size: int = 256) -> NDArray[np.float32]:
    """How light falls on creased cloth: (size, size), zero mean, unit variance, repeating. One of `CREASES` patterns:
    sharp folds, warped, some places more than others."""
    rng = np.random.default_rng([number, 31])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    push = [np.float32(size * 0.03) * noise(rng, size, 4, 4) for _ in range(2)]
    height = np.zeros((size, size), np.float32)
    for rows, columns, share in ((3, 6, 1.0), (7, 4, 0.6), (11, 14, 0.35)):
        ridge = 1.0 - np.minimum(np.abs(noise(rng, size, rows, columns)) * 1.6, 1.0)
        bent = cv2.remap(ridge, x + push[0], y + push[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        height += np.float32(share) * bent**2 * np.clip(0.6 + noise(rng, size, 2, 3), 0.0, 1.5)
    pad = size // 8
    height = cv2.GaussianBlur(_wrapped(height, pad, pad), (0, 0), 1.2)[pad:-pad, pad:-pad]
    lit = (np.roll(height, 2, 0) - np.roll(height, -2, 0)) + 0.6 * (np.roll(height, 2, 1) - np.roll(height, -2, 1))
    return np.asarray((lit - lit.mean()) / lit.std(), dtype=np.float32)


@_stocked
def fabric(rng: np.random.Generator, kind: str, size: int = 256) -> Picture:
    """One repeat of a fabric of `FABRICS`: near white for "plain" and "waffle", with a second colour for the rest. All
    are creased a little."""
    y, x = _axes(size)
    folds = np.clip(creases(int(rng.integers(CREASES)), size), -2.5, 2.5) * rng.uniform(0.01, 0.03)
    weave = 0.92 + 0.015 * noise(rng, size, size, size // 2) + 0.008 * noise(rng, size, 12, 12) + folds
    if kind == "plain":
        return _gray(weave)
    if kind == "waffle":
        count = size // 12
        hollows = [np.float32(0.1) * (np.abs(np.sin(np.pi * count * axis)) < 0.35) for axis in (x, y)]
        return _gray(weave - hollows[0] - hollows[1])
    # The other colour is mostly a darker or a muted one.
    second = np.clip(rng.uniform(0.15, 0.95) + rng.normal(0.0, 0.22 if rng.random() < 0.25 else 0.07, 3), 0.05, 1.0)
    mask: NDArray[np.floating | np.bool_]
    if kind == "stripes":
        mask = (x * int(rng.integers(2, 10))) % 1 < rng.uniform(0.15, 0.6)
    elif kind == "bands":
        mask = (y * int(rng.integers(1, 3))) % 1 < rng.uniform(0.08, 0.3)
    elif kind == "checks":
        count, share = int(rng.integers(2, 7)), rng.uniform(0.25, 0.5)
        mask = np.add((x * count) % 1 < share, (y * count) % 1 < share, dtype=np.float32) / 2
    elif kind == "dots":
        count = int(rng.integers(4, 10))
        mask = ((x * count) % 1 - 0.5) ** 2 + ((y * count) % 1 - 0.5) ** 2 < rng.uniform(0.15, 0.35) ** 2
    elif kind == "blotches":
        mask = np.clip(noise(rng, size, 8, 8) * 1.5, 0, 1)
    else:
        raise ValueError(f"fabric must be one of {', '.join(FABRICS)}, got {kind!r}")
    less = (1.0 - second).tolist()
    return cv2.merge([_picture(weave * (1 - np.float32(share) * mask)) for share in less])


# What stands outside, sRGB: foliage of two kinds, brick, render, concrete.
_FOLIAGE = np.array([(0.29, 0.34, 0.25), (0.36, 0.37, 0.28)], np.float32)
_FRONTS = np.array([(0.58, 0.47, 0.41), (0.80, 0.77, 0.71), (0.66, 0.66, 0.65), (0.72, 0.66, 0.57)], np.float32)
_HAZE = np.array([0.86, 0.89, 0.91], np.float32)


def _hazy(color: NDArray[np.float32], near: float) -> NDArray[np.float32]:
    """A colour (…, 3) seen through haze that leaves a share `near` of it."""
    return _HAZE + np.float32(near) * (color - _HAZE)


@_stocked
def outlook(rng: np.random.Generator, size: int = 128) -> Picture:
    """What a window shows from an upper floor: a bright sky, trees or houses across the way, all hazy and out of focus.

    The skyline lies in the upper third, since wide windows show no more of the picture. Small, since nothing is sharp.
    """
    y, _ = _axes(size)
    dusk = np.float32(rng.uniform(0.0, 1.0)) * np.array([0.22, 0.12, 0.02], np.float32)
    sky = np.array([0.90, 0.94, 0.98], np.float32) - (1 - y[..., None]) * dusk
    view = sky + 0.02 * noise(rng, size, 5, 3)[..., None]
    skyline = float(rng.uniform(0.14, 0.3))
    for near in (0.3, 0.6, 0.75):  # a far row of trees, houses or trees, a near row
        if near == 0.6 and rng.random() < 0.7:
            _build_houses(rng, view, skyline, near)
        else:
            _grow_trees(rng, view, skyline, near)
        skyline += float(rng.uniform(0.12, 0.26))
    return _picture(cv2.GaussianBlur(view, (0, 0), size / rng.uniform(55, 100)))


def _grow_trees(rng: np.random.Generator, view: NDArray[np.float32], skyline: float, near: float) -> None:
    """Draw a row of trees into `view` (h, w, 3), their crowns about `skyline` (share of the height)."""
    size = len(view)
    crowns = _profile(rng, size, 5) + 0.8 * _profile(rng, size, 13) + 0.3 * _profile(rng, size, 40)
    leaves = 1 + 0.16 * noise(rng, size, 11, 8) + 0.12 * noise(rng, size, 34, 30) + 0.06 * noise(rng, size, 80, 80)
    color = _FOLIAGE[int(rng.integers(2))] * leaves[..., None]
    # By the share of each texel that lies below the crowns' outline.
    y, _ = _axes(size)
    below = np.clip((y - skyline - 0.028 * near * crowns) * size + 1, 0, 1)
    view += below[..., None] * (_hazy(color, near) - view)


def _profile(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Smooth noise (1, size), zero mean, unit variance, repeating."""
    return _standardized(_stretched(rng.standard_normal((1, cells)).astype(np.float32), size, 1))


def _build_houses(rng: np.random.Generator, view: NDArray[np.float32], skyline: float, near: float) -> None:
    """Draw a row of house fronts into `view` (h, w, 3), their roofs about `skyline` (share of the height)."""
    size, left = len(view), 0.0
    while left < 1:
        wide = float(rng.uniform(0.18, 0.5))
        top = skyline + float(rng.uniform(-0.07, 0.05))
        front = _hazy(_FRONTS[int(rng.integers(len(_FRONTS)))] * np.float32(rng.uniform(0.85, 1.05)), near)
        storey, bay = int(rng.integers(15, 23)) / 256, int(rng.integers(12, 22)) / 256
        pane = _hazy(np.float32(rng.uniform(0.2, 0.4)) * np.array([0.95, 1.0, 1.1], np.float32), near)
        house = slice(int(top * size), None), slice(int(left * size), int((left + wide) * size))
        rows = _panes(size, top + storey / 3, storey, math.inf)[house[0], None, None]
        columns = _panes(size, left + bay / 3, bay, math.ceil(wide / bay - 5 / 6))[house[1], None]
        view[house] = front + rows * columns * (pane - front)
        left += wide


def _panes(size: int, start: float, pitch: float, count: float) -> NDArray[np.float32]:
    """Of each of `size` texels along a unit length, the share (size,) within panes: `count` of them, every `pitch` from
    `start`, each half a pitch long."""
    ends = np.clip((np.arange(size + 1) / size - start) / pitch, 0, count)
    filled = np.floor(ends) + np.minimum(2 * (ends % 1), 1)  # half pitches of pane before each texel
    return np.asarray(np.diff(filled) * (size * pitch / 2), dtype=np.float32)


@_stocked
def poster(rng: np.random.Generator, size: int = 128, notice: bool = False) -> Picture:
    """A picture (a landscape, or a few muted shapes) or a notice (a heading, lines of text, perhaps a figure)."""
    if notice:
        canvas = np.full((size, size, 3), 0.96, np.float32)
        head = rng.uniform(0.15, 0.75, 3).astype(np.float32)
        cv2.rectangle(canvas, (0, 0), (size, int(rng.integers(10, 26))), tuple(head.tolist()), -1)
        for line in range(34, size - 10, 9):
            cv2.line(canvas, (10, line), (int(rng.integers(size // 2, size - 8)), line), (0.4, 0.4, 0.43), 2)
        if rng.random() < 0.4:
            cv2.rectangle(canvas, (18, 40), (size - 18, 84), tuple((0.3 * head + 0.6).tolist()), -1)
        return _picture(canvas)
    y, _ = _axes(size)
    base, other = (rng.uniform(0.35, 0.9) + rng.normal(0.0, 0.08, 3) for _ in range(2))
    if rng.random() < 0.6:
        horizon = rng.uniform(0.3, 0.7) + 0.06 * noise(rng, size, 2, 5)
        land = other * np.array([0.85, 0.95, 0.75]) + 0.06 * noise(rng, size, 12, 12)[..., None]
        canvas = np.where((y < horizon)[..., None], base + 0.05 * noise(rng, size, 4, 3)[..., None], land)
    else:
        canvas = np.ones((size, size, 3), np.float32) * base.astype(np.float32)
        for _ in range(int(rng.integers(2, 6))):
            centre = tuple(int(v) for v in rng.integers(0, size, 2))
            color = 0.75 * other + 0.25 * rng.uniform(0, 1, 3)
            cv2.circle(canvas, centre, int(rng.integers(6, size // 3)), tuple(color.tolist()), -1)
    canvas[:5], canvas[-5:], canvas[:, :5], canvas[:, -5:] = 0.95, 0.95, 0.95, 0.95
    return _picture(canvas)


@_stocked
def screen(rng: np.random.Generator, size: int = 128) -> Picture:
    """A patient monitor's traces on black."""
    canvas = np.full((size, size, 3), 13, np.uint8)
    for row, color in ((0.2, (50, 230, 75)), (0.45, (230, 230, 50)), (0.7, (50, 180, 240))):
        x = np.arange(0, int(size * 0.72))
        y = row * size - size * 0.1 * np.maximum(0, np.sin(x / rng.uniform(2.5, 6.0))) ** 3
        cv2.polylines(canvas, [np.column_stack([x, y]).astype(np.int32)], False, color, 2)
        for digit in range(int(rng.integers(2, 4))):
            corner = int(size * (0.76 + 0.07 * digit)), int((row - 0.06) * size)
            cv2.rectangle(canvas, corner, (corner[0] + size // 22, corner[1] + size // 12), color, -1)
    return canvas
