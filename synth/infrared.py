"""What a time-of-flight camera sees besides colour: depth with its noise and holes, and the picture in its own
infrared light.

The infrared light comes from beside the lens, so that the picture has no shadows and every surface answers with
albedo · cos / distance². Dyes and melanin hardly absorb at 850 nm: skin of every tone and most cloth are bright.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.body.figure import Figure
from synth.color import linear, srgb
from synth.render.mesh import Mesh
from synth.render.renderer import Renderer, Scene
from synth.sensor import Lens
from synth.ward.lights import without_shoulder

COUNTS = 1500.0  # of a white surface at 1 m, faced squarely; a Kinect's recording has a median of 575 · m² over a room
_READ_NOISE, _SHOT_NOISE, _SPECKLE = 6.0, 0.8, 0.02
_RANGE_MM = (500, 5460)  # of the narrow mode
_GRAZING = 0.12  # cosine below which hardly any light comes back
_FAR_M = 3.0  # where a photograph's things are taken to be, whose distance nobody knows
_WHITE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def infrared(
    renderer: Renderer, scene: Scene, figures: Sequence[Figure], camera_from_bed: NDArray[np.float64], lens: Lens,
    color: NDArray[np.uint8], part: NDArray[np.uint8], depth: NDArray[np.float32], rng: np.random.Generator,
) -> NDArray[np.uint16]:  # fmt: skip
    """The infrared picture (H, W) uint16 in a Kinect's counts.

    color (H, W, 3), part and depth (H, W) are those of the finished picture through the lens: where nothing of the
    scene is seen (part 0), the colour stands for the reflectance.
    """
    drawn = renderer.render(in_infrared(scene, figures), camera_from_bed, lens.pinhole)
    reflected = lens.bend_color(drawn.color)[..., 0] / 255.0
    own = without_shoulder(linear(reflected))
    behind = _undyed(linear(color / 255.0) @ _WHITE)
    albedo = np.where(part > 0, own, behind)
    distance = np.where(depth > 0, depth, _FAR_M)
    facing = np.where(depth > 0, facing_ratio(depth, lens), 1.0)
    counts = COUNTS * albedo * facing / distance**2
    noise = np.sqrt(_READ_NOISE**2 + _SHOT_NOISE * counts + (_SPECKLE * counts) ** 2)
    counts = counts + noise * rng.standard_normal(counts.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def shown(counts: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The infrared picture as a grey one (H, W, 3) uint8, at the gain that an automatic exposure would choose."""
    white = max(float(np.percentile(counts, 97)), 20.0)
    grey = np.rint(255 * srgb(counts / white)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def in_infrared(scene: Scene, figures: Sequence[Figure]) -> Scene:
    """The scene in even light, its surfaces as grey as they are in near infrared."""
    skin = {id(figure.meshes[0]) for figure in figures}
    hair = {id(figure.meshes[index]) for figure in figures for index in figure.hair}
    worn = {id(figure.meshes[index]) for figure in figures for index in figure.clothes}
    meshes = []
    for mesh in scene.meshes:
        light = mesh.colors @ _WHITE
        if id(mesh) in skin:
            # Lips and brows show a little; the tone does not.
            grey = 0.58 * np.clip(light / max(float(np.median(light)), 1e-3), 0.6, 1.1) ** 0.5
        elif id(mesh) in hair:
            grey = 0.25 + 0.3 * np.sqrt(light)
        elif id(mesh) in worn:
            grey = 0.5 + 0.35 * np.sqrt(light)
        else:
            grey = np.where(light > 1.0, 0.05, _undyed(light))  # windows and lamps shine in daylight only
        meshes.append(_grey(mesh, np.clip(grey, 0.02, 0.92)))
    return Scene(tuple(meshes), (), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def _undyed(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """Near-infrared reflectance of things whose visible one is known: paints and dyes darken it less."""
    return np.asarray(0.15 + 0.65 * np.clip(light, 0, 1) ** 0.6, dtype=np.float64)


def _grey(mesh: Mesh, reflectance: NDArray[np.floating]) -> Mesh:
    colors = np.repeat(reflectance.astype(np.float32)[:, None], 3, axis=1)
    texture = mesh.texture
    if texture is not None:
        faded = 0.65 + 0.35 * (texture @ _WHITE) / 255.0  # prints fade with their dyes
        texture = np.repeat(np.rint(255 * faded).astype(np.uint8)[..., None], 3, axis=2)
    return replace(mesh, colors=colors, texture=texture, gloss=0.0)


def facing_ratio(depth: NDArray[np.float32], lens: Lens) -> NDArray[np.float64]:
    """Cosine (H, W) between each surface's normal and the ray that sees it; at edges, that of the smoother side."""
    points = lens.rays() * depth[..., None]
    across, down = _slope(points, 1), _slope(points, 0)
    normals = np.cross(down, across)
    length = np.linalg.norm(normals, axis=2) * np.linalg.norm(points, axis=2)
    cosine = np.abs((normals * points).sum(axis=2)) / np.maximum(length, 1e-12)
    return np.asarray(np.clip(cv2.blur(cosine, (3, 3)), 0.05, 1.0), dtype=np.float64)


def _slope(points: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The smaller of the one-sided differences along `axis`."""
    step = np.diff(points, axis=axis)
    last = np.take(step, [-1], axis=axis)
    first = np.take(step, [0], axis=axis)
    ahead, behind = np.concatenate([step, last], axis=axis), np.concatenate([first, step], axis=axis)
    nearer = np.abs(ahead[..., 2:]) <= np.abs(behind[..., 2:])
    return np.where(nearer, ahead, behind)


def millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Ideal depth (H, W) uint16 mm; 0 = none."""
    return np.clip(np.rint(depth * 1000.0), 0, 65535).astype(np.uint16)


def kinect_depth(depth: NDArray[np.float32], lens: Lens, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Depth (H, W) uint16 mm as a Kinect would have measured it, 0 = no reading.

    Noise of 1.5 mm at 1 m that grows with the square of the distance and with the angle, part of it smooth as that of
    the sensor's filter is; no reading out of range, at grazing angles, and on a part of the pixels at edges.
    """
    facing = facing_ratio(depth, lens)
    sigma = (1.0 + 0.5 * depth**2) / np.sqrt(facing)
    grain = rng.standard_normal((2, *depth.shape), dtype=np.float32)
    smooth = cv2.GaussianBlur(grain[0], (0, 0), 1.5) * 5.3  # blurring leaves a standard deviation of 1 / 5.3
    noisy = depth * 1000.0 + sigma * (0.8 * smooth + 0.6 * grain[1])
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > 0.04 * np.maximum(depth, 0.1)
    lost = (depth * 1000 < _RANGE_MM[0]) | (depth * 1000 > _RANGE_MM[1]) | (facing < _GRAZING)
    lost |= jump & (rng.random(depth.shape) < 0.5)
    return np.where(lost, 0, np.clip(np.rint(noisy), 0, 65535)).astype(np.uint16)
