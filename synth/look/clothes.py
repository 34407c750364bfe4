"""Outfits: hospital gown, pyjamas, T-shirt and trousers, scrubs, everyday clothes, shoes and socks.

Each hangs about the body as cloth, or, on a few people, is painted on: a skin-tight layer without folds of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import PosedBody, RestBody
from synth.color import linear
from synth.look import fabric
from synth.look.anatomy import Anatomy
from synth.look.fabric import Fabric
from synth.look.flat import laid_flat
from synth.look.garment import CLEARANCE, Cut, cut, pushed_out
from synth.look.skirt import Skirt
from synth.render.mesh import Mesh

PATIENT_OUTFITS = ("gown", "pyjamas", "tshirt_trousers", "shorts")
STAFF_OUTFITS = ("scrubs", "tunic")
VISITOR_OUTFITS = ("tshirt_trousers", "jumper_trousers", "shorts", "dress")
PAINTED_SHARE = 0.12  # of people; a detector that meets tight clothes too relies less on how cloth hangs
_PAINT_M = 0.0015  # thickness of a painted layer: enough for a depth buffer to tell it from what is beneath
# Share of people who wear shoes or socks with it.
_SHOD = {
    "gown": 0.2,
    "pyjamas": 0.2,
    "scrubs": 1.0,
    "tunic": 1.0,
    "dress": 1.0,
    "jumper_trousers": 1.0,
    "tshirt_trousers": 0.6,
    "shorts": 0.6,
}


@dataclass(frozen=True, slots=True)
class Dressed:
    """Cloth meshes; hidden (T,) bool: body triangles they cover; worn (V,) metres from the skin to their outside."""

    meshes: tuple[Mesh, ...]
    hidden: NDArray[np.bool_]
    worn: NDArray[np.float32]


@dataclass(slots=True)
class _Fitting:
    """What all garments of one person share."""

    rest: RestBody
    posed: PosedBody
    normals: NDArray[np.float32]
    filled: NDArray[np.float32]
    worn: NDArray[np.float32]  # (V,) metres from the skin to the outermost cloth so far
    instance: int
    painted: bool
    meshes: list[Mesh] = field(default_factory=list)
    hidden: NDArray[np.bool_] | None = None


class Wardrobe:
    """Garments for every body of one topology; the cutting is done once per style."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self._cuts: dict[tuple[str, float], Cut] = {}
        self._skirts: dict[float, Skirt] = {}
        a = anatomy
        # Cloth hangs free at the belly and below, around the calves, and along the forearms.
        trunk = np.clip((a.hip_z + 0.15 - a.z) / 0.25, 0.0, 1.0) * (a.z > a.hip_z - 0.12)
        calves = np.clip((a.knee_z + 0.25 - a.z) / 0.35, 0.0, 1.0)
        sleeves = np.clip(a.along_arm / a.wrist_at, 0.0, 1.0)
        self._hanging = np.where(a.arm > 0.3, sleeves, np.maximum(trunk, calves)).astype(np.float32)
        # A collar lies on the shoulders: cloth that stood off there would show its dark inside.
        self._lying = np.clip((a.neck_z - 0.02 - a.z) / 0.07, 0.25, 1.0).astype(np.float32)
        # For a body one metre tall.
        self._uv = laid_flat(anatomy) / np.float32(np.ptp(a.z))

    def _sleeved(self, sleeve: float, neck: float, hem_z: float) -> NDArray[np.float64]:
        """Field of a top: positive below the neckline, above the hem, and up the sleeve's length in metres."""
        a = self.anatomy
        scoop = neck * np.exp(-((a.x / 0.07) ** 2)) * (a.template_normals[:, 1] < 0)
        collar = a.neck_z - 0.025 - scoop - a.z
        body = np.minimum(collar, a.z - hem_z)
        return np.where(a.arm > 0.3, sleeve - a.along_arm, np.where(a.head > 0.5, -0.1, body))

    def _trousers(self, leg_z: float, waist_z: float) -> NDArray[np.float64]:
        a = self.anatomy
        return np.where(a.arm > 0.3, -0.1, np.minimum(waist_z - a.z, a.z - leg_z))

    def _cut(self, kind: str, level: float) -> Cut:
        """One of a few lengths per garment, cut when first asked for. Same arguments, same cut."""
        key = (kind, level)
        if key not in self._cuts:
            a = self.anatomy
            waist, hips = a.hip_z + 0.10, a.hip_z - 0.045  # a hem below the crotch would run around each leg
            forearm = a.elbow_at + level * (a.wrist_at - a.elbow_at) if level > 0 else a.elbow_at * (1.0 + level)
            fields: dict[str, Callable[[], NDArray[np.float64]]] = {
                "top": lambda: self._sleeved(forearm, 0.05, hips),
                "gown": lambda: self._sleeved(a.elbow_at * 0.9, 0.04, a.hip_z - 0.02),
                "painted_gown": lambda: self._sleeved(a.elbow_at * 0.9, 0.04, a.knee_z - level),
                "trousers": lambda: self._trousers(a.ankle_z + level * (a.knee_z + 0.12 - a.ankle_z) + 0.02, waist),
                "shoes": lambda: a.ankle_z + 0.02 + level - a.z,
            }
            if kind not in fields:
                raise ValueError(f"unknown garment {kind!r}")
            self._cuts[key] = cut(fields[kind](), a.topology.triangles)
        return self._cuts[key]

    def _skirt(self, length: float) -> Skirt:
        if length not in self._skirts:
            self._skirts[length] = Skirt(self.anatomy, length)
        return self._skirts[length]

    def dress(
        self, rng: np.random.Generator, rest: RestBody, normals: NDArray[np.float32], posed: PosedBody, outfit: str,
        instance: int, *, painted: bool = False,
    ) -> Dressed:  # fmt: skip
        """Clothe one posed body; normals (V, 3) are the resting body's. Raises ValueError on an unknown outfit.

        painted: the clothes are a layer on the skin, a gown's or a dress's skirt on the thighs.
        """
        if outfit not in _SHOD:
            raise ValueError(f"unknown outfit {outfit!r}")
        a = self.anatomy
        hollow = a.smoothed(rest.vertices, 14) - rest.vertices
        filled = np.maximum((hollow * normals).sum(1), 0.0)
        fitting = _Fitting(
            rest, posed, normals, filled.astype(np.float32), np.zeros(len(normals), np.float32), instance, painted
        )
        u = rng.uniform
        if rng.random() < _SHOD[outfit]:  # first, since trousers fall over socks
            self._shoes(rng, fitting)
        if painted and outfit in ("gown", "dress"):
            cloth = fabric.hospital_gown(rng) if outfit == "gown" else fabric.everyday(rng, 0.6)
            self._wear(rng, fitting, self._cut("painted_gown", (0.0, 0.12, -0.12)[int(rng.integers(3))]), cloth)
        elif outfit == "gown":
            cloth, offset = fabric.hospital_gown(rng), u(0.014, 0.024)
            self._wear(rng, fitting, self._cut("gown", 0.0), cloth, offset, 0.006, u(0.0, 0.02))
            self._wear_skirt(rng, fitting, (0.0, 0.12, -0.12)[int(rng.integers(3))], cloth, offset, u(0.01, 0.03))
        elif outfit == "dress":
            cloth, offset = fabric.everyday(rng, 0.6), u(0.008, 0.014)
            self._wear(rng, fitting, self._cut("top", (-0.6, -0.3, 0.5)[int(rng.integers(3))]), cloth, offset, 0.004)
            self._wear_skirt(rng, fitting, (0.0, -0.12)[int(rng.integers(2))], cloth, offset, u(0.02, 0.06))
        elif outfit == "pyjamas":
            cloth = fabric.everyday(rng, 0.7)
            self._wear(rng, fitting, self._cut("trousers", 0.0), cloth, u(0.010, 0.016), 0.005, u(0.005, 0.025))
            self._wear(
                rng,
                fitting,
                self._cut("top", (0.9, 0.5)[int(rng.integers(2))]),
                cloth,
                u(0.016, 0.024),
                0.006,
                u(0.005, 0.025),
            )
        elif outfit == "tunic":
            trousers = fabric.trousers(rng)
            self._wear(rng, fitting, self._cut("trousers", 0.0), trousers, u(0.010, 0.016), 0.005, u(0.005, 0.02))
            self._wear(rng, fitting, self._cut("top", -0.3), fabric.tunic(rng), u(0.018, 0.028), 0.006, u(0.01, 0.03))
        elif outfit == "scrubs":
            cloth = fabric.scrubs(rng)
            self._wear(rng, fitting, self._cut("trousers", 0.0), cloth, u(0.012, 0.018), 0.005, u(0.01, 0.03))
            self._wear(rng, fitting, self._cut("top", -0.3), cloth, u(0.018, 0.028), 0.006, u(0.01, 0.03))
        else:
            leg = (0.0, 0.0, 0.25)[int(rng.integers(3))] if outfit != "shorts" else (0.8, 1.05)[int(rng.integers(2))]
            sleeve = 0.92 if outfit == "jumper_trousers" else (-0.6, -0.4, -0.2)[int(rng.integers(3))]
            self._wear(
                rng,
                fitting,
                self._cut("trousers", leg),
                fabric.everyday(rng, 0.15),
                u(0.006, 0.014),
                0.004,
                u(0.0, 0.025),
            )
            self._wear(
                rng, fitting, self._cut("top", sleeve), fabric.everyday(rng), u(0.012, 0.022), 0.005, u(0.0, 0.03)
            )
        hidden = fitting.hidden if fitting.hidden is not None else np.zeros(len(a.topology.triangles), bool)
        return Dressed(tuple(fitting.meshes), hidden, fitting.worn)

    def _wear(
        self, rng: np.random.Generator, fitting: _Fitting, pattern: Cut, cloth: Fabric, offset: float = 0.0,
        folds_m: float = 0.0, loose: float = 0.0,
    ) -> None:  # fmt: skip
        """Put on one garment: `offset` metres off the skin, `loose` metres more where cloth hangs free of the body.

        What is painted on has a thickness of its own.
        """
        broad, fine = self.anatomy.noise(rng, 12), self.anatomy.noise(rng, 4)
        folds = (0.8 * broad + 0.6 * fine).astype(np.float32)
        if fitting.painted:
            distance = fitting.worn + np.float32(_PAINT_M)
        else:
            distance = (offset + loose * self._hanging + fitting.filled + folds_m * folds) * self._lying
            # Over what is worn already, so that no lower layer shows through an upper one.
            distance = np.maximum(distance, fitting.worn + CLEARANCE).astype(np.float32)
        resting = pushed_out(
            pattern, fitting.rest.vertices, fitting.normals, distance, _PAINT_M if fitting.painted else CLEARANCE
        )
        fitting.worn = np.where(pattern.covered, distance, fitting.worn)
        blend = pattern.on(fitting.posed.blend)
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], resting) + blend[:, :, 3]
        shade = 1.0 + 0.09 * pattern.on(folds)
        self._add(
            fitting, vertices, pattern.triangles, shade, pattern.on(self._uv) * np.float32(fitting.rest.height_m), cloth
        )
        fitting.hidden = pattern.hidden if fitting.hidden is None else fitting.hidden | pattern.hidden

    def _wear_skirt(
        self, rng: np.random.Generator, fitting: _Fitting, length: float, cloth: Fabric, offset: float, flare: float
    ) -> None:
        skirt = self._skirt(length)
        vertices, shade, uv = skirt.drape(rng, fitting.rest, fitting.posed, offset, flare)
        self._add(fitting, vertices, skirt.triangles, shade, uv, cloth)
        fitting.hidden = skirt.hidden if fitting.hidden is None else fitting.hidden | skirt.hidden

    def _shoes(self, rng: np.random.Generator, fitting: _Fitting) -> None:
        height = (0.0, 0.06)[int(rng.integers(2))]  # shoes, or socks up to the calf
        pattern = self._cut("shoes", height)
        self._wear(rng, fitting, pattern, fabric.footwear(rng), 0.012 if height == 0.0 else 0.005, 0.001)

    def _add(self, fitting: _Fitting, vertices: NDArray[np.float32], triangles: NDArray[np.int32],
             shade: NDArray[np.float32], uv: NDArray[np.float32], cloth: Fabric) -> None:  # fmt: skip
        colors = np.clip(linear(cloth.color) * shade[:, None], 0.0, 1.0).astype(np.float32)
        scaled = (uv / np.float32(cloth.tile_m)).astype(np.float32)
        mesh = Mesh(vertices.astype(np.float32), triangles, colors, fitting.instance, uv=scaled, texture=cloth.texture)
        fitting.meshes.append(mesh)
