"""A picture that was taken, not rendered, as people are put before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.render.mesh import Mesh
from synth.ward.lights import Lighting


@dataclass(frozen=True)
class Backdrop:
    """What stands behind the people, seen through one (distorted) camera from one place.

    color: (H, W, 3) uint8 RGB. depth: (H, W) float32 metres, inf where nothing is known to be in front of anybody.
    give: (H, W) float32 metres that a person may lie behind that depth and still be seen: soft things give way, and
    depth is not exact. receivers: surfaces, bed frame, on which shadows fall. lighting: the light the picture was
    taken in. blur_px: defocus of the picture (standard deviation, px). bed: whether the scene's own bed is drawn, since
    the picture has none, or has it elsewhere.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    give: NDArray[np.float32]
    receivers: tuple[Mesh, ...]
    lighting: Lighting
    blur_px: float = 0.0
    bed: bool = False
