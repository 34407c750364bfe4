"""Procedural, seamlessly repeating pictures, all from a generator's noise: floors, walls, fabrics, views, posters.

Each returns (h, w, 3) uint8 sRGB. Textures multiply a mesh's colour, so fabric and paint stay near white and carry
only variation, unless the picture has colours of its own. They come from a stock of a few of each kind, since drawing
one takes longer than all else in a room; colour, scale and place tell two uses of one apart.
"""

from __future__ import annotations

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
    pad = 3
    wide = _wrapped(rng.standard_normal((cells_y, cells_x)).astype(np.float32), pad)
    scale_y, scale_x = size / cells_y, size / cells_x
    big = cv2.resize(
        wide, (round(wide.shape[1] * scale_x), round(wide.shape[0] * scale_y)), interpolation=cv2.INTER_CUBIC
    )
    y, x = round(pad * scale_y), round(pad * scale_x)
    field = big[y : y + size, x : x + size]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


def _wrapped(field: NDArray[np.floating], pad: int) -> NDArray[np.floating]:
    """A repeating field (h, w) with `pad` more of its repeats on every side."""
    rows, columns = (np.arange(-pad, count + pad) % count for count in field.shape)
    return field[rows[:, None], columns]


def _picture(field: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(field, 0, 1) * 255 + 0.5, dtype=np.uint8)


def _gray(field: NDArray[np.floating]) -> Picture:
    return cv2.cvtColor(_picture(field), cv2.COLOR_GRAY2RGB)


