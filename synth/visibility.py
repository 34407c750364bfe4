"""Which keypoints a camera can see, in COCO's terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.body.figure import Figure
from synth.render.renderer import Rendering

ABSENT, HIDDEN, VISIBLE = 0, 1, 2

_FACE = 5  # nose, eyes and ears, which lie on the skin; the other keypoints lie inside the body
_FACE_DEPTH_M = 0.04  # what may lie over them: hair, glasses, the bridge of the nose
_BLOCK = 16  # points whose nearest vertices are looked for at once
_BEHIND_M = 0.01  # a surface this far behind a keypoint hides nothing


def keypoint_visibility(
    figure: Figure, person: int, pixels: NDArray[np.float64], camera_from_bed: NDArray[np.float64], seen: Rendering
) -> NDArray[np.int64]:
    """COCO's v of each of the figure's keypoints (17,): 0 outside the picture, 2 seen, 1 hidden.

    pixels (17, 2): where the keypoints fall in `seen`. Of the first surface on the way to a keypoint one asks whose it
    is and, where it is the person's own, what part of the body lies next to it: a joint is seen where that is skin over
    this very joint (`Figure.joint_skin`), so that an arm hides the chest behind it, and the near hip the far one.
    """
    height, width = seen.depth.shape
    rotation, shift = camera_from_bed[:3, :3], camera_from_bed[:3, 3]
    in_camera = figure.keypoints @ rotation.T + shift
    inside = (in_camera[:, 2] > 0) & ((pixels >= -0.5) & (pixels < (width - 0.5, height - 0.5))).all(axis=1)
    result = np.full(len(pixels), ABSENT, np.int64)
    if not inside.any():
        return result
    numbers = np.flatnonzero(inside)
    joints = in_camera[inside]
    # Each of the four pixels about a keypoint answers (4, N), the nearer the louder: one alone is half a pixel off.
    right, below = np.array([[0], [1], [0], [1]]), np.array([[0], [0], [1], [1]])
    corner = np.floor(pixels[inside]).astype(np.intp)
    fraction = pixels[inside] - corner
    weight = np.abs(1 - right - fraction[:, 0]) * np.abs(1 - below - fraction[:, 1])
    columns = np.clip(corner[:, 0] + right, 0, width - 1)
    rows = np.clip(corner[:, 1] + below, 0, height - 1)
    depth = seen.depth[rows, columns].astype(np.float64)
    behind = (depth == 0) | (depth > joints[:, 2] + _BEHIND_M)
    surface = joints * (depth / joints[:, 2])[:, :, None]  # where the way to the keypoint meets that depth
    shallow = np.linalg.norm(joints - surface, axis=2) < _FACE_DEPTH_M
    own = (seen.instance[rows, columns] == person) & (shallow | (numbers >= _FACE)) & ~behind
    if own.any():
        nearest = _nearest(figure.meshes[0].vertices, (surface[own] - shift) @ rotation)
        own[own] = figure.joint_skin[nearest, np.broadcast_to(numbers, own.shape)[own]]
    shown = (weight * (behind | own)).sum(0)
    result[inside] = np.where(shown >= 0.5, VISIBLE, HIDDEN)
    return result


def _nearest(vertices: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The number of the vertex (V, 3) nearest to each point (N, 3)."""
    # About the points' middle, where single precision is enough.
    middle = points.mean(0)
    skin, asked = vertices - middle.astype(np.float32), (points - middle).astype(np.float32)
    length = np.einsum("vk,vk->v", skin, skin)
    # Points along the rows, so that each one's candidates lie side by side in memory; a few at once, since a product of
    # more wakes further threads, which takes longer than the product.
    blocks = np.split(2.0 * asked, range(_BLOCK, len(asked), _BLOCK))
    return np.concatenate([(length - block @ skin.T).argmin(1) for block in blocks])
