"""Fewer, larger triangles for a surface, chosen once for all bodies that share it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.render.jit import njit

Array = Any  # numba infers the element types
_MOST_PASSES = 40
_LEAST_COSINE = 0.6  # between a triangle's normal before and after one of its corners moved


def coarsened(
    vertices: NDArray[np.float32], triangles: NDArray[np.int32], shortest: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Collapse edges of a surface, vertices (V, 3) and triangles (T, 3), that are shorter than `shortest` (V,) metres
    at either end. Returns which vertices stay (K,), and the triangles between them, numbered anew.

    Half-edge collapse (Hoppe 1996, without the search for a new place): what stays keeps its place, and with it its
    bone weights and blend shapes. Shortest edges go first, the vertex in the flatter surroundings into the other; what
    would tear the surface, turn a triangle over or flatten a bend is left alone, and so are open rims.
    """
    points = np.ascontiguousarray(vertices, dtype=np.float64)
    faces = np.ascontiguousarray(triangles, dtype=np.int32)
    for _ in range(_MOST_PASSES):
        sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        keys, count = np.unique(sides[:, 0] * np.int64(len(points)) + sides[:, 1], return_counts=True)
        edges = np.column_stack(np.divmod(keys, len(points)))
        length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
        short = np.flatnonzero(length < shortest[edges].min(1))
        short = short[np.argsort(length[short], kind="stable")]
        flatness = _flatness(points, faces)
        pairs = edges[short]
        swap = flatness[pairs[:, 0]] < flatness[pairs[:, 1]]
        pairs[swap] = pairs[swap, ::-1]
        settled = np.zeros(len(points), np.bool_)
        settled[edges[count != 2]] = True
        into = np.arange(len(points), dtype=np.int32)
        around = np.argsort(faces.ravel(), kind="stable")
        first = np.searchsorted(faces.ravel()[around], np.arange(len(points) + 1))
        if not _collapse(pairs, points, faces, first, around // 3, settled, into):
            break
        faces = into[faces]
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        faces = np.ascontiguousarray(faces[whole])
    kept, numbered = np.unique(faces, return_inverse=True)
    return kept.astype(np.intp), numbered.reshape(-1, 3).astype(np.int32)


def _flatness(points: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """(V,) length of the mean unit normal of the triangles about each vertex, 1 where they lie in a plane."""
    normal = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-30
    corners = faces.ravel()
    total = np.stack([np.bincount(corners, np.repeat(normal[:, k], 3), len(points)) for k in range(3)], axis=1)
    return np.asarray(np.linalg.norm(total, axis=1) / np.maximum(np.bincount(corners, minlength=len(points)), 1))


@njit
def _collapse(
    pairs: Array, points: Array, faces: Array, first: Array, members: Array, settled: Array, into: Array
) -> int:
    """Move the first vertex of each pair into the second, where that does no harm and nothing about them has changed
    in this pass; the triangles about vertex i are members[first[i] : first[i + 1]]. Returns how many moved."""
    moved = 0
    marked = np.full(len(points), -1, np.int64)
    for n in range(pairs.shape[0]):
        u, v = pairs[n, 0], pairs[n, 1]
        if settled[u] or settled[v]:
            continue
        for m in range(first[v], first[v + 1]):
            for k in range(3):
                marked[faces[members[m], k]] = n
        common, sound = 0, True
        for m in range(first[u], first[u + 1]):
            t = members[m]
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            # Each neighbour of u follows u once about the triangle; those of both must be the shared triangles' two.
            after = b if a == u else c if b == u else a
            if after != v and marked[after] == n:
                common += 1
            if a == v or b == v or c == v:
                continue
            old = _normal(points[a], points[b], points[c])
            new = _normal(points[v if a == u else a], points[v if b == u else b], points[v if c == u else c])
            if old[0] * new[0] + old[1] * new[1] + old[2] * new[2] < _LEAST_COSINE:
                sound = False
        if not sound or common != 2:
            continue
        into[u] = v
        moved += 1
        for vertex in (u, v):
            for m in range(first[vertex], first[vertex + 1]):
                for k in range(3):
                    settled[faces[members[m], k]] = True
    return moved


@njit
def _normal(a: Array, b: Array, c: Array) -> tuple[float, float, float]:
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-30
    return nx / length, ny / length, nz / length
