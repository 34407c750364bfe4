"""A body as MuJoCo sees it: capsules on SMPL-X's joints, springs toward a posture, over a soft mattress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import JOINTS, PARENTS, BodyModel, Pose, RestBody
from synth.body.measure import vertex_areas
from synth.body.retarget import BONE_OF_JOINT
from synth.pose.clinical import limits_of
from synth.pose.support import HINGE_FRACTION

# Capsules: joint -> (from, to, radius m on an average adult, share of the body's mass); Winter's and de Leva's masses.
_CAPSULES: dict[str, tuple[str, str, float, float]] = {
    "pelvis": ("left_hip", "right_hip", 0.105, 0.142),
    "spine3": ("left_shoulder", "right_shoulder", 0.085, 0.08),
}
# Belly, waist and ribs lie across, as deep and wide as the skin over them: share of the mass.
_SLABS = {"spine1": 0.08, "spine2": 0.08, "spine3": 0.07}
_HEAD = ((0.0, 0.074, 0.016), 0.082, 0.081)  # center from the joint, radius, share of the mass; it reaches to a pillow
# A left hand, palm down: little and index finger's side, and the thumb. From, to, radius m, share of the mass.
_HAND = (
    ((0.03, -0.005, -0.008), (0.135, -0.028, -0.004), 0.022, 0.0027),
    ((0.03, -0.005, 0.035), (0.135, -0.03, 0.04), 0.022, 0.0027),
    ((0.03, -0.015, 0.06), (0.08, -0.02, 0.09), 0.012, 0.0006),
)
for _side in ("left", "right"):
    _CAPSULES |= {
        f"{_side}_hip": (f"{_side}_hip", f"{_side}_knee", 0.07, 0.1),
        f"{_side}_knee": (f"{_side}_knee", f"{_side}_ankle", 0.048, 0.0465),
        f"{_side}_ankle": (f"{_side}_ankle", f"{_side}_foot", 0.035, 0.0145),
        f"{_side}_shoulder": (f"{_side}_shoulder", f"{_side}_elbow", 0.042, 0.028),
        f"{_side}_elbow": (f"{_side}_elbow", f"{_side}_wrist", 0.034, 0.016),
    }
_TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
# Springs, N·m/rad, and dampers, N·m·s/rad, of an adult of 61 kg and 1.72 m; those of others go with mass times height.
# Hip abduction is stiff, or somebody lying on the side never comes to rest.
_SPRINGS = {"trunk": 60.0, "hip": 24.0, "knee": 16.0, "ankle": 3.0, "collar": 24.0, "shoulder": 9.0, "elbow": 6.0}
_DAMPERS = {"trunk": 11.0, "hip": 9.0, "knee": 4.0, "collar": 4.0, "shoulder": 3.0, "elbow": 2.0}
_OTHER_SPRING, _OTHER_DAMPER = 1.6, 1.6
_AVERAGE_KG_M = 61.0 * 1.72
_ARMS_HELD = 0.2  # arms rest on the body and the mattress more than bent legs do
_FREE_AXES = 1.5  # degrees: an axis with less range than this each way is left out of the mechanism
_GROUND = 2.0  # metres: wide enough that nobody falls off; the real width is a matter of rejection
_LENGTH = 2.0  # metres of mattress; the hinge of the backrest lies at a share of it


class Slab(NamedTuple):
    """A part of the trunk as a capsule from side to side: middle (3,) from its joint, half width, radius; metres."""

    middle: NDArray[np.float64]
    half_width: float
    radius: float


@dataclass(frozen=True, slots=True)
class Build:
    """What decides how a body lies. joints: T-pose positions, SMPL-X axes, with "pelvis"; radius: of each capsule along
    a bone; slabs: of the trunk across."""

    joints: dict[str, NDArray[np.float64]]
    radius: dict[str, float]
    slabs: dict[str, Slab]
    head_scale: float
    mass_kg: float
    height_m: float

    @classmethod
    def of(cls, body: BodyModel, rest: RestBody) -> Build:
        """Measure one body: limbs by the distance of their skin from the bone, the trunk by its depth."""
        joints = body.joint_positions(rest) | {"pelvis": np.zeros(3)}
        skin = body.pose(rest, Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)))).vertices.astype(np.float64)
        part = skin_parts(body)
        area = vertex_areas(skin, body.topology.triangles)
        (back, front), (nape, face) = (
            _bounds(skin[part == joint, 2], area[part == joint]) for joint in ("spine1", "head")
        )
        trunk_scale, head_scale = (front - back) / _TRUNK_DEPTH, (face - nape) / _HEAD_DEPTH
        slabs = {name: _slab(skin[part == name] - joints[name], area[part == name]) for name in _SLABS}
        radius = {}
        for joint, (start, end, average, _) in _CAPSULES.items():
            if joint in _TRUNK:
                radius[joint] = average * trunk_scale
                continue
            bone = joints[end] - joints[start]
            here = skin[part == joint] - joints[start]
            along = np.clip(here @ bone / (bone @ bone), 0, 1)
            radius[joint] = float(np.median(np.linalg.norm(here - along[:, None] * bone, axis=1)))
        return cls(joints, radius, slabs, head_scale, rest.bmi * rest.height_m**2, rest.height_m)


_TRUNK_DEPTH, _HEAD_DEPTH = 0.223, 0.178  # of the average adult, metres


def _slab(skin: NDArray[np.float64], area: NDArray[np.float64]) -> Slab:
    """Skin (V, 3) from its joint, SMPL-X axes, and its area (V,), as a capsule across."""
    (back, front), (low, high) = _bounds(skin[:, 2], area), _bounds(skin[:, 1], area)
    half_width = _bounds(np.abs(skin[:, 0]), area)[1]
    return Slab(np.array([0.0, (low + high) / 2, (back + front) / 2]), half_width, (front - back) / 2)


def _bounds(z: NDArray[np.float64], area: NDArray[np.float64]) -> tuple[float, float]:
    """The heights that 5 % and 95 % of the skin lie below. By area: a face has more vertices than a nape, and how many
    depends on the mesh."""
    order = np.argsort(z)
    below = np.cumsum(area[order]) / area.sum()
    low, high = np.interp((0.05, 0.95), below, z[order])
    return float(low), float(high)


def skin_parts(body: BodyModel) -> NDArray[np.str_]:
    """(V,) the SMPL-X joint that moves each vertex most."""
    joint_of = {bone: joint for joint, bone in BONE_OF_JOINT.items()}
    topology = body.topology
    owner: list[str] = []
    for name, parent in zip(topology.bone_names, topology.bone_parents, strict=True):
        owner.append(joint_of.get(name) or (owner[parent] if parent >= 0 else "pelvis"))
    names = sorted(set(owner))
    shares = [topology.weights[:, [bone for bone, o in enumerate(owner) if o == name]].sum(1) for name in names]
    return np.asarray(np.array(names)[np.argmax(shares, axis=0)])


def free_axes(joint: str) -> list[int]:
    """The axes about which a joint of the mechanism turns."""
    return [k for k, (low, high) in enumerate(limits_of(joint)) if high - low > 2 * _FREE_AXES]


def _kind(joint: str) -> str:
    return "trunk" if joint in _TRUNK else joint.partition("_")[2]


def _numbers(values: Any) -> str:
    return " ".join(f"{value:.5f}" for value in values)


def mechanism(build: Build, backrest_deg: float, held: float, arms_held: float | None = None) -> str:
    """MuJoCo's XML of one body over one bed (bed frame, metres).

    held: the share, 0…1, of the legs' weight that muscles carry, so that raised knees stay up. arms_held: of the
    arms', a fifth of `held` unless given.
    """
    arms = _ARMS_HELD * held if arms_held is None else arms_held
    joints = build.joints
    children: dict[str, list[str]] = {}
    for child, parent in PARENTS.items():
        children.setdefault(parent, []).append(child)
    strength = build.mass_kg * build.height_m / _AVERAGE_KG_M

    def hinges(name: str) -> str:
        kind = _kind(name)
        return "".join(
            f'<joint name="{name}_{axis}" axis="{_numbers(np.eye(3)[axis])}" '
            f'range="{limits_of(name)[axis][0]} {limits_of(name)[axis][1]}" '
            f'stiffness="{strength * _SPRINGS.get(kind, _OTHER_SPRING):.5f}" '
            f'damping="{strength * _DAMPERS.get(kind, _OTHER_DAMPER):.5f}" armature="{0.02 * strength:.6f}"/>'
            for axis in free_axes(name)
        )

    def capsule(a: NDArray[np.float64], b: NDArray[np.float64], radius: float, share: float) -> str:
        ends = f"{_numbers(a)} {_numbers(b)}"
        return f'<geom type="capsule" size="{radius:.5f}" fromto="{ends}" mass="{share * build.mass_kg:.4f}"/>'

    def flesh(name: str) -> str:
        found, height = "", build.height_m / 1.72
        if name in _SLABS:
            slab = build.slabs[name]
            side = np.array([max(slab.half_width - slab.radius, 0.1 * slab.radius), 0.0, 0.0])
            found += capsule(slab.middle - side, slab.middle + side, slab.radius, _SLABS[name])
        if name in _CAPSULES:
            start, end, _, share = _CAPSULES[name]
            a, b = joints[start] - joints[name], joints[end] - joints[name]
            if name == "spine3":  # the chest hangs below the line of the shoulders, inside them
                down = np.array([0.0, 0.06 * height, 0.0])
                a, b = a * 0.7 - down, b * 0.7 - down
            if name == "pelvis":
                a, b = a * 0.6, b * 0.6
            return found + capsule(a, b, build.radius[name], share)
        if found:
            return found
        if name == "head":
            center, radius, share = _HEAD
            place = np.array(center) * build.head_scale
            return (
                f'<geom type="sphere" size="{radius * build.head_scale:.5f}" pos="{_numbers(place)}" '
                f'mass="{share * build.mass_kg:.4f}"/>'
            )
        if name.endswith("wrist"):
            mirror = np.array([-1.0 if name.startswith("right") else 1.0, 1.0, 1.0]) * height
            return "".join(
                capsule(np.array(a) * mirror, np.array(b) * mirror, radius * height, share)
                for a, b, radius, share in _HAND
            )
        inertia = 0.0003 * strength
        return f'<inertial pos="0 0 0" mass="{0.006 * build.mass_kg:.4f}" diaginertia="{_numbers([inertia] * 3)}"/>'

    def body(name: str) -> str:
        offset = joints[name] - joints[PARENTS.get(name, "pelvis")]
        leg = name.endswith(("hip", "knee", "ankle", "foot"))
        carried = 0.0 if name in _TRUNK else held if leg else arms
        moving = "<freejoint/>" if name == "pelvis" else hinges(name)
        inner = "".join(body(child) for child in children.get(name, ()))
        return f'<body name="{name}" pos="{_numbers(offset)}" gravcomp="{carried}">{moving}{flesh(name)}{inner}</body>'

    return (
        '<mujoco><compiler angle="degree"/><option timestep="0.004" integrator="implicitfast" iterations="20"/>'
        f"<worldbody>{_bed(backrest_deg)}{body('pelvis')}</worldbody><contact>{_exclusions()}</contact></mujoco>"
    )


def _bed(backrest_deg: float) -> str:
    soft = 'solref=".04 1" solimp=".7 .95 .05" friction="1 .05 .01"'
    hinge, half, tilt = -HINGE_FRACTION * _LENGTH, 0.1, np.radians(backrest_deg)
    seat, back = (_LENGTH / 2 - hinge) / 2, (_LENGTH / 2 + hinge) / 2 + 0.1
    along, normal = np.array([-np.cos(tilt), 0, np.sin(tilt)]), np.array([np.sin(tilt), 0, np.cos(tilt)])
    center = np.array([hinge, 0, 0]) + along * back - normal * half
    return (
        f'<geom type="box" size="{seat} {_GROUND / 2} {half}" pos="{hinge + seat} 0 {-half}" {soft}/>'
        f'<geom type="box" size="{back} {_GROUND / 2} {half}" pos="{_numbers(center)}" '
        f'euler="0 {backrest_deg} 0" {soft}/>'
    )


def _exclusions() -> str:
    """Neighbours along the skeleton overlap by construction and never collide."""
    names = ("pelvis", *JOINTS)
    near = {(child, parent) for child, parent in PARENTS.items()}
    near |= {(child, PARENTS[parent]) for child, parent in PARENTS.items() if parent in PARENTS}
    near |= {(a, b) for a in names for b in names if a < b and PARENTS.get(a) == PARENTS.get(b)}
    near |= {("left_hip", "spine2"), ("right_hip", "spine2")}  # an infant's drawn-up thighs lie against the belly
    return "".join(f'<exclude body1="{a}" body2="{b}"/>' for a, b in sorted(near))
