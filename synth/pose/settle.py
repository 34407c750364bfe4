"""Letting a sampled posture come to rest on the mattress, with MuJoCo, and the bank of poses that results.

`python -m synth.pose.settle --count 400 --seed 1 --out synth/pose/settled.npz` makes the bank that ships. Each joint is
a spring toward the sampled angle; gravity, contact with a soft mattress and joint limits do the rest.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, JOINTS, PARENTS, BodyModel, Pose
from synth.pose.clinical import Angles, limits_of, sample_in_bed
from synth.pose.support import HINGE_FRACTION, Support

Progress = Callable[[int, int, str], None]

# Capsules: joint -> (from, to, radius m, share of the body's mass); Winter's and de Leva's segment masses.
_CAPSULES: dict[str, tuple[str, str, float, float]] = {
    "pelvis": ("left_hip", "right_hip", 0.105, 0.142),
    "spine1": ("spine1", "spine2", 0.11, 0.08),
    "spine2": ("spine2", "spine3", 0.115, 0.08),
    "spine3": ("left_shoulder", "right_shoulder", 0.085, 0.15),
}
_SPHERES: dict[str, tuple[tuple[float, float, float], float, float]] = {"head": ((0.0, 0.09, 0.02), 0.1, 0.081)}
for _side, _sign in (("left", 1.0), ("right", -1.0)):
    _CAPSULES |= {
        f"{_side}_hip": (f"{_side}_hip", f"{_side}_knee", 0.07, 0.1),
        f"{_side}_knee": (f"{_side}_knee", f"{_side}_ankle", 0.048, 0.0465),
        f"{_side}_ankle": (f"{_side}_ankle", f"{_side}_foot", 0.035, 0.0145),
        f"{_side}_shoulder": (f"{_side}_shoulder", f"{_side}_elbow", 0.042, 0.028),
        f"{_side}_elbow": (f"{_side}_elbow", f"{_side}_wrist", 0.034, 0.016),
    }
    _SPHERES[f"{_side}_wrist"] = ((_sign * 0.08, 0.0, 0.0), 0.035, 0.006)
_FREE_AXES = 1.5  # degrees: an axis with less range than this each way is left out of the mechanism
_BED_LENGTH, _BED_WIDTH = 2.0, 0.9
_GROUND = 2.0  # metres: wide enough that nobody falls off; the real width is a matter of rejection


@dataclass(frozen=True, slots=True)
class Settled:
    """A pose at rest, or why it was rejected. backrest_deg: of the bed it lies on."""

    pose: Pose | None
    rejected: str = ""


def _axes(joint: str) -> list[int]:
    return [k for k, (low, high) in enumerate(limits_of(joint)) if high - low > 2 * _FREE_AXES]


def mechanism(joints: dict[str, NDArray[np.float64]], mass_kg: float, backrest_deg: float) -> str:
    """MuJoCo's XML of one body over one bed (bed frame, metres). joints: T-pose positions, SMPL-X axes."""
    joints = joints | {"pelvis": np.zeros(3)}
    children: dict[str, list[str]] = {}
    for child, parent in PARENTS.items():
        children.setdefault(parent, []).append(child)

    def numbers(values: Any) -> str:
        return " ".join(f"{value:.5f}" for value in values)

    def body(name: str) -> str:
        parts = [f'<body name="{name}" pos="{numbers(joints[name] - joints[PARENTS.get(name, "pelvis")])}">']
        if name == "pelvis":
            parts.append("<freejoint/>")
        trunk = name in ("spine1", "spine2", "spine3", "neck", "head")
        for axis in _axes(name) if name != "pelvis" else ():
            low, high = limits_of(name)[axis]
            # Hip abduction and the spine are stiff, or somebody lying on the side never comes to rest.
            stiff = (
                12.0 if trunk else 8.0 if name.endswith("hip") and axis == 2 else 3.0 if name.endswith("hip") else 1.6
            )
            unit = numbers(np.eye(3)[axis])
            parts.append(
                f'<joint name="{name}_{axis}" axis="{unit}" range="{low} {high}" stiffness="{stiff}" '
                f'damping="{5.0 if trunk or name.endswith("hip") else 1.6}" armature="0.02"/>'
            )
        if name in _CAPSULES:
            start, end, radius, share = _CAPSULES[name]
            a, b = joints[start] - joints[name], joints[end] - joints[name]
            if name == "spine3":  # the chest hangs below the line of the shoulders, inside them
                a, b = a * 0.7 - [0, 0.06, 0], b * 0.7 - [0, 0.06, 0]
            if name == "pelvis":
                a, b = a * 0.6, b * 0.6
            parts.append(
                f'<geom type="capsule" size="{radius}" fromto="{numbers(a)} {numbers(b)}" '
                f'mass="{share * mass_kg:.3f}"/>'
            )
        elif name in _SPHERES:
            center, radius, share = _SPHERES[name]
            parts.append(f'<geom type="sphere" size="{radius}" pos="{numbers(center)}" mass="{share * mass_kg:.3f}"/>')
        else:
            parts.append('<inertial pos="0 0 0" mass="0.4" diaginertia=".002 .002 .002"/>')
        return "".join([*parts, *(body(child) for child in children.get(name, ())), "</body>"])

    names = ("pelvis", *JOINTS)
    near = {(child, parent) for child, parent in PARENTS.items()}
    near |= {(child, PARENTS[parent]) for child, parent in PARENTS.items() if parent in PARENTS}
    near |= {(a, b) for a in names for b in names if a < b and PARENTS.get(a) == PARENTS.get(b)}
    excluded = "".join(f'<exclude body1="{a}" body2="{b}"/>' for a, b in sorted(near))
    soft = 'solref=".04 1" solimp=".7 .95 .05" friction="1 .05 .01"'
    hinge, half, tilt = -HINGE_FRACTION * _BED_LENGTH, 0.1, np.radians(backrest_deg)
    seat, back = (_BED_LENGTH / 2 - hinge) / 2, (_BED_LENGTH / 2 + hinge) / 2 + 0.1
    along, normal = np.array([-np.cos(tilt), 0, np.sin(tilt)]), np.array([np.sin(tilt), 0, np.cos(tilt)])
    center = np.array([hinge, 0, 0]) + along * back - normal * half
    bed = (
        f'<geom type="box" size="{seat} {_GROUND / 2} {half}" pos="{hinge + seat} 0 {-half}" {soft}/>'
        f'<geom type="box" size="{back} {_GROUND / 2} {half}" pos="{numbers(center)}" '
        f'euler="0 {backrest_deg} 0" {soft}/>'
    )
    return (
        '<mujoco><compiler angle="degree"/><option timestep="0.004" integrator="implicitfast" iterations="20"/>'
        f"<worldbody>{bed}{body('pelvis')}</worldbody><contact>{excluded}</contact></mujoco>"
    )


