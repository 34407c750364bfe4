"""People in and beside a bed, as a live process would tell them: bodies in the bed frame before a known camera."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint
from runtime.belief import DOUBTFUL, SURE
from runtime.state import STALE_S

CAMERA = CameraModel(1280, 720, 610.0, 610.0, 639.5, 359.5)
# COCO's joints, metres in the bed frame: on the back, the head on the pillow.
LYING = np.array([
    [-0.78, 0, 0.22], [-0.82, 0.03, 0.21], [-0.82, -0.03, 0.21], [-0.82, 0.08, 0.16], [-0.82, -0.08, 0.16],
    [-0.55, 0.19, 0.13], [-0.55, -0.19, 0.13], [-0.28, 0.28, 0.12], [-0.27, -0.28, 0.12], [-0.05, 0.24, 0.16],
    [-0.08, -0.12, 0.24], [-0.02, 0.11, 0.12], [-0.02, -0.11, 0.12], [0.40, 0.13, 0.14], [0.36, -0.15, 0.28],
    [0.80, 0.12, 0.10], [0.72, -0.15, 0.10],
])  # fmt: skip
STANDING = np.array([
    [0, 0, 1.62], [0.03, -0.03, 1.65], [-0.03, -0.03, 1.65], [0.08, 0, 1.62], [-0.08, 0, 1.62], [0.2, 0.02, 1.42],
    [-0.2, 0.02, 1.42], [0.26, 0.05, 1.12], [-0.26, 0.02, 1.12], [0.2, -0.12, 0.95], [-0.24, -0.1, 0.9],
    [0.12, 0.02, 0.95], [-0.12, 0.02, 0.95], [0.12, 0, 0.5], [-0.12, 0, 0.5], [0.12, 0.03, 0.08], [-0.12, 0.03, 0.08],
])  # fmt: skip
# On the edge of the bed, at the patient's right, the feet on the floor.
SITTING = np.array([
    [0.10, -0.42, 0.75], [0.13, -0.45, 0.78], [0.07, -0.45, 0.78], [0.18, -0.42, 0.75], [0.02, -0.42, 0.75],
    [0.30, -0.42, 0.55], [-0.10, -0.42, 0.55], [0.38, -0.50, 0.30], [-0.18, -0.50, 0.30], [0.30, -0.60, 0.12],
    [-0.10, -0.60, 0.12], [0.22, -0.40, 0.08], [-0.02, -0.40, 0.08], [0.22, -0.72, 0.05], [0.00, -0.72, 0.05],
    [0.22, -0.74, -0.42], [0.00, -0.74, -0.42],
])  # fmt: skip


def calibration(azimuth_deg: float = 20.0, backrest_deg: float = 0.0) -> CalibrationEstimate:
    camera_from_bed = Viewpoint(azimuth_deg, 38.0, 2.7).camera_from_bed
    bed = Bed(backrest_deg=backrest_deg)
    return CalibrationEstimate(CAMERA, bed, camera_from_bed, np.eye(6) * 1e-6, 0.3, "tags", confirmed=True)


def person(
    joints: NDArray[np.floating], seen_by: CalibrationEstimate, *, number: int = 1, score: float = 0.9, **more: Any
) -> dict[str, Any]:
    """A person of a message. joints: (17, 3) in the bed frame, metres."""
    pixels = CAMERA.project(joints @ seen_by.camera_from_bed[:3, :3].T + seen_by.camera_from_bed[:3, 3])
    low, high = pixels.min(axis=0) - 25, pixels.max(axis=0) + 25
    points = [[round(float(x), 1), round(float(y), 1), score] for x, y in pixels]
    box = [round(float(v), 1) for v in (*low, *high)]
    return {"id": number, "box": box, "score": score, "keypoints": points, "shown": "skeleton"} | more


def beside(x: float = 0.2, y: float = -0.85, height: float = 0.55) -> NDArray[np.float64]:
    """Somebody standing beside the bed at (x, y)."""
    return np.asarray(STANDING + np.array([x, y, -height]), np.float64)


def live(people: list[dict[str, Any]], *, index: int = 1, **more: Any) -> dict[str, Any]:
    """A message of a live path that sees a camera's picture now."""
    at = time.monotonic()
    said = {"version": 1, "state": "live", "message": "", "fps": 30.0, "people": people, "captured_at": at - 0.04}
    said |= {
        "finished_at": at,
        "frame_index": index,
        "width": CAMERA.width,
        "height": CAMERA.height,
        "origin": "camera",
    }
    said |= {"sure": SURE, "doubtful": DOUBTFUL, "pause": None, "stale_s": STALE_S, "patient": None}
    return said | {"engines": {"detector": "onnxruntime CPU"}} | more


def whereabouts(place: str, for_s: float, sure: float = 0.93, *, seen: bool = True) -> dict[str, Any]:
    """Where the patient is, as a message says it."""
    others = [name for name in ("in-bed", "on-edge", "out-of-bed", "nobody") if name != place]
    chances = {place: sure} | dict.fromkeys(others, (1 - sure) / 3)
    return {"place": place, "probability": chances, "for_s": for_s, "seen": seen, "id": 1, "words": ""}
