"""Fabrics: a colour, or a print as a small repeating picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.look.color import from_hex

_TILE = 64  # pixels along a tile's side


@dataclass(frozen=True, slots=True)
class Fabric:
    """color (3,) sRGB 0…1. A print adds texture (64, 64, 3) uint8 sRGB that repeats every `tile_m` metres."""

    color: NDArray[np.float32]
    texture: NDArray[np.uint8] | None = None
    tile_m: float = 0.1


def _mixed(rng: np.random.Generator, low: float, high: float, saturation: float) -> NDArray[np.float32]:
    value = rng.uniform(low, high)
    hue = rng.uniform(0.0, 1.0, 3)
    return np.clip(value + saturation * (hue - hue.mean()), 0.01, 0.97).astype(np.float32)


def print_tile(
    rng: np.random.Generator, ground: NDArray[np.float32], ink: NDArray[np.float32], kind: str
) -> NDArray[np.uint8]:
    """One tile (64, 64, 3) of `stripes`, `bands`, `checks`, `dots` or `diamonds`; it repeats without a seam."""
    v, u = np.mgrid[0:_TILE, 0:_TILE] / _TILE
    repeats = int(rng.integers(1, 4))
    width = float(rng.uniform(0.12, 0.5))
    a, b = (u * repeats) % 1.0, (v * repeats) % 1.0
    if kind == "stripes":
        amount = (a < width).astype(float)
    elif kind == "bands":
        amount = (b < width).astype(float)
    elif kind == "checks":
        amount = 0.5 * ((a < width).astype(float) + (b < width).astype(float))
    elif kind == "dots":
        amount = (np.hypot(a - 0.5, b - 0.5) < 0.6 * width).astype(float)
    elif kind == "diamonds":
        amount = (np.abs(a - 0.5) + np.abs(b - 0.5) < 0.7 * width).astype(float)
    else:
        raise ValueError(f"unknown print {kind!r}")
    tile = ground + amount[:, :, None] * (ink - ground)
    return np.asarray(np.round(tile * 255.0).clip(0, 255).astype(np.uint8))


def hospital_gown(rng: np.random.Generator) -> Fabric:
    """Pale, usually with a small dark print."""
    grounds = ("c7dbeb", "ededeb", "bfdecc", "e6decc", "9eb8db")
    ground = from_hex(grounds[int(rng.integers(len(grounds)))])
    if rng.random() < 0.3:
        return Fabric(ground)
    kind = ("diamonds", "dots", "stripes", "checks")[int(rng.choice(4, p=[0.4, 0.3, 0.15, 0.15]))]
    return Fabric(ground, print_tile(rng, ground, _mixed(rng, 0.15, 0.5, 0.4), kind), float(rng.uniform(0.06, 0.14)))


def everyday(rng: np.random.Generator, printed: float = 0.45) -> Fabric:
    """Any colour; a share of `printed` carries a pattern."""
    ground = _mixed(rng, 0.05, 0.9, float(rng.uniform(0.0, 0.8)))
    if rng.random() > printed:
        return Fabric(ground)
    kind = ("stripes", "bands", "checks", "dots", "diamonds")[int(rng.integers(5))]
    ink = _mixed(rng, 0.05, 0.95, float(rng.uniform(0.0, 0.8)))
    return Fabric(ground, print_tile(rng, ground, ink, kind), float(rng.uniform(0.08, 0.25)))


def scrubs(rng: np.random.Generator) -> Fabric:
    """Plain: teal, navy, ceil blue, green, burgundy, grey, white."""
    choices = np.array(
        [(0.14, 0.42, 0.46), (0.11, 0.16, 0.32), (0.42, 0.56, 0.75), (0.20, 0.42, 0.30), (0.42, 0.12, 0.20),
         (0.40, 0.42, 0.45), (0.90, 0.91, 0.92)]
    )  # fmt: skip
    color = choices[int(rng.integers(len(choices)))] * rng.uniform(0.85, 1.08)
    return Fabric(np.clip(color, 0, 0.97).astype(np.float32))
