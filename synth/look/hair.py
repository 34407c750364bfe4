"""Hair as a cap over the scalp, with a bun or tail where the style has one; beards; greyer with age."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import PosedBody, RestBody
from synth.color import from_hex, linear
from synth.look.anatomy import Anatomy
from synth.look.face import Face
from synth.look.fringe import Fringe
from synth.look.garment import CLEARANCE, Cut, cut, pushed_out
from synth.render.mesh import Mesh

_NATURAL = ("0d0a08", "1c130d", "2e1d12", "4a2f1b", "6b4526", "8a6238", "b08d57", "6e2f16")
_GREY = ("6f6d6a", "9a9896", "c9c7c3", "e4e2dd")
_GLOSS = 0.14
_ENDS = 0.8  # length of the longest lock at the edge, as a share of the hair's thickness


@dataclass(frozen=True, slots=True)
class _Style:
    """thickness, its unevenness, how far the hairline drops at the back and sides (m); share of curl; knot at the back;
    receding: only a wreath is left."""

    thickness: float
    uneven: float
    drop: float = 0.0
    curl: float = 0.0
    knot: str = ""
    receding: bool = False


_STYLES = {
    "cropped": _Style(0.006, 0.001),
    "short": _Style(0.014, 0.004),
    "receding": _Style(0.009, 0.002, receding=True),
    "curls": _Style(0.034, 0.010, 0.015, 1.0),
    "medium": _Style(0.024, 0.007, 0.045),
    "bob": _Style(0.028, 0.005, 0.085),
    "bun": _Style(0.013, 0.003, knot="bun"),
    "tail": _Style(0.013, 0.003, knot="tail"),
    "long": _Style(0.026, 0.008, 0.16),
}
STYLES = ("bald", *_STYLES)
_WOMEN = (0.02, 0.05, 0.2, 0.0, 0.1, 0.15, 0.15, 0.1, 0.09, 0.14)
_MEN = (0.05, 0.28, 0.39, 0.06, 0.08, 0.08, 0.01, 0.01, 0.01, 0.03)
_OLD_MEN = (0.15, 0.18, 0.3, 0.27, 0.03, 0.05, 0.0, 0.0, 0.01, 0.01)
BEARDS = ("none", "beard", "moustache", "goatee")


def _strand_tile() -> NDArray[np.uint8]:
    """Light and dark strands that run along v."""
    noise = np.random.default_rng(8).standard_normal((64, 96)).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(np.tile(noise, (3, 3)), (0, 0), sigmaX=0.7, sigmaY=9.0))[64:128, 96:192]
    shade = np.clip(0.8 + 0.09 * noise / noise.std(), 0.45, 1.0)
    return np.repeat((255 * shade[..., None]).astype(np.uint8), 3, axis=2)


class Hair:
    """Hair for one topology."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._face = Face(anatomy)
        self._cuts: dict[tuple[str, int], Cut] = {}
        self._fringes: dict[tuple[str, int], Fringe] = {}
        self._fields: dict[tuple[str, int], NDArray[np.float64]] = {}  # (V,) metres behind the hairline
        a = anatomy
        around = np.arctan2(a.x, a.y + 0.05)
        self._uv = np.stack([around * 1.2, a.z * 5.0], axis=1).astype(np.float32)
        self._strands = _strand_tile()
        crown = (a.head > 0.5) & (a.eye < 0.5)
        self._back = int(np.flatnonzero(crown)[np.argmax(a.y[crown] + 0.35 * a.z[crown])])
        self._brow = int(np.argmin(np.linalg.norm(a.template - [0.0, self._face.nose_y, a.eye_z + 0.03], axis=1)))

    def color(self, rng: np.random.Generator, age_years: float, tone: int = 1) -> NDArray[np.float32]:
        """(3,) linear albedo; dark skin (Monk `tone` above 6) goes with dark hair, until it greys."""
        grey = rng.random() < np.clip((age_years - 35.0) / 40.0, 0.02, 0.9)
        names = _GREY if grey else _NATURAL[:3] if tone > 6 else _NATURAL
        return linear(from_hex(names[int(rng.integers(len(names)))])) * np.float32(rng.uniform(0.8, 1.1))

    def style(self, rng: np.random.Generator, age_years: float, sex: str) -> str:
        """A style; women wear it longer, and old men have less of it."""
        odds = _WOMEN if sex == "female" else _OLD_MEN if age_years > 50 else _MEN
        return STYLES[int(rng.choice(len(STYLES), p=odds))]

    def beard(self, rng: np.random.Generator, age_years: float, sex: str) -> str:
        """One of `BEARDS`; most men wear none."""
        odds = (0.68, 0.17, 0.07, 0.08) if sex == "male" and age_years > 18 else (1.0, 0.0, 0.0, 0.0)
        return BEARDS[int(rng.choice(len(BEARDS), p=odds))]

    def _cut(self, style: str, hairline: int) -> Cut:
        key = (style, hairline)
        if key not in self._cuts:
            a = self._anatomy
            if style in BEARDS:
                field = {"beard": self._face.beard, "moustache": self._face.moustache, "goatee": self._face.goatee}[
                    style
                ]
            else:
                field = self._scalp(_STYLES[style], hairline)
            self._fields[key] = field
            self._cuts[key] = cut(field, a.topology.triangles)
            self._fringes[key] = Fringe(self._cuts[key])
        return self._cuts[key]

    def _scalp(self, style: _Style, hairline: int) -> NDArray[np.float64]:
        a = self._anatomy
        front_y, back_y = a.y[a.head > 0.5].min() + 0.03, a.y[a.head > 0.5].max() - 0.02
        forehead, nape = a.eye_z + 0.056 + 0.012 * hairline, a.eye_z - 0.075
        depth = np.clip((a.y - front_y) / (back_y - front_y), 0.0, 1.0)
        # The hairline falls from forehead to nape, stays above the ears, and long hair hangs behind the face only.
        line = forehead + (nape - forehead) * depth**1.3 - style.drop * np.clip((depth - 0.42) / 0.12, 0.0, 1.0)
        near_head = (a.head > 0.1) | (
            (a.z > a.neck_z - 0.12) & (a.y > a.bone("neck01")[1] - 0.01) & (np.abs(a.x) < 0.12)
        )
        # Higher at the temples and lower before the ears than a straight line, and nowhere quite even.
        line += 0.016 * np.exp(-(((depth - 0.17) / 0.07) ** 2)) - 0.022 * np.exp(-(((depth - 0.42) / 0.06) ** 2))
        line += 0.003 * a.noise(np.random.default_rng(hairline), 1)
        behind = np.where(near_head & (a.eye < 0.1) & (a.arm < 0.3), a.z - line, -0.05)
        if style.receding:
            temples = 0.2 * (depth - 0.36 + 0.05 * hairline)
            behind = np.minimum(
                np.minimum(behind, temples), a.eye_z + 0.062 - 0.012 * hairline - a.z + 0.3 * np.clip(depth - 0.5, 0, 1)
            )
        return np.asarray(behind)

    def grow(
        self, rng: np.random.Generator, rest: RestBody, normals: NDArray[np.float32], posed: PosedBody, style: str,
        color: NDArray[np.float32], instance: int, worn: NDArray[np.float32],
    ) -> Mesh | None:  # fmt: skip
        """The hair as a mesh that moves with the head, or None for the bald.

        normals (V, 3): of the resting body; worn (V,): metres of cloth on the skin, which long hair falls over.
        """
        if style == "bald":
            return None
        look = _STYLES[style]
        a = self._anatomy
        hairline = int(rng.integers(3))
        pattern = self._cut(style, hairline)
        lumps = a.noise(rng, 1 if look.curl else 3)
        filled = np.zeros(len(rest.vertices), np.float32)
        if style not in ("cropped", "receding"):  # longer hair bridges the hollow of the neck
            hollow = a.smoothed(rest.vertices, 5) - rest.vertices
            filled = np.maximum((hollow * normals).sum(1), 0.0).astype(np.float32)
        # Thin at the hairline, full 2 cm behind it.
        rise = np.clip(self._fields[style, hairline] / 0.02, 0.15, 1.0)
        distance = (look.thickness * rise + filled + look.uneven * lumps * rise).astype(np.float32)
        distance = np.maximum(distance, worn + np.float32(CLEARANCE))
        resting = pushed_out(pattern, rest.vertices, normals, distance)
        ends, locks, roots = self._fringes[style, hairline].grow(rng, resting, _ENDS * look.thickness)
        blend = pattern.on(posed.blend)
        blend, resting = np.concatenate([blend, blend[roots]]), np.concatenate([resting, ends])
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], resting) + blend[:, :, 3]
        # Roots lie in the shade of the ends.
        shade = (1.0 + (0.3 if look.curl else 0.12) * pattern.on(lumps)) * pattern.on(
            (0.75 + 0.25 * rise).astype(np.float32)
        )
        uv = pattern.on(self._uv)
        triangles = np.concatenate([pattern.triangles, locks + np.int32(len(uv))])
        shade, uv = np.concatenate([shade, shade[roots]]), np.concatenate([uv, uv[roots]])
        if look.knot:
            knot, faces, knot_uv = self._knot(rng, rest, look.knot)
            turn = posed.blend[self._back]
            triangles = np.concatenate([triangles, faces + np.int32(len(vertices))])
            vertices = np.concatenate([vertices, knot @ turn[:, :3].T + turn[:, 3]])
            shade, uv = np.concatenate([shade, np.ones(len(knot), np.float32)]), np.concatenate([uv, knot_uv])
        return self._mesh(vertices, triangles, color, shade, uv, instance)

    def grow_beard(
        self, rng: np.random.Generator, rest: RestBody, normals: NDArray[np.float32], posed: PosedBody, kind: str,
        color: NDArray[np.float32], instance: int,
    ) -> Mesh | None:  # fmt: skip
        """One of `BEARDS` as a mesh, None for "none"."""
        if kind == "none":
            return None
        pattern = self._cut(kind, 0)
        lumps = self._anatomy.noise(rng, 1)
        length = rng.uniform(0.004, 0.022 if kind == "beard" else 0.008)
        rise = np.clip(self._fields[kind, 0] / 0.012, 0.1, 1.0)
        distance = (length * rise * (1.0 + 0.2 * lumps)).astype(np.float32)
        resting = pushed_out(pattern, rest.vertices, normals, distance)
        blend = pattern.on(posed.blend)
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], resting) + blend[:, :, 3]
        return self._mesh(
            vertices, pattern.triangles, color, 1.0 + 0.2 * pattern.on(lumps), pattern.on(self._uv), instance
        )

    def _knot(
        self, rng: np.random.Generator, rest: RestBody, kind: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """Vertices at rest, triangles and uv of a bun or of a tail that hangs from the back of the head."""
        at = rest.vertices[self._back].astype(np.float64)
        count, sides = (9, 12) if kind == "bun" else (12, 10)
        t, angle = np.meshgrid(np.linspace(0, 1, count), np.linspace(0, 2 * np.pi, sides + 1), indexing="ij")
        if kind == "bun":
            size = rng.uniform(0.028, 0.045)
            radius = size * np.sin(np.pi * (0.04 + 0.96 * t)) * (1 + 0.06 * np.sin(3 * angle + 5 * t))
            along, fall = size * 1.1 * (1 - np.cos(np.pi * t)) * 0.8, np.zeros_like(t)
        else:
            length = rng.uniform(0.14, 0.3)
            radius = 0.022 * np.sin(np.pi * (0.12 + 0.88 * t)) ** 0.6 * (1 + 0.1 * np.sin(2 * angle + 4 * t))
            along, fall = 0.015 + 0.045 * np.sqrt(t), length * t**1.4
        points = np.stack(
            [at[0] + radius * np.cos(angle), at[1] - 0.008 + along + radius * np.sin(angle) * (kind == "tail"),
             at[2] - fall + radius * np.sin(angle) * (kind == "bun")], axis=-1
        )  # fmt: skip
        index = np.arange(count * (sides + 1)).reshape(count, sides + 1)
        quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
        faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
        uv = np.stack([angle / np.pi, 2.0 * t], axis=-1).reshape(-1, 2)
        return points.reshape(-1, 3).astype(np.float32), faces, uv.astype(np.float32)

    def _mesh(
        self, vertices: NDArray[np.float32], triangles: NDArray[np.int32], color: NDArray[np.float32],
        shade: NDArray[np.float32], uv: NDArray[np.float32], instance: int,
    ) -> Mesh:  # fmt: skip
        # The strands' picture darkens by a fifth on average.
        colors = np.clip(color * 1.3 * shade[:, None], 0.0, 1.0)
        return Mesh(
            vertices.astype(np.float32), triangles, colors.astype(np.float32), instance, uv=uv.astype(np.float32),
            texture=self._strands, gloss=_GLOSS,
        )  # fmt: skip
