"""Fabrics: a colour with creases, or a print, as a small repeating picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from synth.color import from_hex
from synth.ward.textures import CREASES, creases

_TILE = 64  # pixels along a tile's side


@dataclass(frozen=True, slots=True)
class Fabric:
    """color (3,) sRGB 0…1; texture (h, w, 3) uint8 sRGB, which multiplies it, repeats every `tile_m` metres. A print's
    colours are in its texture."""

    color: NDArray[np.float32]
    texture: NDArray[np.uint8]
    tile_m: float


_WHITE = np.ones(3, np.float32)
# Loud clothes look less like a ward; some are kept so that a detector learns outlines rather than colours. Nine in ten
# of them brought no more on real people than a third: 1,150 pictures, two and four trainings.
_ANY_COLOR = 0.35
# What clothes are dyed in, most of all.
_DYES = (
    "1f2430", "2b3a55", "3c4f6b", "6f86a3", "9fb4c7", "1a1a1a", "3b3b3d", "6b6c6e", "a7a8a8", "e9e8e4", "f3f1ea",
    "d8cdb8",
    "a08a6d", "5c4a3a", "6d2f36", "8f4b45", "c07a6a", "4d5a3c", "6f7f5f", "2f5a57", "7a9a94", "c9a24f", "b7a4c0",
    "d9b7b7",
)  # fmt: skip


@cache
def _creased(number: int) -> NDArray[np.uint8]:
    """Plain cloth with creases, half a metre of it."""
    shade = np.clip(0.93 + 0.05 * np.clip(creases(number), -2.5, 2.5), 0.0, 1.0)
    return np.repeat(np.asarray(255 * shade, np.uint8)[..., None], 3, axis=2)


def _plain(rng: np.random.Generator, color: NDArray[np.float32]) -> Fabric:
    return Fabric(color, _creased(int(rng.integers(CREASES))), float(rng.uniform(0.4, 0.6)))


def _dye(rng: np.random.Generator) -> NDArray[np.float32]:
    """A usual colour, or any at all, loud ones too."""
    if rng.random() < _ANY_COLOR:
        value, saturation, hue = rng.uniform(0.05, 0.9), rng.uniform(0.0, 0.8), rng.uniform(0.0, 1.0, 3)
        return np.clip(value + saturation * (hue - hue.mean()), 0.02, 0.97).astype(np.float32)
    color = from_hex(_DYES[int(rng.integers(len(_DYES)))])
    return np.clip(color * rng.uniform(0.85, 1.12) + rng.normal(0.0, 0.015, 3), 0.02, 0.96).astype(np.float32)


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
        return _plain(rng, ground)
    kind = ("diamonds", "dots", "stripes", "checks")[int(rng.choice(4, p=[0.4, 0.3, 0.15, 0.15]))]
    ink = np.clip(ground * rng.uniform(0.3, 0.75) + rng.normal(0.0, 0.04, 3), 0.05, 0.9).astype(np.float32)
    return Fabric(_WHITE, print_tile(rng, ground, ink, kind), float(rng.uniform(0.05, 0.11)))


def everyday(rng: np.random.Generator, printed: float = 0.45) -> Fabric:
    """A usual colour; a share of `printed` carries a pattern."""
    ground = _dye(rng)
    if rng.random() > printed:
        return _plain(rng, ground)
    kind = ("stripes", "bands", "checks", "dots", "diamonds")[int(rng.integers(5))]
    return Fabric(_WHITE, print_tile(rng, ground, _dye(rng), kind), float(rng.uniform(0.06, 0.2)))


def tunic(rng: np.random.Generator) -> Fabric:
    """Plain and pale, or navy: what ward staff wear above dark trousers."""
    colors = ("f4f5f5", "f4f5f5", "c8d8e6", "9db8d2", "d3e2d6", "273249", "6b2740")
    return _plain(rng, from_hex(colors[int(rng.integers(len(colors)))]))


def trousers(rng: np.random.Generator) -> Fabric:
    """Plain and dark, at times white."""
    colors = ("1f2430", "273249", "2e2f33", "1a1a1a", "f0f1f1")
    return _plain(rng, from_hex(colors[int(rng.integers(len(colors)))]))


def scrubs(rng: np.random.Generator) -> Fabric:
    """Plain: teal, navy, ceil blue, green, burgundy, grey, white."""
    choices = np.array(
        [(0.14, 0.42, 0.46), (0.11, 0.16, 0.32), (0.42, 0.56, 0.75), (0.20, 0.42, 0.30), (0.42, 0.12, 0.20),
         (0.40, 0.42, 0.45), (0.90, 0.91, 0.92)]
    )  # fmt: skip
    color = choices[int(rng.integers(len(choices)))] * rng.uniform(0.85, 1.08)
    return _plain(rng, np.clip(color, 0, 0.97).astype(np.float32))


def footwear(rng: np.random.Generator) -> Fabric:
    """Plain socks or shoes: white, grey, navy, black, brown."""
    colors = ("f0f0ee", "d9d9d6", "a7a8a8", "6b6c6e", "3b3b3d", "1a1a1a", "2b3a55", "9fb4c7", "5c4a3a")
    return _plain(rng, from_hex(colors[int(rng.integers(len(colors)))]))
