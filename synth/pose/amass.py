"""AMASS recordings (Mahmood et al. 2019) of the site's own: SMPL-H `*_poses.npz` and SMPL-X `*_stageii.npz`.

Other `.npz` files, such as each subject's `shape.npz`, lie beside them in the folders AMASS delivers.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.npz import npz_shapes
from synth.pose.motion import MotionFrame, MotionPoses

# Width of `poses` -> where the hands' 90 numbers begin; root and body are the first 66 in both.
_HANDS_AT = {156: 66, 165: 75}


@lru_cache(maxsize=16)
def _poses(path: Path) -> NDArray[np.float64]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file["poses"], dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise WardposeError(f"cannot be read: {error}", where=str(path)) from error


class AmassPoses(MotionPoses):
    """`PoseSource` of a folder of AMASS files. Their world has z up, and their axes are SMPL-X's."""

    name = "amass"
    patterns = ("*_poses.npz", "*_stageii.npz")

    @classmethod
    def count_frames(cls, path: Path) -> int:
        shape = npz_shapes(path).get("poses", ())
        if len(shape) != 2 or shape[1] not in _HANDS_AT or not shape[0]:
            raise WardposeError(
                f"is no AMASS recording (poses {shape or 'missing'}, not frames × 156 or 165)", where=str(path),
                mend="take the file out",
            )  # fmt: skip
        return shape[0]

    @classmethod
    def read_frame(cls, path: Path, index: int) -> MotionFrame:
        row = _poses(path)[index]
        if not np.isfinite(row).all():
            raise WardposeError(f"frame {index} is not finite", where=str(path), mend="take the file out")
        hands = row[_HANDS_AT[len(row)] :][:90].reshape(2, 15, 3)
        return MotionFrame(Rotation.from_rotvec(row[:3]).as_matrix(), row[3:66].reshape(21, 3), hands)
