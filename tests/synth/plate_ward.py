"""A simulated ward, rendered empty as a site plate, and rendered with people to hold composites against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from calibration.bed import Bed
from calibration.estimate import CalibrationEstimate
from calibration.plate import Plate
from calibration.viewpoint import Viewpoint
from synth.body.figure import Figure
from synth.people import make_patient
from synth.render.numba_renderer import NumbaRenderer
from synth.render.renderer import Rendering, Scene
from synth.scenario import KINECT_COLOR
from synth.sensor import Lens, lens_of
from synth.ward.look import WardLook, sample_look
from synth.ward.scene import compose

CAMERA = KINECT_COLOR.resized(640, 360)


@dataclass(frozen=True)
class Ward:
    """One ward: its look, its bed, its camera; `look_seed` 2 has both rails up."""

    look: WardLook
    bed: Bed
    estimate: CalibrationEstimate

    @property
    def lens(self) -> Lens:
        return lens_of(CAMERA)

    @property
    def camera_from_bed(self) -> np.ndarray:
        return self.estimate.camera_from_bed

    def scene(self, patient: Figure | None, blanket: float = 0.0) -> Scene:
        return compose(
            np.random.default_rng(7), self.bed, patient, (), self.look, blanket,
            camera_centre=self.estimate.viewpoint.centre,
        )  # fmt: skip

    def render(self, patient: Figure | None, blanket: float = 0.0) -> Rendering:
        return self.lens.bend(
            NumbaRenderer().render(self.scene(patient, blanket), self.camera_from_bed, self.lens.pinhole)
        )

    def plate(self, *, noise_mm: float = 0.0, expires_at: str = "2999-01-01T00:00:00Z") -> Plate:
        empty = self.render(None)
        millimetres = empty.depth * 1000.0
        millimetres += np.random.default_rng(3).normal(0, 1, millimetres.shape) * noise_mm
        return Plate(
            color=empty.color, depth=np.clip(np.rint(millimetres), 0, 65535).astype(np.uint16),
            measured=empty.depth > 0, camera=CAMERA, camera_from_bed=self.camera_from_bed, bed=self.bed,
            calibration="truth", noise=0.01, captured_at="2026-01-01T00:00:00Z", expires_at=expires_at,
        )  # fmt: skip


@cache
def ward(seed: int = 0, rails: str = "both", azimuth_deg: float = 60.0) -> Ward:
    """A ward with the rails as asked for, seen at an elevation of 32° from 2.5 m.

    Without a pillow: the ward fits one to each head, which a plate of the empty bed can't.
    """
    look = sample_look(np.random.default_rng(seed), {"ceiling": 1.0})
    look = replace(
        look, bed=replace(look.bed, rails=rails, pillows=0, sheet_color=(0.78, 0.78, 0.78), sheet_fabric="plain")
    )
    bed = Bed(height=0.6)
    view = Viewpoint(azimuth_deg, 32.0, 2.5, 0.0, (0.05, 0.0, 0.05))
    estimate = CalibrationEstimate(
        camera=CAMERA, bed=bed, camera_from_bed=view.camera_from_bed, covariance=np.eye(6) * 1e-6,
        reprojection_px=0.1, method="truth", confirmed=True,
    )  # fmt: skip
    return Ward(look, bed, estimate)


@cache
def lying(seed: int = 0, posture: str = "supine") -> Figure:
    return make_patient(np.random.default_rng(seed), Bed(height=0.6), 1, posture)
