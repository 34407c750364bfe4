"""Where a face's parts are on a topology's template, as fields over its vertices."""

from __future__ import annotations

import numpy as np

from synth.look.anatomy import Anatomy


class Face:
    """eye_x, nose_y, nose_z, mouth_z: metres on the template. front, lips (V,) bool; jaw (V,) float32 0…1: where men
    have stubble; beard, moustache, goatee (V,): fields positive inside, metres to the edge."""

    def __init__(self, anatomy: Anatomy) -> None:
        a = anatomy
        skin = (a.head > 0.5) & (a.eye < 0.5)
        self.eye_x = float(a.bone("eye.L")[0])
        self.nose_y = float(a.y[skin].min())
        self.nose_z = float(a.z[skin][a.y[skin].argmin()])
        self.mouth_z = self.nose_z - 0.038
        self.front = skin & (a.template_normals[:, 1] < -0.2)
        depth = a.y - self.nose_y
        mouth = ((a.x / 0.026) ** 2 + ((a.z - self.mouth_z) / 0.010) ** 2) < 1
        self.lips = self.front & mouth & (depth < 0.05)
        side = np.abs(a.x)
        # Cheek line: under the nose in front, rising to the ear; and down to where chin turns into neck.
        top = (
            self.nose_z - 0.018 - 0.022 * np.clip((side - 0.012) / 0.02, 0, 1) + 0.75 * np.clip(depth - 0.055, 0, 0.06)
        )
        bottom = self.mouth_z - 0.062 + 0.25 * np.clip(depth - 0.03, 0, 0.1)
        inside_mouth = (side < 0.036) & (np.abs(a.z - self.mouth_z) < 0.026) & (depth > 0.027)
        cheek = np.minimum(np.minimum(top - a.z, a.z - bottom), 0.118 - depth)
        clear = (np.sqrt((a.x / 0.026) ** 2 + ((a.z - self.mouth_z) / 0.009) ** 2) - 1) * 0.01
        away = ~((a.head > 0.3) & (a.eye < 0.5)) | inside_mouth
        self.beard = np.where(away, -0.03, np.minimum(cheek, np.where(depth < 0.05, clear, 0.02)))
        lip = 0.011 - np.abs(a.z - (self.mouth_z + 0.016) + 0.12 * np.clip(side - 0.01, 0, 1))
        self.moustache = np.where(
            away | (depth > 0.05), -0.03, np.minimum(np.minimum(lip, 0.033 - side), clear + 0.003)
        )
        chin = np.minimum(np.minimum(self.mouth_z - 0.012 - a.z, a.z - bottom), 0.034 - side)
        self.goatee = np.where(away, -0.03, np.maximum(self.moustache, np.minimum(chin, clear)))
        self.jaw = np.clip(self.beard / 0.012, 0.0, 1.0).astype(np.float32)
