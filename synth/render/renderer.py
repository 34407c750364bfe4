"""What a renderer takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from synth.render.mesh import Mesh


@dataclass(frozen=True, slots=True)
class Light:
    """A directional light: `toward` (3,) is the unit vector from the scene to the light; `color` (3,) linear.

    softness: metres over which the edge of its shadow fades; a lamp's are narrow, a window's or a ceiling panel's wide.
    """

    toward: tuple[float, float, float]
    color: tuple[float, float, float]
    casts_shadow: bool = False
    softness: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a renderer needs; ambient light falls from above (`sky`) and from below (`ground`), linear."""

    meshes: tuple[Mesh, ...]
    lights: tuple[Light, ...]
    sky: tuple[float, float, float] = (0.42, 0.45, 0.5)
    ground: tuple[float, float, float] = (0.2, 0.17, 0.15)


@dataclass(frozen=True, slots=True)
class Rendering:
    """color (H, W, 3) uint8 sRGB; depth (H, W) float32 metres along the optical axis, 0 where nothing was hit;
    instance (H, W) uint8, the person's number or 0; part (H, W) uint8, index into `Scene.meshes` + 1, 0 where
    nothing."""

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[np.uint8]
    part: NDArray[np.uint8]


class Renderer(Protocol):
    """Draws a scene through an undistorted pinhole. Same scene, same picture, byte for byte."""

    name: str

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering: ...


def require_pinhole(camera: CameraModel) -> None:
    """Raise ValueError for a camera with distortion: it is put on afterwards, by `synth.sensor.Lens`."""
    if camera.distorted:
        raise ValueError("a renderer draws through an undistorted pinhole; distort the picture afterwards")
