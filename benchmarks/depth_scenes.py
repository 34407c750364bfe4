"""Hospital beds as a depth camera sees them, ray-cast from boxes and ellipsoids: no renderer of ours is involved.

Everything stands in the bed frame (origin at the mattress-top centre, x toward the foot end, y to the patient's left,
z up). The noise is a time-of-flight camera's: a wrong scale and offset per camera, noise that grows with distance,
readings missing or lying between two surfaces at edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.camera import CameraModel

MATTRESS_THICKNESS, HINGE_X = 0.16, -0.15
NEAREST_M, FARTHEST_M = 0.5, 4.5

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Block:
    """A box from `low` to `high`, turned by `turn` about the point `about`."""

    low: Vector
    high: Vector
    turn: Rotation = field(default_factory=Rotation.identity)
    about: Vector = (0.0, 0.0, 0.0)

    def hit(self, origin: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """Along each of rays (N, 3) from origin (3,), the first crossing in units of the ray; inf where it misses."""
        back = self.turn.inv()
        start, direction = back.apply(origin - self.about) + self.about, back.apply(rays)
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = (np.asarray(self.low) - start) / direction, (np.asarray(self.high) - start) / direction
        enter, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
        return np.where((enter < leave) & (enter > 0), enter, np.inf)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid about `centre` with the half axes `radii`, tilted by `turn` about the point `about`."""

    centre: Vector
    radii: Vector
    turn: Rotation = field(default_factory=Rotation.identity)
    about: Vector = (0.0, 0.0, 0.0)

    def hit(self, origin: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `Block.hit`."""
        back = self.turn.inv()
        start = (back.apply(origin - self.about) + self.about - self.centre) / self.radii
        direction = back.apply(rays) / self.radii
        a, b, c = (direction**2).sum(axis=1), direction @ start, float(start @ start) - 1
        inside = b * b - a * c
        return np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)


@dataclass(frozen=True)
class BedScene:
    """What stands on and around one bed; boards and rails stand `board_gap` and `rail_gap` off the mattress, metres.

    standing: False where the bed itself is away and only the room is there. others: furniture beside it.
    """

    bed: Bed
    patient: bool = False
    blanket: bool = False
    boards: bool = True
    rails: tuple[int, ...] = ()
    backrest_deg: float = 0.0
    board_gap: float = 0.02
    board_thickness: float = 0.05
    rail_gap: float = 0.02
    wall: bool = True
    table: bool = True
    standing: bool = True
    others: tuple[Block, ...] = ()

    def parts(self) -> list[Block | Ellipsoid]:
        return [*(self._bed_parts() if self.standing else []), *self._room_parts(), *self.others]

    def _bed_parts(self) -> list[Block | Ellipsoid]:
        bed, lying = self.bed, Rotation.from_euler("y", self.backrest_deg, degrees=True)
        x, y, floor = bed.length / 2, bed.width / 2, -bed.height
        raised = {"turn": lying, "about": (HINGE_X, 0.0, -MATTRESS_THICKNESS / 2)}
        parts: list[Block | Ellipsoid] = [
            Block((HINGE_X, -y, -MATTRESS_THICKNESS), (x, y, 0.0)),
            Block((-x, -y, -MATTRESS_THICKNESS), (HINGE_X, y, 0.0), **raised),
            Block((-x, -y + 0.05, floor + 0.2), (x, y - 0.05, -MATTRESS_THICKNESS - 0.01)),
            Ellipsoid((-x + 0.25, 0.0, 0.02), (0.2, 0.32, 0.08), **raised),
        ]
        if self.boards:
            inner, outer = x + self.board_gap, x + self.board_gap + self.board_thickness
            parts.append(Block((-outer, -y - 0.03, floor + 0.25), (-inner, y + 0.03, 0.35)))
            parts.append(Block((inner, -y - 0.03, floor + 0.25), (outer, y + 0.03, 0.12)))
        for side in self.rails:
            low, high = sorted((side * (y + self.rail_gap), side * (y + self.rail_gap + 0.03)))
            parts.append(Block((-0.7, low, 0.05), (0.1, high, 0.3)))
        if self.patient:
            body = (
                ((-0.75, 0, 0.14), (0.12, 0.09, 0.11), True), ((-0.42, 0, 0.08), (0.32, 0.2, 0.13), True),
                ((0.05, 0, 0.07), (0.25, 0.19, 0.12), False), ((0.5, 0.1, 0.06), (0.42, 0.08, 0.08), False),
                ((0.5, -0.1, 0.06), (0.42, 0.08, 0.08), False), ((-0.35, 0.29, 0.05), (0.28, 0.05, 0.05), True),
                ((-0.35, -0.29, 0.05), (0.28, 0.05, 0.05), True),
            )  # fmt: skip
            parts += [
                Ellipsoid(centre, radii, **(raised if upper else {}))  # type: ignore[arg-type]
                for centre, radii, upper in body
            ]
        if self.blanket:
            parts.append(Block((-0.1, -y - 0.015, -0.2), (x - 0.08, y + 0.015, 0.015)))
            if self.patient:
                parts.append(Ellipsoid((0.4, 0.0, 0.0), (0.62, 0.33, 0.2)))
        return parts

    def _room_parts(self) -> list[Block | Ellipsoid]:
        x, y, floor = self.bed.length / 2, self.bed.width / 2, -self.bed.height
        parts: list[Block | Ellipsoid] = []
        if self.wall:
            parts.append(Block((-x - 0.3, -4.0, floor), (-x - 0.25, 4.0, floor + 2.8)))
        if self.table:
            parts.append(Block((-x - 0.2, y + 0.45, floor), (-x + 0.1, y + 0.95, floor + 0.75)))
        return parts


@lru_cache(maxsize=2)
def _rays(camera: CameraModel) -> NDArray[np.float64]:
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = camera.unproject(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64))
    # The Kinect's narrow field of view ends in a hexagon; beyond it there is no light and no reading.
    reach = np.hypot(rays[:, 0] / np.tan(np.radians(37.5)), rays[:, 1] / np.tan(np.radians(32.5)))
    rays[~(reach < 1.02)] = np.nan
    return rays


def cast(scene: BedScene, camera: CameraModel, depth_from_bed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth (H, W) along the optical axis, metres; 0 where nothing is hit."""
    rays = _rays(camera)
    rotation = depth_from_bed[:3, :3]
    origin, directions = -rotation.T @ depth_from_bed[:3, 3], rays @ rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = -(scene.bed.height + origin[2]) / directions[:, 2]
        nearest = np.where(floor > 0, floor, np.inf)
        for part in scene.parts():
            nearest = np.fmin(nearest, part.hit(origin, directions))
    nearest[~np.isfinite(nearest) | np.isnan(rays[:, 0])] = 0.0
    return nearest.reshape(camera.height, camera.width)


def time_of_flight(
    metres: NDArray[np.float64], rng: np.random.Generator, frames: int = 5, *,
    scale_error: float = 0.001, offset_error_m: float = 0.004,
) -> NDArray[np.uint16]:  # fmt: skip
    """Readings (frames, H, W), millimetres, 0 = none, of the true depth (H, W).

    One scale and one offset hold for the camera; they are drawn with the given standard deviations.
    """
    scale, offset = 1 + rng.normal(0.0, scale_error), rng.normal(0.0, offset_error_m)
    kernel = np.ones((3, 3))
    near, far = cv2.erode(metres, kernel), cv2.dilate(metres, kernel)
    edge = far - near > 0.08
    readings = np.zeros((frames, *metres.shape), np.uint16)
    for reading in readings:
        seen = metres * scale + offset + rng.normal(0.0, 1.0, metres.shape) * (0.0015 + 0.00055 * metres**2)
        between = near + (far - near) * rng.uniform(0, 1, metres.shape)
        seen = np.where(edge, np.where(rng.uniform(0, 1, metres.shape) < 0.5, 0.0, between), seen)
        seen[(metres <= 0) | (seen < NEAREST_M) | (seen > FARTHEST_M)] = 0.0
        reading[:] = np.round(1e3 * seen)
    return readings
