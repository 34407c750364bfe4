"""Putting a posed body where it belongs: on the mattress, on its edge, on the floor; and the dent it makes there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from synth.body.body_model import Pose, PosedBody
from synth.pose.support import Support

EDGE = 0.02  # metres kept between a lying body and the mattress' sides
_SINK = (0.010, 0.018)  # metres a body sinks into the mattress
_UPRIGHT = 0.93  # vertical part of the trunk's direction from which somebody in bed sits freely
_LEANING_DEG = 25.0  # within this of the backrest's angle the trunk lies on it


def moved(posed: PosedBody, offset: NDArray[np.float64]) -> PosedBody:
    """The body, shifted by `offset` (3,) metres."""
    shift = offset.astype(np.float32)
    blend = posed.blend.copy()
    blend[:, :, 3] += shift
    return PosedBody(posed.vertices + shift, posed.keypoints + offset, blend, posed.pose.moved(offset))


def on_floor(posed: PosedBody, position: tuple[float, float], floor_z: float, sunk: float = 0.0) -> PosedBody:
    """On the plane z = floor_z, its hips over `position` (bed frame x, y); a share `sunk` of its skin may be lower."""
    low = float(np.quantile(posed.vertices[:, 2], sunk))
    middle = posed.keypoints[11:13].mean(0)
    return moved(posed, np.array([position[0] - middle[0], position[1] - middle[1], floor_z - low]))


def on_edge(rng: np.random.Generator, posed: PosedBody, bed: Bed, side: float) -> PosedBody:
    """Thighs on the mattress, the hollows of the knees at its edge, feet hanging beside it."""
    hips, knees = posed.keypoints[11:13].mean(0), posed.keypoints[13:15].mean(0)
    # Thighs and seat, not the shins that hang in front of the mattress.
    over = (posed.vertices[:, 1] * side < knees[1] * side - 0.08) & (posed.vertices[:, 2] > knees[2] - 0.14)
    low = float(np.quantile(posed.vertices[over, 2], 0.01))
    x = float(rng.uniform(-0.05, 0.3)) * bed.length
    return moved(
        posed, np.array([x - hips[0], side * (bed.width / 2 + 0.05) - knees[1], -float(rng.uniform(*_SINK)) - low])
    )


def on_mattress(rng: np.random.Generator, posed: PosedBody, pose: Pose, support: Support) -> PosedBody:
    """Its weight on the mattress, or on seat and backrest alike, and its outline inside the edges."""
    vertices = posed.vertices.astype(np.float64)
    sink = float(rng.uniform(*_SINK))
    low, high = vertices.min(0), vertices.max(0)
    margin_x, margin_y = support.length / 2 - 0.04, support.width / 2 - EDGE
    y = -0.5 * (low[1] + high[1])
    room = 2 * margin_y - (high[1] - low[1])
    if room > 0:
        y += float(np.clip(rng.normal(0.0, 0.06), -room / 2, room / 2))
    trunk = pose.root[:, 1]
    # From hips to shoulders: the pelvis itself may have slid down and lie flatter.
    back = posed.keypoints[[5, 6]].mean(0) - posed.keypoints[[11, 12]].mean(0)
    rise_deg = np.degrees(np.arcsin(np.clip(back[2] / np.linalg.norm(back), -1, 1)))
    lying_on_backrest = abs(rise_deg - support.backrest_deg) < _LEANING_DEG
    if support.backrest_deg > 0 and lying_on_backrest:
        # Seat and backrest touch together: heights over the two planes give two equations for x and z.
        hips = posed.keypoints[11:13].mean(0)
        normal = support.back_normal
        tilt = np.radians(support.backrest_deg)
        upper = (vertices - hips) @ np.array([-np.cos(tilt), 0.0, np.sin(tilt)]) > 0.05
        z = -sink - float(np.quantile(vertices[~upper, 2], 0.02))
        lowest = float(np.quantile(vertices[upper] @ normal, 0.02))
        x = (-sink + support.hinge_x * normal[0] - lowest - z * normal[2]) / normal[0]
        return moved(posed, np.array([x, y, z]))
    x = float(rng.normal(0.0, 0.05)) - 0.5 * (low[0] + high[0])
    sitting = bool(trunk[2] > _UPRIGHT)
    if sitting:
        x = support.hinge_x + float(rng.uniform(0.15, 0.35)) - float(posed.keypoints[11:13, 0].mean())
    room = 2 * margin_x - (high[0] - low[0])
    x = float(np.clip(x, -margin_x - low[0], margin_x - high[0])) if room > 0 else -0.5 * (low[0] + high[0])
    quantile = 0.004 if sitting else 0.01
    return moved(posed, np.array([x, y, -sink - float(np.quantile(vertices[:, 2], quantile))]))


def excess(posed: PosedBody, support: Support) -> float:
    """Metres by which a body reaches beyond the mattress' edges; zero or less where it fits."""
    extent = np.abs(posed.vertices[:, :2]).max(0) - [support.length / 2, support.width / 2 - EDGE]
    return float(extent.max())


def pressed(vertices: NDArray[np.float32], support: Support, depth: float = 0.012) -> NDArray[np.float32]:
    """Flatten what lies in the mattress: flesh and cloth give way, at most `depth` further than the sink allows."""
    height = support.height(vertices)
    inside = (height < -depth) & (np.abs(vertices[:, 1]) < support.width / 2)
    if not inside.any():
        return vertices
    found = vertices.astype(np.float64)
    deep = -depth - height[inside]
    back = support.back_height(found[inside]) < found[inside, 2]
    normal = np.where(back[:, None], support.back_normal, np.array([0.0, 0.0, 1.0]))
    found[inside] += normal * (deep - 0.012 * (1.0 - np.exp(-deep / 0.012)))[:, None]
    return np.asarray(found, dtype=np.float32)
