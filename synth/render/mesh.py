"""Triangles with colour, in the bed frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Mesh:
    """One surface.

    vertices: (V, 3) float32, bed frame, metres. triangles: (T, 3) int32. colors: (V, 3) float32, linear albedo 0…1,
    above 1 for what shines by itself (a window, a lamp). instance: 0 = surroundings, 1… = the person the surface
    belongs to. A texture (h, w, 3) uint8 sRGB with `uv` (V, 2), repeating, multiplies the colours where given. A
    single-sided surface is invisible from behind (by winding): a room's walls, which a camera may stand behind.
    gloss: 0 matt … 1 polished, how clearly lights and sky are mirrored.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colors: NDArray[np.float32]
    instance: int = 0
    uv: NDArray[np.float32] | None = None
    texture: NDArray[np.uint8] | None = None
    single_sided: bool = False
    gloss: float = 0.0

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            raise ValueError(f"vertices must be (V, 3), got {self.vertices.shape}")
        if self.colors.shape != self.vertices.shape:
            raise ValueError(f"colors must be {self.vertices.shape} like the vertices, got {self.colors.shape}")
        if self.triangles.ndim != 2 or self.triangles.shape[1] != 3:
            raise ValueError(f"triangles must be (T, 3), got {self.triangles.shape}")
        # As unsigned numbers, negative ones are too large as well.
        if len(self.triangles) and not self.triangles.view(np.uint32).max() < len(self.vertices):
            raise ValueError("triangles name vertices that do not exist")
        if (self.texture is None) != (self.uv is None):
            raise ValueError("a texture needs uv coordinates, and the other way round")
        if not 0 <= self.instance <= 255:
            raise ValueError(f"instance must be 0–255, got {self.instance}")
        if not 0.0 <= self.gloss <= 1.0:
            raise ValueError(f"gloss must be 0–1, got {self.gloss}")

    def mirrored(self) -> Mesh:
        """The mirror image in the bed's plane y = 0, wound so that fronts stay fronts."""
        vertices = self.vertices * np.array([1, -1, 1], np.float32)
        return replace(self, vertices=vertices, triangles=np.ascontiguousarray(self.triangles[:, ::-1]))
