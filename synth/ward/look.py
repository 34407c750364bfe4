"""Wards drawn at random: their bed, room, furniture, bedding and light, before anybody lies in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synth.ward import lights, textures
from synth.ward.bed import RAILS, BedLook
from synth.ward.lights import Lighting
from synth.ward.palette import pick
from synth.ward.room import RoomLook

Color = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of furniture: one of `furniture.FURNITURE`, where it stands (bed frame x, y), which way it faces."""

    kind: str
    at: tuple[float, float]
    yaw_deg: float
    seed: int


@dataclass(frozen=True, slots=True)
class BlanketLook:
    """color and lining: linear albedo of the outside and of the side shown when folded back."""

    color: Color = (0.5, 0.55, 0.65)
    fabric: str = "plain"
    repeat: float = 0.4
    lining: Color = (0.8, 0.8, 0.8)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class WardLook:
    """One ward: bed, room, furniture, bedding and light."""

    bed: BedLook
    room: RoomLook
    blanket: BlanketLook
    lighting: Lighting
    light_preset: str
    pieces: tuple[Piece, ...]


MAKES = 24  # of each kind of furniture; they are kept once made


def draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


_FLOOR_GLOSS = {
    "linoleum": (0.3, 0.75),
    "tiles": (0.3, 0.8),
    "wood": (0.15, 0.5),
    "terrazzo": (0.4, 0.8),
    "carpet": (0, 0),
}


def sample_room(rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float]) -> RoomLook:
    dado = pick(rng, "dado", 0.08) if rng.random() < 0.35 else None
    floor_kind = str(rng.choice(textures.FLOORS, p=[0.5, 0.16, 0.16, 0.13, 0.05]))
    return RoomLook(
        low=low,
        high=high,
        ceiling=float(rng.uniform(2.5, 3.1)),
        floor_kind=floor_kind,
        floor_color=pick(rng, "wooden floor" if floor_kind == "wood" else "floor", 0.05),
        floor_gloss=float(rng.uniform(*_FLOOR_GLOSS[floor_kind])),
        wall_color=pick(rng, "wall", 0.04),
        dado_color=dado,
        window_side=float(rng.choice([-1.0, 1.0])),
        curtain_color=pick(rng, "curtain", 0.08) if rng.random() < 0.6 else None,
        seed=draw_seed(rng),
    )


def _sample_pieces(rng: np.random.Generator, room: RoomLook) -> tuple[Piece, ...]:
    (x0, y0), (x1, y1) = room.low, room.high
    side = float(rng.choice([-1.0, 1.0]))
    pieces = []

    def add(kind: str, x: float, y: float, yaw: float, chance: float) -> None:
        inside = x0 + 0.3 < x < x1 - 0.3 and y0 + 0.3 < y < y1 - 0.3
        if rng.random() < chance and inside:
            pieces.append(Piece(kind, (float(x), float(y)), float(yaw + rng.normal(0, 6)), int(rng.integers(MAKES))))

    u = rng.uniform
    add("bedside_cabinet", x0 + 0.35, side * u(0.85, 1.1), 0, 0.85)
    add("drip_stand", u(-0.9, -0.2), -side * u(0.75, 1.0), u(0, 360), 0.55)
    add("monitor_cart", u(-1.0, -0.6), -side * u(1.05, 1.4), -side * -20, 0.45)
    if rng.random() < 0.15:
        add("overbed_table", u(0.3, 0.8), side * 0.05, 0 if side > 0 else 180, 1.0)
    else:
        add("overbed_table", u(0.6, 1.2), side * u(1.1, 1.5), u(0, 360), 0.35)
    add("chair", u(-0.3, 0.9), side * u(1.3, 1.8), -90 * side, 0.6)
    add("chair", x1 - u(0.5, 0.9), u(-1.2, 1.2), 180, 0.25)
    add("wardrobe", x1 - 0.4, u(y0 + 0.7, y1 - 0.7), 180, 0.35)
    add("wardrobe", u(0.8, 2.0), side * 10 if side < 0 else y1 - 0.4, -90, 0.2)
    add("bin", u(x0 + 0.4, 0.3), -side * u(0.9, 1.9), 0, 0.4)
    add("stool", u(-0.2, 1.6), -side * u(0.9, 1.6), 0, 0.3)
    return tuple(pieces)


def sample_look(rng: np.random.Generator, light_weights: Mapping[str, float] | None = None) -> WardLook:
    """A ward drawn at random; `light_weights` are those of `lights.PRESETS`, or None for the usual ones."""
    u = rng.uniform
    room = sample_room(rng, (-u(1.12, 1.5), -u(1.7, 4.0)), (u(2.2, 4.5), u(1.7, 4.0)))
    bed = BedLook(
        sheet_color=pick(rng, "sheet" if rng.random() < 0.75 else "coloured sheet", 0.06),
        sheet_fabric="plain" if rng.random() < 0.85 else str(rng.choice(["stripes", "waffle", "checks"])),
        frame_color=pick(rng, "plastic" if rng.random() < 0.6 else "steel", 0.03),
        board_color=pick(rng, "wood" if rng.random() < 0.55 else "plastic", 0.05),
        rails=str(rng.choice(RAILS, p=[0.3, 0.15, 0.15, 0.4])),
        boards=bool(rng.random() < 0.9),
        pillows=int(rng.choice([0, 1, 2], p=[0.06, 0.8, 0.14])),
        seed=draw_seed(rng),
    )
    plain = rng.random() < 0.65
    blanket = BlanketLook(
        color=pick(rng, "blanket", 0.15) if rng.random() < 0.65 else pick(rng, "sheet"),
        fabric="plain" if plain else str(rng.choice(textures.FABRICS[1:])),
        repeat=float(u(0.15, 0.6)),
        lining=pick(rng, "sheet"),
        seed=draw_seed(rng),
    )
    preset = lights.draw_preset(rng, light_weights)
    light = lights.make_lighting(rng, preset, room.window_side)
    return WardLook(bed, room, blanket, light, preset, _sample_pieces(rng, room))