def _axes(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (size, 1) and columns (1, size) from 0 to below 1, to be broadcast."""
    steps = np.arange(size) / size
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
            checker = ((np.floor(y * count) + np.floor(x * count)) % 2).astype(bool) if count % 2 == 0 else False
            value = np.where(checker, value * rng.uniform(0.45, 0.8), value)
        return _gray(np.where(joint, value * 0.7, value))
    if kind == "wood":
        planks = int(rng.integers(10, 18))
        row = np.floor(y * planks).astype(int) % planks
        tone = rng.normal(0, 0.04, planks)[row]
        shift = rng.random(planks)[row]
        lines = noise(rng, size, size // 2, 4)
        joint = ((y * planks) % 1 < 0.05) | (((x + shift) * 2) % 1 < 0.006)
        value = 0.82 + tone + 0.035 * lines + 0.02 * noise(rng, size, size, 16)
        return _gray(np.where(joint, value * 0.72, value))
    if kind == "terrazzo":
        chips = noise(rng, size, size // 3, size // 3)
        value = 0.87 - 0.13 * (chips > 1.2) + 0.07 * (chips < -1.4) + 0.02 * noise(rng, size, 8, 8)
        return _gray(value)
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
        bent = cv2.remap(_wrapped(ridge, size // 4), x + push[0] + size // 4, y + push[1] + size // 4, cv2.INTER_LINEAR)
        height += np.float32(share) * bent**2 * np.clip(0.6 + noise(rng, size, 2, 3), 0.0, 1.5)
    pad = size // 8
    height = cv2.GaussianBlur(_wrapped(height, pad), (0, 0), 1.2)[pad:-pad, pad:-pad]
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
        return _gray(
            weave - 0.1 * (np.abs(np.sin(np.pi * count * x)) < 0.35) - 0.1 * (np.abs(np.sin(np.pi * count * y)) < 0.35)
        )
    # The other colour is mostly a darker or a muted one.
    second = np.clip(rng.uniform(0.15, 0.95) + rng.normal(0.0, 0.22 if rng.random() < 0.25 else 0.07, 3), 0.05, 1.0)
    if kind == "stripes":
        mask = ((x * int(rng.integers(2, 10))) % 1 < rng.uniform(0.15, 0.6)).astype(float)
    elif kind == "bands":
        mask = ((y * int(rng.integers(1, 3))) % 1 < rng.uniform(0.08, 0.3)).astype(float)
    elif kind == "checks":
        count, share = int(rng.integers(2, 7)), rng.uniform(0.25, 0.5)
        mask = (((x * count) % 1 < share).astype(float) + ((y * count) % 1 < share)) / 2
    elif kind == "dots":
        count = int(rng.integers(4, 10))
        mask = (np.hypot((x * count) % 1 - 0.5, (y * count) % 1 - 0.5) < rng.uniform(0.15, 0.35)).astype(float)
    elif kind == "blotches":
        mask = np.clip(noise(rng, size, 8, 8) * 1.5, 0, 1).astype(float)
    else:
        raise ValueError(f"fabric must be one of {', '.join(FABRICS)}, got {kind!r}")
    return _picture(weave[..., None] * (1 - mask[..., None] * (1 - second)))


# What stands outside, sRGB: foliage of two kinds, brick, render, concrete.
_FOLIAGE = np.array([(0.29, 0.34, 0.25), (0.36, 0.37, 0.28)])
_FRONTS = np.array([(0.58, 0.47, 0.41), (0.80, 0.77, 0.71), (0.66, 0.66, 0.65), (0.72, 0.66, 0.57)])


@_stocked
def outlook(rng: np.random.Generator, size: int = 256) -> Picture:
    """What a window shows from an upper floor: a bright sky, trees or houses across the way, all hazy and out of focus.

    The skyline lies in the upper third, since wide windows show no more of the picture.
    """
    y, _ = _axes(size)
    sky = np.array([0.90, 0.94, 0.98]) - (1 - y[..., None]) * rng.uniform(0.0, 1.0) * np.array([0.22, 0.12, 0.02])
    view = sky + 0.02 * noise(rng, size, 5, 3)[..., None] + np.zeros((size, size, 1))
    haze = np.array([0.86, 0.89, 0.91])
    skyline = float(rng.uniform(0.14, 0.3))
    for near in (0.3, 0.6, 0.75):  # a far row of trees, houses or trees, a near row
        if near == 0.6 and rng.random() < 0.7:
            view = _houses(rng, view, skyline, haze, near)
        else:
            crowns = noise(rng, size, 1, 5)[:1] + 0.8 * noise(rng, size, 1, 13)[:1] + 0.3 * noise(rng, size, 1, 40)[:1]
            leaves = (
                1 + 0.16 * noise(rng, size, 11, 8) + 0.12 * noise(rng, size, 34, 30) + 0.06 * noise(rng, size, 80, 80)
            )
            color = _FOLIAGE[int(rng.integers(2))] * leaves[..., None]
            view = np.where((y > skyline + 0.028 * near * crowns)[..., None], haze + near * (color - haze), view)
        skyline += float(rng.uniform(0.12, 0.26))
    return _picture(cv2.GaussianBlur(view.astype(np.float32), (0, 0), size / rng.uniform(55, 100)))


def _houses(
    rng: np.random.Generator, view: NDArray[np.float64], skyline: float, haze: NDArray[np.float64], near: float
) -> NDArray[np.float64]:
    """`view` (h, w, 3) with a row of house fronts whose roofs lie about `skyline` (share of the height)."""
    size, left = len(view), 0
    view = view.copy()
    while left < size:
        wide = int(rng.uniform(0.18, 0.5) * size)
        top = int((skyline + rng.uniform(-0.07, 0.05)) * size)
        front = _FRONTS[int(rng.integers(len(_FRONTS)))] * rng.uniform(0.85, 1.05)
        view[top:, left : left + wide] = haze + near * (front - haze)
        storey, bay = int(rng.integers(15, 23)), int(rng.integers(12, 22))
        pane = haze + near * (rng.uniform(0.2, 0.4) * np.array([0.95, 1.0, 1.1]) - haze)
        for row in range(top + storey // 3, size, storey):
            for column in range(left + bay // 3, min(left + wide, size) - bay // 2, bay):
                view[row : row + storey // 2, column : column + bay // 2] = pane
        left += wide
    return view


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
