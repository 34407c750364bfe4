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
from synth.npz import npz_shapes, read_npz
from synth.pose.motion import MotionFrame, MotionPoses

# Width of `poses` -> where the hands' 90 numbers begin; root and body are the first 66 in both.
_HANDS_AT = {156: 66, 165: 75}
_MOST_RAD = 4 * np.pi  # turns of a joint: what lies beyond is in degrees, or noise


@lru_cache(maxsize=16)
def _poses(path: Path) -> NDArray[np.float64]:
    poses = np.asarray(read_npz(path, ["poses"])["poses"], dtype=np.float64)
    turns = np.linalg.norm(poses[:, :66].reshape(len(poses), 22, 3), axis=2)
    if turns.max() > _MOST_RAD:
        frame, joint = np.unravel_index(int(turns.argmax()), turns.shape)
        raise WardposeError(
            f"frame {frame} turns joint {joint} by {turns.max():.0f}: no radians", where=str(path),
            mend="write the poses as axis-angle in radians, or take the file out",
        )  # fmt: skip
    return poses


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
        hands = row[_HANDS_AT[len(row)] :][:90].reshape(2, 15, 3)
        return MotionFrame(Rotation.from_rotvec(row[:3]).as_matrix(), row[3:66].reshape(21, 3), hands)
