"""Letting a sampled posture come to rest on the mattress, with MuJoCo.

Each joint is a spring toward the sampled angle; gravity, contact with a soft mattress and joint limits do the rest.
What does not come to rest, rolls over, leaves the mattress or sinks into it is rejected, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, JOINTS, BodyModel, Pose, RestBody
from synth.body.measure import vertex_areas
from synth.pose.clinical import Angles, limits_of
from synth.pose.mechanism import Build, free_axes, mechanism
from synth.pose.support import Support

_RESTING, _STILL = 0.08, 0.35  # m/s and rad/s: at rest, and as good as
_AVERAGE_HEIGHT = 1.72
# N·m/rad for each kg·m: somebody on the side keeps their balance by muscles that no spring at a joint stands for.
_BALANCE = 0.25
# Metres, of an adult: no more than this is between the mattress and the flesh of somebody lying, at the lower shoulder
# and at the lower hip.
_LIFTED = 0.035


@dataclass(frozen=True, slots=True)
class Settled:
    """A pose at rest, or why it was rejected."""

    pose: Pose | None
    rejected: str = ""


class Settler:
    """One body over one bed, ready to drop poses. Imports MuJoCo.

    held, arms_held: the share of the legs' and of the arms' weight that muscles carry (see `mechanism`). length,
    width: of the mattress, metres.
    """

    def __init__(
        self, body: BodyModel, rest: RestBody, backrest_deg: float, *, held: float = 0.0,
        arms_held: float | None = None, length: float = 2.0, width: float = 0.9,
    ) -> None:  # fmt: skip
        try:
            import mujoco
        except ImportError as error:
            raise WardposeError(
                "settling needs MuJoCo", mend="pip install mujoco, or use the bank that ships"
            ) from error
        self._mujoco, self._body, self._rest = mujoco, body, rest
        self._support = Support(length, width, backrest_deg)
        self._scale = rest.height_m / _AVERAGE_HEIGHT
        build = Build.of(body, rest)
        # Joints lie as deep in the flesh as the trunk is thick: the fatter, the higher over the mattress.
        belly = build.slabs["spine1"]
        self._lifted = belly.middle[2] + belly.radius + _LIFTED * self._scale
        self._model: Any = mujoco.MjModel.from_xml_string(mechanism(build, backrest_deg, held, arms_held))
        self._balance = _BALANCE * build.mass_kg * build.height_m
        self._addresses = {
            (joint, axis): int(self._model.joint(f"{joint}_{axis}").qposadr[0])
            for joint in JOINTS
            for axis in free_axes(joint)
        }

    def settle(
        self, root: NDArray[np.float64], angles: Angles, hands: NDArray[np.float64], seconds: float = 3.0
    ) -> Settled:
        """Drop one target from just above the mattress and wait until it rests."""
        mujoco, model = self._mujoco, self._model
        data = mujoco.MjData(model)
        model.qpos_spring[:] = model.qpos0
        for (joint, axis), address in self._addresses.items():
            low, high = limits_of(joint)[axis]
            target = np.radians(np.clip(angles.get(joint, (0.0, 0.0, 0.0))[axis], low, high))
            data.qpos[address] = model.qpos_spring[address] = target
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(root).ravel())
        start = self._support.pelvis_start
        data.qpos[:3], data.qpos[3:7] = start, quaternion
        mujoco.mj_forward(model, data)
        lowest = min(
            self._support.height(
                data.geom_xpos[g] + end * data.geom_xmat[g].reshape(3, 3)[:, 2] * model.geom_size[g, 1]
            )
            - model.geom_size[g, 0]
            for g in range(2, model.ngeom)
            for end in ((-1.0, 1.0) if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_CAPSULE else (0.0,))
        )
        data.qpos[:3] += self._support.lift_direction * (0.01 - float(lowest))
        turn, error = np.zeros(4), np.zeros(3)
        for step in range(int(seconds / 0.004)):
            mujoco.mju_negQuat(turn, data.qpos[3:7])
            mujoco.mju_mulQuat(turn, quaternion, turn)
            mujoco.mju_quat2Vel(error, turn, 1.0)
            data.xfrc_applied[1, 3:] = self._balance * error
            mujoco.mj_step(model, data)
            if step % 25 == 24 and data.time > 0.6 and np.abs(data.qvel).max() < _RESTING:
                break
        if np.abs(data.qvel).max() > _STILL:
            return Settled(None, "still moving")
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, data.qpos[3:7])
        final = rotation.reshape(3, 3)
        if (final * root).sum() < 1.0 + 2.0 * np.cos(np.radians(35.0)):
            return Settled(None, "rolled over")
        euler = np.zeros((21, 3))
        for (joint, axis), address in self._addresses.items():
            euler[JOINT_INDEX[joint], axis] = data.qpos[address]
        joints = Rotation.from_euler("XYZ", euler).as_rotvec()
        pose = Pose(final, np.array(data.qpos[:3]), np.asarray(joints), hands)
        return self._inspected(pose)

    def _inspected(self, pose: Pose) -> Settled:
        posed = self._body.pose(self._rest, pose)
        vertices = posed.vertices.astype(np.float64)
        scale, support = self._scale, self._support
        if np.ptp(vertices[:, 1]) > support.width - 0.02:
            return Settled(None, "wider than the mattress")
        if np.ptp(vertices[:, 0]) > support.length - 0.1 * scale:
            return Settled(None, "longer than the mattress")
        trunk = support.height(posed.keypoints[[5, 6, 11, 12]]).reshape(2, 2).min(1)
        if trunk.max() > self._lifted:
            return Settled(None, "shoulders or hips off the mattress")
        depth = support.height(vertices)
        contact = float(np.quantile(depth, 0.01))
        if abs(contact) > 0.07 * scale:
            return Settled(None, "away from the mattress")
        depth = depth - contact
        if (depth < -0.045 * scale).mean() > 0.003:
            return Settled(None, "a limb deep in the mattress")
        skin = vertex_areas(vertices, self._body.topology.triangles)
        if skin[depth < 0.06 * scale].sum() < 0.07 * skin.sum():
            return Settled(None, "hardly touches the mattress")
        return Settled(pose)
