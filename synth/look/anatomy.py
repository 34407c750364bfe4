"""Where things are on a body: measured once on the average adult of a topology, used for every body that shares it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from synth.body.body_model import Topology
from synth.render.jit import njit
from synth.render.kernels import accumulate_normals

Array = Any  # numba infers the element types


@njit
def _smoothed(starts: Array, neighbours: Array, shares: Array, values: Array, times: int) -> Array:
    """(V,) values (V,) float32, `times` times multiplied by a sparse matrix whose rows begin at `starts` (V + 1,)."""
    for _ in range(times):
        found = np.empty_like(values)
        for i in range(len(values)):
            mean = np.float32(0.0)
            for k in range(starts[i], starts[i + 1]):
                mean += shares[k] * values[neighbours[k]]
            found[i] = mean
        values = found
    return values


@njit
def _smoothed_points(starts: Array, neighbours: Array, shares: Array, points: Array, times: int) -> Array:
    """(V, 3) points (V, 3) float32, as `_smoothed` does with each coordinate: all in one go, twice as fast."""
    for _ in range(times):
        found = np.empty_like(points)
        for i in range(len(points)):
            x = y = z = np.float32(0.0)
            for k in range(starts[i], starts[i + 1]):
                neighbour, share = neighbours[k], shares[k]
                x += share * points[neighbour, 0]
                y += share * points[neighbour, 1]
                z += share * points[neighbour, 2]
            found[i, 0], found[i, 1], found[i, 2] = x, y, z
        points = found
    return points


class Anatomy:
    """Per-vertex landmarks (V,) in metres on the template at rest (z up, facing −y), and smoothing along the surface.

    arm, leg, head, eye: bone weight of that part. along_arm: distance from the shoulder joint along the arm, −1 off it.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.template = topology.template.astype(np.float64)
        self.x, self.y, self.z = self.template.T
        names = topology.bone_names
        self._head_of = {name: topology.template_heads[i] for i, name in enumerate(names)}

        def weight(*parts: str) -> NDArray[np.float64]:
            chosen = np.array([any(part in name for part in parts) for name in names], np.float32)
            return np.asarray(topology.weights @ chosen, dtype=np.float64)

        self.arm = weight("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
        self.hand = weight("wrist", "finger", "metacarpal")
        self.leg = weight("upperleg", "lowerleg", "foot", "toe")
        self.foot = weight("foot", "toe")
        self.toe = weight("toe")
        self.head = weight("head", "eye", "neck03")
        self.eye = weight("eye.")
        self.neck_z = float(self.bone("neck01")[2])
        self.hip_z = float(self.bone("root")[2])
        self.knee_z = float(self.bone("lowerleg01.L")[2])
        self.ankle_z = float(self.bone("foot.L")[2])
        self.eye_z = float(self.bone("eye.L")[2])
        self.along_arm = np.full(len(self.z), -1.0)
        for letter in "LR":
            shoulder, elbow, wrist = (self.bone(f"{name}.{letter}") for name in ("upperarm01", "lowerarm01", "wrist"))
            upper, lower = elbow - shoulder, wrist - elbow
            length = float(np.linalg.norm(upper))
            first = (self.template - shoulder) @ upper / length
            second = length + (self.template - elbow) @ lower / np.linalg.norm(lower)
            here = (self.arm > 0.3) & ((self.x > 0) == (letter == "L"))
            self.along_arm[here] = np.where(first < length, first, np.maximum(second, length))[here]
        self.elbow_at = length
        self.wrist_at = length + float(np.linalg.norm(lower))
        triangles, count = topology.triangles, len(self.z)
        edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        edges = np.concatenate([edges, edges[:, ::-1]])
        neighbours = sparse.csr_array((np.ones(len(edges), np.float32), (edges[:, 0], edges[:, 1])), (count, count))
        neighbours.data[:] = 1.0
        smooth = sparse.csr_array(
            sparse.diags_array(1.0 / np.maximum(neighbours.sum(1), 1.0)).astype(np.float32) @ neighbours
        )
        # Unsigned: of an index that may be negative, compiled code looks whether it is.
        self._smooth = smooth.indptr.astype(np.uint32), smooth.indices.astype(np.uint32), smooth.data
        self.template_normals = self.normals(topology.template)

    def bone(self, name: str) -> NDArray[np.float64]:
        """(3,) where a bone begins on the template."""
        return self._head_of[name]

    def smoothed(self, values: NDArray[np.float32], times: int) -> NDArray[np.float32]:
        """Values (V,) or (V, 3), each replaced by its neighbours' mean, `times` times."""
        smooth = _smoothed if values.ndim == 1 else _smoothed_points
        return np.asarray(smooth(*self._smooth, values, times), dtype=np.float32)

    def noise(self, rng: np.random.Generator, times: int) -> NDArray[np.float32]:
        """(V,) smooth noise of unit variance; more smoothing makes larger blotches."""
        found = self.smoothed(rng.standard_normal(len(self.z), dtype=np.float32), times)
        return np.asarray(found / found.std())

    def normals(self, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        """(V, 3) unit vertex normals, weighted by area."""
        triangles, found = self.topology.triangles, np.zeros_like(vertices)
        accumulate_normals(vertices, triangles, found, np.empty(triangles.shape, np.float32))
        return np.asarray(found / np.maximum(np.sqrt((found**2).sum(1, keepdims=True)), 1e-12))
