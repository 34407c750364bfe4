"""The lower half of a gown or dress: a tube around both legs.

Its rings follow the outline (the convex support) of both legs together, so cloth spans the gap between them; each
point moves with the nearest skin of the left and of the right leg, blended across the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from synth.body.body_model import PosedBody, RestBody
from synth.look.anatomy import Anatomy

_RINGS, _SPOKES = 16, 44


class Skirt:
    """A skirt that ends `length` metres below the knee of the average adult (negative: above)."""

    def __init__(self, anatomy: Anatomy, length: float) -> None:
        a = anatomy
        self._anatomy = a
        top, bottom = a.hip_z + 0.10, a.knee_z - length
        levels = np.linspace(top, bottom, _RINGS)
        angles = np.arange(_SPOKES) * (2 * np.pi / _SPOKES)
        self._directions = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        lower = (a.arm < 0.3) & (a.z < top + 0.04) & (a.z > bottom - 0.04)
        members = np.flatnonzero(lower)
        spacing = float(levels[0] - levels[1])
        # Each body vertex counts for the rings within one spacing of it.
        self._ring_members = [members[np.abs(a.z[members] - level) < spacing] for level in levels]
        points = self._outline(a.topology.template)
        self._fractions = ((levels - bottom) / (top - bottom)).astype(np.float32)
        left, right = members[a.x[members] > 0.005], members[a.x[members] < -0.005]
        self._left = left[cKDTree(a.template[left]).query(points.reshape(-1, 3))[1]]
        self._right = right[cKDTree(a.template[right]).query(points.reshape(-1, 3))[1]]
        x = points.reshape(-1, 3)[:, 0]
        share = np.clip(0.5 + x / 0.20, 0.0, 1.0)
        self._left_share = (share * share * (3 - 2 * share)).astype(np.float32)
        index = np.arange(_RINGS * _SPOKES).reshape(_RINGS, _SPOKES)
        after = np.roll(index, -1, axis=1)
        quads = np.stack([index[:-1], index[1:], after[1:], after[:-1]], axis=-1).reshape(-1, 4)
        self.triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
        covered = lower & (a.z < a.hip_z) & (a.z > bottom + 0.10)
        self.hidden = covered[a.topology.triangles].all(1)

    def _outline(self, rest: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rings, spokes, 3) points around both legs of a resting body."""
        rings = np.empty((_RINGS, _SPOKES, 3), np.float32)
        reach = np.empty((_RINGS, _SPOKES), np.float32)
        for ring, members in enumerate(self._ring_members):
            points = rest[members]
            center = 0.5 * (points[:, :2].min(0) + points[:, :2].max(0))
            reach[ring] = ((points[:, :2] - center) @ self._directions.T).max(0)
            rings[ring, :, :2], rings[ring, :, 2] = center, points[:, 2].mean()
        # The curve whose support is `reach` has its point at reach·n + reach'·n⊥.
        slope = (np.roll(reach, -1, axis=1) - np.roll(reach, 1, axis=1)) * np.float32(_SPOKES / (4 * np.pi))
        normal = self._directions
        tangent = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
        rings[:, :, :2] += normal * reach[:, :, None]
        rings[:, :, :2] += tangent * slope[:, :, None]
        return rings

    def drape(
        self, rng: np.random.Generator, rest: RestBody, posed: PosedBody, offset: float, flare: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Vertices (rings · spokes, 3) in the bed frame, shading (rings · spokes,) of the folds and print coordinates
        (rings · spokes, 2) in metres."""
        rings = self._outline(rest.vertices)
        down = 1.0 - self._fractions
        # It comes out from under the bodice's cloth a little below its upper edge, and flares toward the hem.
        away = offset + np.interp(down, (0.0, 0.12, 1.0), (-0.008, 0.010, 0.010 + flare)).astype(np.float32)
        rings[:, :, :2] += away[:, None, None] * self._directions
        spoke = np.arange(_SPOKES) * (2 * np.pi / _SPOKES)
        folds = np.zeros((_RINGS, _SPOKES), np.float32)
        for waves in rng.integers(4, 12, size=3):
            phase = rng.uniform(0, 2 * np.pi) + rng.uniform(-1.5, 1.5) * down[:, None]
            folds += np.float32(rng.uniform(0.2, 0.5)) * np.sin(waves * spoke + phase).astype(np.float32)
        rings[:, :, :2] += self._directions * (0.012 * folds * (0.1 + down[:, None]))[:, :, None]
        share = self._left_share[:, None, None]
        blend = posed.blend[self._left] * share + posed.blend[self._right] * (1 - share)
        flat = rings.reshape(-1, 3)
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], flat) + blend[:, :, 3]
        return vertices.astype(np.float32), (1.0 + 0.08 * folds.ravel()).astype(np.float32), _measured(vertices)


def _measured(vertices: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rings · spokes, 2) metres across and up draped cloth, so that no print is drawn out between the legs."""
    points = vertices.reshape(_RINGS, _SPOKES, 3)
    steps = np.sqrt(((np.roll(points, -1, axis=1) - points) ** 2).sum(2))
    after = steps.cumsum(1)
    around, whole = after - steps, after[:, -1:]
    # From side to side, in front as behind, leaves no seam where the print would jump; the middle runs straight.
    half = np.minimum(around, whole - around)
    down = np.zeros((_RINGS, _SPOKES))
    down[1:] = np.sqrt(((points[1:] - points[:-1]) ** 2).sum(2)).cumsum(0)
    return np.stack([whole / 4 - half, -down], axis=2).reshape(-1, 2).astype(np.float32)
