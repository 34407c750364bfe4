"""Where a print falls on clothes: the body's surface laid flat, as a shirt lies on a table, front upon back.

Front and back meet along the outline and share its coordinates, so there is no seam at which a print would jump, and
lengths are kept as well as a flat sheet allows (as rigid as possible: Liu and others, "A local/global approach to mesh
parameterization", 2008), so that dots stay dots at shoulders, on sleeves and on the sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from synth.look.anatomy import Anatomy

_ROUNDS = 30  # lengths hardly change after as many


def laid_flat(anatomy: Anatomy) -> NDArray[np.float32]:
    """(V, 2) metres across and up: print coordinates of every body vertex, seen from the front; a head's are (x, z)."""
    a = anatomy
    found = (a.x + 1j * a.z).astype(np.complex128)
    triangles = a.topology.triangles[(a.head[a.topology.triangles] < 0.5).all(1)]
    # Which sheet a triangle lies on: small hollows and folds go with the flesh around them.
    depth = a.smoothed(a.template_normals[:, 1].astype(np.float32), 6)
    behind = depth[triangles].mean(1) > 0
    used, corners = np.unique(triangles, return_inverse=True)
    corners = corners.reshape(-1, 3)
    points = a.template[used][corners]
    # Each triangle in a plane of its own, mirrored on the back.
    first, second = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    base = np.maximum(np.linalg.norm(first, axis=1), 1e-6)
    area = np.linalg.norm(np.cross(first, second), axis=1)
    apex = (first * second).sum(1) / base + 1j * area / base
    local = np.stack([np.zeros_like(apex), base + 0j, np.where(behind, apex.conj(), apex)], axis=1)
    edges = local - np.roll(local, -1, axis=1)  # corner k less corner k + 1
    # Half the cotangent of the angle opposite each edge, kept positive for the sake of a stable solution.
    sides = np.abs(edges) ** 2
    cotangent = (sides.sum(1, keepdims=True) - 2 * sides) / (4 * np.maximum(area, 1e-9))[:, None]
    weights = np.maximum(cotangent, 0.02)
    start, end = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
    count, flat = len(used), weights.ravel()
    adjacency = sparse.coo_array((np.r_[flat, flat], (np.r_[start, end], np.r_[end, start])), (count, count)).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    # A whisper of weight on where a vertex is holds the sheet in its place.
    hold = 1e-6
    solve = splu(sparse.csc_array(sparse.diags_array(degree + hold) - adjacency)).solve
    uv = found[used]
    home = hold * uv
    for _ in range(_ROUNDS):
        now = uv[corners] - np.roll(uv[corners], -1, axis=1)
        turn = (weights * now * edges.conj()).sum(1)
        turn /= np.maximum(np.abs(turn), 1e-12)
        wanted = (weights * edges * turn[:, None]).ravel()
        pull = home + sum(
            sign * (np.bincount(at, wanted.real, count) + 1j * np.bincount(at, wanted.imag, count))
            for sign, at in ((1, start), (-1, end))
        )
        right = solve(np.stack([pull.real, pull.imag], axis=1))
        uv = right[:, 0] + 1j * right[:, 1]
    found[used] = uv
    return np.stack([found.real, found.imag], axis=1).astype(np.float32)
