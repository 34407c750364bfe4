"""Glasses: rims, bridge and temples on the eyes of a head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import PosedBody, RestBody
from synth.color import from_hex, linear
from synth.look.anatomy import Anatomy
from synth.render.mesh import Mesh

FRAMES = ("round", "oval", "square", "half")
_COLORS = ("14120f", "2b1c12", "4a2d1a", "8c8f93", "b79b5b", "1d2a44", "6b1f22")
_SIDES = 5


class Glasses:
    """Frames for heads of one topology."""

    def __init__(self, anatomy: Anatomy) -> None:
        names = anatomy.topology.bone_names
        self._eyes = (names.index("eye.L"), names.index("eye.R"))
        bridge = [0.0, float(anatomy.y[anatomy.head > 0.5].min()) + 0.03, anatomy.eye_z]
        self._nose = int(np.argmin(np.linalg.norm(anatomy.template - bridge, axis=1)))

    def worn(self, rng: np.random.Generator, age_years: float) -> bool:
        """More often with age."""
        return bool(rng.random() < np.interp(age_years, [3, 15, 45, 70], [0.0, 0.12, 0.25, 0.4]))

    def put_on(self, rng: np.random.Generator, rest: RestBody, posed: PosedBody, instance: int) -> Mesh:
        """A frame of random shape and colour as a mesh that moves with the head."""
        kind = FRAMES[int(rng.integers(len(FRAMES)))]
        left, right = (rest.heads[bone] for bone in self._eyes)
        # Scaled with the head: an adult's eyes are 6 cm apart.
        size = float(left[0] - right[0]) / 0.06
        thick = float(rng.uniform(0.0012, 0.0028)) * size
        wide, high = float(rng.uniform(0.021, 0.027)) * size, float(rng.uniform(0.016, 0.022)) * size
        power = 4.0 if kind == "square" else 2.0
        high = wide * 0.95 if kind == "round" else high
        t = np.linspace(0, np.pi if kind == "half" else 2 * np.pi, 25)
        cos, sin = np.cos(t), -np.sin(t)
        outline_x = wide * np.sign(cos) * np.abs(cos) ** (2 / power)
        outline_z = high * np.sign(sin) * np.abs(sin) ** (2 / power)
        front = -0.024 * size
        paths = []
        for eye, sign in ((left, 1.0), (right, -1.0)):
            rim = np.column_stack([eye[0] + outline_x, np.full(25, eye[1] + front), eye[2] - 0.002 + outline_z])
            paths.append(rim)
            ends = [
                [eye[0] + sign * wide, eye[1] + front, eye[2] + 0.004],
                [eye[0] + sign * (wide + 0.018 * size), eye[1] + front + 0.008, eye[2] + 0.006],
                [eye[0] + sign * (wide + 0.024 * size), eye[1] + 0.07 * size, eye[2] + 0.004],
            ]
            paths.append(np.array(ends))
        middle = 0.5 * (left + right)
        gap = float(left[0] - middle[0]) - wide
        bridge = [
            [middle[0] + s * gap, middle[1] + front - 0.004 * (s == 0), middle[2] + 0.003] for s in (-1.0, 0.0, 1.0)
        ]
        paths.append(np.array(bridge))
        vertices, triangles, start = [], [], 0
        for path in paths:
            points, faces = _wire(path, thick)
            vertices.append(points)
            triangles.append(faces + start)
            start += len(points)
        turn = posed.blend[self._nose].astype(np.float64)
        moved = np.concatenate(vertices) @ turn[:, :3].T + turn[:, 3]
        color = linear(from_hex(_COLORS[int(rng.integers(len(_COLORS)))]))
        colors = np.broadcast_to(color, moved.shape).astype(np.float32)
        return Mesh(moved.astype(np.float32), np.concatenate(triangles).astype(np.int32), colors, instance, gloss=0.6)


def _wire(path: NDArray[np.float64], radius: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A thin tube along a path (N, 3) that nowhere runs straight up and sideways at once."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    helper = np.array([0.0, 1.0, 0.0]) if np.abs(tangent[:, 1]).mean() < 0.5 else np.array([0.0, 0.0, 1.0])
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
    other = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, _SIDES + 1)
    rings = side[:, None] * np.cos(angle)[None, :, None] + other[:, None] * np.sin(angle)[None, :, None]
    points = (path[:, None] + radius * rings).reshape(-1, 3)
    index = np.arange(len(path) * (_SIDES + 1)).reshape(len(path), _SIDES + 1)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    return points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
