"""People put before a picture that was taken, not rendered: rendered alone, shaded by its light, cut by its depth,
their shadows cast on it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from synth.color import linear, srgb
from synth.render.mesh import Mesh
from synth.render.numba_renderer import render_depth_ids
from synth.render.renderer import Renderer, Rendering, Scene
from synth.sensor import Lens
from synth.ward.backdrop import Backdrop
from synth.ward.lights import without_shoulder

_THIN_M = 0.06
# Look-up tables between display bytes and linear light, the latter in steps fine enough for the dark ones.
_TO_LINEAR = linear(np.arange(256) / 255)
_TO_DISPLAY = 255 * srgb(np.arange(16384) / 16383)


def composite(
    renderer: Renderer, scene: Scene, backdrop: Backdrop, camera_from_bed: NDArray[np.float64], lens: Lens
) -> Rendering:
    """The scene, which holds the people and what covers them, before the backdrop; as the lens sees it.

    Occlusion by what the backdrop shows is in every buffer: where it is in front, instance and part are 0.
    """
    pinhole = lens.pinhole
    alone = renderer.render(scene, camera_from_bed, pinhole)
    # The renderer's own four samples a pixel, so that what it mixed with black at the edges can be told apart.
    _, _, fine = render_depth_ids(scene.meshes, camera_from_bed, pinhole.resized(2 * pinhole.width, 2 * pinhole.height))
    cover = cv2.resize((fine > 0).astype(np.uint8) * 255, (pinhole.width, pinhole.height), interpolation=cv2.INTER_AREA)
    shade, shaded_depth = _shadows(renderer, scene, backdrop.receivers, camera_from_bed, pinhole)

    seen = lens.bend(replace(alone, color=_premultiplied(alone.color, cover)))
    seen = replace(seen, depth=lens.bend_depth(alone.depth))
    alpha = lens.bend_color(cover).astype(np.float32) / 255
    if backdrop.blur_px > 0.1:
        softened = cv2.GaussianBlur(np.dstack([seen.color.astype(np.float32), alpha]), (0, 0), backdrop.blur_px)
        front, alpha = softened[..., :3], softened[..., 3]
    else:
        front = seen.color.astype(np.float32)
    before = _in_front(seen.depth, backdrop)
    light = lens.bend_color(shade).astype(np.float32) / 255
    # Thin things in front of what is shaded, such as rails, are too fine for the surfaces' mesh.
    light[backdrop.depth < lens.bend_plane(shaded_depth) - _THIN_M] = 1.0
    ground = _TO_LINEAR[backdrop.color] * light[..., None]
    share = cv2.GaussianBlur(before.astype(np.float32), (0, 0), 0.6)[..., None]
    color = _displayed(ground) * (1 - alpha[..., None] * share) + front * share
    there = before & (seen.part > 0)
    return replace(
        seen,
        color=np.clip(color + 0.5, 0, 255).astype(np.uint8),
        depth=np.where(there, seen.depth, np.where(np.isfinite(backdrop.depth), backdrop.depth, 0)).astype(np.float32),
        instance=np.where(there, seen.instance, 0).astype(np.uint8),
        part=np.where(there, seen.part, 0).astype(np.uint8),
    )


def _premultiplied(color: NDArray[np.uint8], cover: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Nothing where nothing is covered; elsewhere as drawn, which is mixed with black already."""
    return np.where(cover[..., None] > 0, color, 0).astype(np.uint8)


def _in_front(depth: NDArray[np.float32], backdrop: Backdrop) -> NDArray[np.bool_]:
    """Where the rendered surface (0 = none) is not hidden. Pixels of no surface take the answer of their neighbours,
    so that an outline's mixed pixels are not lost."""
    known = depth > 0
    visible = known & (depth < backdrop.depth + backdrop.give)
    weight = cv2.blur(known.astype(np.float32), (3, 3))
    near = cv2.blur(visible.astype(np.float32), (3, 3))
    return np.where(known, visible, near > 0.5 * np.maximum(weight, 1e-6))


def _shadows(
    renderer: Renderer, scene: Scene, receivers: tuple[Mesh, ...], camera_from_bed: NDArray[np.float64],
    pinhole: CameraModel,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # fmt: skip
    """How much light (H, W), 255 = all, the scene leaves to the surfaces about it: cast shadows and occlusion; and the
    depth (H, W) of what it was worked out for, 0 where there is nothing.

    The ratio of two renderings of the bare surfaces, with the scene and without, at half the size.
    """
    if not receivers:
        size = (pinhole.height, pinhole.width)
        return np.full(size, 255, np.uint8), np.zeros(size, np.float32)
    half = pinhole.resized(pinhole.width // 2, pinhole.height // 2)
    shaded = renderer.render(_lit_as(scene, (*receivers, *scene.meshes)), camera_from_bed, half)
    bare = renderer.render(_lit_as(scene, receivers), camera_from_bed, half)
    surface = ((shaded.part > 0) & (shaded.part <= len(receivers)) & (bare.part > 0)).astype(np.float32)
    ratio = _light(shaded.color) / np.maximum(_light(bare.color), 1e-3)
    ratio = np.clip(np.where(surface > 0, ratio, 1.0), 0.05, 1.0).astype(np.float32)
    # Under the people nothing is known; there the shade of what lies beside them goes on.
    weight = cv2.GaussianBlur(surface, (0, 0), 1.0)
    near = cv2.GaussianBlur(ratio * surface, (0, 0), 1.0) / np.maximum(weight, 1e-4)
    wide_weight = cv2.GaussianBlur(surface, (0, 0), 4.0)
    wide = cv2.GaussianBlur(ratio * surface, (0, 0), 4.0) / np.maximum(wide_weight, 1e-4)
    smooth = np.where(weight > 0.2, near, np.where(wide_weight > 0.01, wide, 1.0))
    size = (pinhole.width, pinhole.height)
    full = cv2.resize(smooth.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return (
        np.clip(np.rint(full * 255), 0, 255).astype(np.uint8),
        np.asarray(cv2.resize(shaded.depth, size, interpolation=cv2.INTER_NEAREST), np.float32),
    )


def _lit_as(scene: Scene, meshes: tuple[Mesh, ...]) -> Scene:
    """The light of `scene` on other meshes."""
    return Scene(meshes, scene.lights, scene.sky, scene.ground)


def _light(color: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear light (H, W) behind a rendered picture."""
    return without_shoulder(_TO_LINEAR[color].mean(axis=2)).astype(np.float32)


def _displayed(light: NDArray[np.floating]) -> NDArray[np.float32]:
    """Display values 0…255 of linear light 0…1."""
    return np.asarray(_TO_DISPLAY[(light * 16383 + 0.5).astype(np.int32)], dtype=np.float32)
