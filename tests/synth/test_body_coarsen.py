"""Surfaces with fewer triangles keep their shape, their closedness, and the vertices that stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.body.anny_body import AnnyBody, anny_body
from synth.body.body_model import Pose
from synth.body.coarsen import coarsened


def sphere(rings: int = 40, spokes: int = 80) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A closed unit sphere, dense at its poles."""
    across, around = np.meshgrid(np.linspace(0, np.pi, rings + 1)[1:-1], np.arange(spokes) * 2 * np.pi / spokes)
    x, y, z = np.sin(across) * np.cos(around), np.sin(across) * np.sin(around), np.cos(across)
    points = np.concatenate([np.stack([x, y, z], -1).transpose(1, 0, 2).reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    index = np.arange((rings - 1) * spokes).reshape(rings - 1, spokes)
    after = np.roll(index, -1, axis=1)
    quads = [(index[:-1], index[1:], after[1:]), (index[:-1], after[1:], after[:-1])]
    top, bottom = np.full(spokes, len(points) - 2), np.full(spokes, len(points) - 1)
    caps = [(top, index[0], after[0]), (bottom, after[-1], index[-1])]
    triangles = np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in (*quads, *caps)])
    return points.astype(np.float32), triangles.astype(np.int32)


def volume(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> float:
    a, b, c = (points[triangles[:, k]].astype(float) for k in range(3))
    return float(np.einsum("ij,ij->", np.cross(a, b), c)) / 6


def test_a_sphere_of_few_triangles_is_closed_and_holds_as_much() -> None:
    points, triangles = sphere()
    kept, fewer = coarsened(points, triangles, np.full(len(points), 0.15, np.float32))
    assert len(fewer) < 0.3 * len(triangles)
    sides = np.sort(np.concatenate([fewer[:, [0, 1]], fewer[:, [1, 2]], fewer[:, [2, 0]]]), axis=1)
    assert (np.unique(sides, axis=0, return_counts=True)[1] == 2).all()
    assert 0.97 < volume(points[kept], fewer) / volume(points, triangles) < 1.0


def test_vertices_to_be_spared_stay_with_their_triangles() -> None:
    points, triangles = sphere()
    spared = points[:, 2] > 0.5
    kept, fewer = coarsened(points, triangles, np.where(spared, 0.0, 0.2).astype(np.float32))
    assert set(np.flatnonzero(spared)) <= set(kept)
    before = {tuple(sorted(row)) for row in triangles[spared[triangles].all(1)].tolist()}
    assert before <= {tuple(sorted(row)) for row in kept[fewer].tolist()}


def test_an_open_rim_stays_where_it_is() -> None:
    points, triangles = sphere()
    half = triangles[(points[triangles, 2] <= 1e-6).all(1)]
    sides = np.sort(np.concatenate([half[:, [0, 1]], half[:, [1, 2]], half[:, [2, 0]]]), axis=1)
    edges, count = np.unique(sides, axis=0, return_counts=True)
    kept, _ = coarsened(points, half, np.full(len(points), 0.3, np.float32))
    assert set(edges[count == 1].ravel()) <= set(kept)


def test_keypoints_of_the_coarser_body_are_those_of_the_whole_one() -> None:
    coarse, whole = anny_body(), AnnyBody(whole=True)  # the whole one's regressor is anny's own
    assert len(coarse.topology.triangles) < 0.4 * len(whole.topology.triangles)
    rng = np.random.default_rng(0)
    for age in (1.0, 8.0, 40.0, 80.0):
        shape = coarse.sample_shape(rng, age)
        pose = Pose(np.eye(3), np.zeros(3), rng.normal(0, 0.4, (21, 3)))
        ours, theirs = (body.pose(body.rest(shape), pose).keypoints for body in (coarse, whole))
        np.testing.assert_allclose(ours, theirs, atol=0.005)