class Settler:
    """One body over one bed, ready to drop poses. Imports MuJoCo."""

    def __init__(self, body: BodyModel, rest: Any, backrest_deg: float) -> None:
        try:
            import mujoco
        except ImportError as error:
            raise WardposeError(
                "settling needs MuJoCo", mend="pip install mujoco, or use the bank that ships"
            ) from error
        self._mujoco, self._body, self._rest = mujoco, body, rest
        self._support = Support(_BED_LENGTH, _BED_WIDTH, backrest_deg)
        mass = rest.bmi * rest.height_m**2
        self._model: Any = mujoco.MjModel.from_xml_string(mechanism(body.joint_positions(rest), mass, backrest_deg))
        self._addresses = {
            (joint, axis): int(self._model.joint(f"{joint}_{axis}").qposadr[0])
            for joint in JOINTS
            for axis in _axes(joint)
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
        for step in range(int(seconds / 0.004)):
            mujoco.mj_step(model, data)
            if step % 25 == 24 and data.time > 0.6 and np.abs(data.qvel).max() < 0.08:
                break
        if np.abs(data.qvel).max() > 0.35:
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
        vertices = self._body.pose(self._rest, pose).vertices.astype(np.float64)
        if np.ptp(vertices[:, 1]) > _BED_WIDTH - 0.02:
            return Settled(None, "wider than the mattress")
        if np.ptp(vertices[:, 0]) > _BED_LENGTH - 0.1:
            return Settled(None, "longer than the mattress")
        depth = self._support.height(vertices)
        contact = float(np.quantile(depth, 0.01))
        if abs(contact) > 0.07:
            return Settled(None, "away from the mattress")
        depth = depth - contact
        if (depth < -0.045).mean() > 0.003:
            return Settled(None, "a limb deep in the mattress")
        if (depth < 0.06).mean() < 0.12:
            return Settled(None, "hardly touches the mattress")
        return Settled(pose)


# What the bank holds: posture, backrest, share. Right laterals are mirror images of the left ones.
RECIPE: tuple[tuple[str, float, float], ...] = (
    ("supine", 0.0, 0.2), ("lateral_left", 0.0, 0.2), ("prone", 0.0, 0.1), ("knees_bent", 0.0, 0.1),
    ("arm_over_head", 0.0, 0.1), ("fowler", 25.0, 0.06), ("fowler", 40.0, 0.06), ("fowler", 55.0, 0.06),
    ("knees_bent", 40.0, 0.05), ("arm_over_head", 40.0, 0.07),
)  # fmt: skip


def make_bank(
    count: int, seed: int, progress: Progress | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """About `count` settled poses as arrays (see `bank.PoseBank`), and how often each reason rejected one."""
    from synth.body.anny_body import AVERAGE_ADULT, anny_body
    from synth.pose.clinical import relaxed_hands

    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    rows: list[tuple[str, float, Pose]] = []
    rejected: dict[str, int] = {}
    settlers: dict[float, Settler] = {}
    for entry, (posture, backrest, share) in enumerate(RECIPE):
        settler = settlers.setdefault(backrest, Settler(body, rest, backrest))
        wanted = max(1, round(count * share))
        kept = 0
        for attempt in range(wanted * 6):
            rng = np.random.default_rng([seed, entry, attempt])
            settled = settler.settle(*sample_in_bed(rng, posture, backrest), relaxed_hands(rng))
            if settled.pose is None:
                key = f"{posture}: {settled.rejected}"
                rejected[key] = rejected.get(key, 0) + 1
                continue
            rows.append((posture, backrest, settled.pose))
            kept += 1
            if progress:
                progress(len(rows), count, posture)
            if kept == wanted:
                break
    return bank_arrays(rows), rejected


def bank_arrays(rows: Sequence[tuple[str, float, Pose]]) -> dict[str, NDArray[Any]]:
    """Poses with their posture and backrest (degrees) as the arrays of a bank."""
    poses = [pose for _, _, pose in rows]
    return {
        "version": np.array(1),
        "posture": np.array([posture for posture, _, _ in rows]),
        "backrest_deg": np.array([backrest for _, backrest, _ in rows], np.float32),
        "root": np.array([Rotation.from_matrix(pose.root).as_rotvec() for pose in poses], np.float32),
        "pelvis": np.array([pose.pelvis for pose in poses], np.float32),
        "joints": np.array([pose.joints for pose in poses], np.float16),
    }


def write_bank(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the bank atomically."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Settle sampled postures on a mattress and keep what comes to rest.")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arrays, rejected = make_bank(arguments.count, arguments.seed)
    write_bank(arguments.out, arrays)
    import sys

    sys.stderr.write(f"{len(arrays['posture'])} poses kept; rejected: {rejected}\n")


if __name__ == "__main__":
    main()
