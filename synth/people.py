"""Whole people: a body, a posture, a skin, clothes and hair, put where they belong in the bed frame.

Everything depends on the random generator alone: the same generator state gives the same figure, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, BodyModel, Pose, PosedBody, RestBody
from synth.body.figure import Figure, Traits
from synth.look.anatomy import Anatomy
from synth.look.clothes import PATIENT_OUTFITS, STAFF_OUTFITS, VISITOR_OUTFITS, Wardrobe
from synth.look.hair import Hair
from synth.look.skin import Skin
from synth.pose.bank import pose_bank
from synth.pose.clinical import POSTURES, make_pose, sample_sitting, sample_upright
from synth.pose.fallen import sample_fallen
from synth.pose.reach import reach
from synth.pose.support import Support
from synth.render.mesh import Mesh

__all__ = [
    "ACTIVITIES", "POSTURES", "make_assistant", "make_bystander", "make_patient", "make_upright", "postures_for",
    "repainted",
]  # fmt: skip

ACTIVITIES = ("standing", "walking", "sitting", "leaning", "fallen")
_NEEDS_FLAT = ("supine", "lateral_left", "lateral_right", "prone")
_NEEDS_RAISED = ("fowler",)
# How often each posture is met, before those are left out that do not go with the backrest.
_SHARE = {
    "supine": 0.2, "lateral_left": 0.11, "lateral_right": 0.11, "prone": 0.07, "fowler": 0.25, "long_sitting": 0.07,
    "bed_edge": 0.07, "standing": 0.03, "arm_over_head": 0.09, "knees_bent": 0.1, "reaching": 0.06, "assisted": 0.05,
}  # fmt: skip
_SINK = (0.010, 0.018)  # metres a body sinks into the mattress
_TRIES = 12
_EDGE = 0.02  # metres kept between a lying body and the mattress' sides


@dataclass(frozen=True, slots=True)
class _Studio:
    """One body model and what is worn on it."""

    body: BodyModel
    wardrobe: Wardrobe
    skin: Skin
    hair: Hair


@cache
def _studio() -> _Studio:
    from synth.body.anny_body import anny_body

    body = anny_body()
    anatomy = Anatomy(body.topology)
    return _Studio(body, Wardrobe(anatomy), Skin(anatomy), Hair(anatomy))


def postures_for(bed: Bed) -> tuple[str, ...]:
    """The postures that go with this bed's backrest."""
    left_out = _NEEDS_FLAT if bed.backrest_deg > 0 else _NEEDS_RAISED
    return tuple(posture for posture in POSTURES if posture not in left_out)


def make_patient(rng: np.random.Generator, bed: Bed, instance: int = 1, posture: str | None = None) -> Figure:
    """One patient in, on or beside the bed, in the bed frame.

    posture: one of `POSTURES`; None draws one that goes with the bed. Raises WardposeError for a posture that is
    unknown or does not go with the backrest.
    """
    possible = postures_for(bed)
    if posture is None:
        share = np.array([_SHARE[name] for name in possible])
        posture = possible[int(rng.choice(len(possible), p=share / share.sum()))]
    if posture not in POSTURES:
        raise WardposeError(f"no posture is called {posture!r}", mend=f"choose one of: {', '.join(POSTURES)}")
    if posture not in possible:
        raise WardposeError(
            f"posture {posture!r} does not go with a backrest at {bed.backrest_deg:.0f} degrees",
            mend=f"choose one of: {', '.join(possible)}",
        )
    studio = _studio()
    rest = studio.body.rest(studio.body.sample_shape(rng))
    support = Support(bed.length, bed.width, bed.backrest_deg)
    if posture == "standing":
        posed = _beside(rng, studio, rest, bed)
        lowest = None
    elif posture == "bed_edge":
        posed = _on_edge(rng, studio, rest, bed)
        lowest = None
    else:
        posed = _lying(rng, studio, rest, support, posture)
        lowest = support
    outfit = PATIENT_OUTFITS[int(rng.choice(len(PATIENT_OUTFITS), p=(0.5, 0.25, 0.17, 0.08)))]
    return _finished(rng, studio, rest, posed, outfit, instance, posture, lowest)


def make_bystander(
    rng: np.random.Generator,
    position: tuple[float, float],
    yaw_deg: float,
    floor_z: float,
    instance: int,
    role: str = "staff",
) -> Figure:
    """Somebody standing at `position` (bed frame x, y metres) on the plane z = floor_z, facing yaw_deg (0 = foot end).

    role: "staff" in scrubs, or "visitor" in everyday clothes.
    """
    activity = ("standing", "walking", "leaning")[int(rng.choice(3, p=(0.6, 0.15, 0.25)))]
    return make_upright(rng, position, yaw_deg, floor_z, instance, role, activity)


def make_upright(
    rng: np.random.Generator,
    position: tuple[float, float],
    yaw_deg: float,
    floor_z: float,
    instance: int,
    role: str = "visitor",
    activity: str | None = None,
) -> Figure:
    """As `make_bystander`, with a choice of activity (one of `ACTIVITIES`; None draws standing, walking or sitting).

    Somebody sitting does so on a chair that is not there: the pelvis is as high as the bent legs put it. Somebody
    fallen lies or sits on the floor, the feet toward yaw_deg.
    """
    if role not in ("staff", "visitor"):
        raise WardposeError(f"no role is called {role!r}", mend="choose staff or visitor")
    if activity is None:
        activity = ACTIVITIES[int(rng.choice(3, p=(0.45, 0.3, 0.25)))]
    if activity not in ACTIVITIES:
        raise WardposeError(f"no activity is called {activity!r}", mend=f"choose one of: {', '.join(ACTIVITIES)}")
    studio = _studio()
    rest = studio.body.rest(studio.body.sample_shape(rng, float(rng.uniform(18.0, 70.0))))
    if activity == "fallen":
        pose = sample_fallen(rng, yaw_deg)
    else:
        pose = make_pose(rng, *sample_upright(rng, yaw_deg, activity))
    # Flesh gives way where somebody lies; soles do not.
    posed = _grounded(studio, rest, pose, position, floor_z, 0.008 if activity == "fallen" else 0.0)
    outfits = STAFF_OUTFITS if role == "staff" else VISITOR_OUTFITS
    outfit = outfits[int(rng.integers(len(outfits)))]
    return _finished(rng, studio, rest, posed, outfit, instance, activity, None)


def make_assistant(rng: np.random.Generator, patient: Figure, bed: Bed, instance: int) -> Figure:
    """A clinician at the bedside, leaning over, one hand at the patient's nearer shoulder or forearm."""
    studio = _studio()
    rest = studio.body.rest(studio.body.sample_shape(rng, float(rng.uniform(20.0, 65.0))))
    side = float(rng.choice([-1.0, 1.0]))
    pair = ((5, 6), (9, 10))[int(rng.integers(2))]
    touched = max(pair, key=lambda keypoint: side * float(patient.keypoints[keypoint, 1]))
    target = patient.keypoints[touched] + [0.0, 0.0, 0.06]
    yaw = -90.0 * side + float(rng.uniform(-15.0, 15.0))
    pose = make_pose(rng, *sample_upright(rng, yaw, "leaning"))
    reach_from = side * (max(bed.width / 2, side * float(target[1])) + float(rng.uniform(0.16, 0.24)))
    position = (float(target[0] + rng.uniform(-0.15, 0.15)), reach_from)
    hand = ("left", "right")[int(rng.integers(2))]
    joints = studio.body.joint_positions(rest)
    for further in (0.0, 15.0, 30.0, 45.0):  # degrees of stooping, until the hand arrives
        stooped = _stooped(pose, further)
        # The pelvis joint is posed at the origin, so where grounding moves the body is where the pelvis belongs.
        loose = studio.body.pose(rest, stooped)
        standing = _grounded(studio, rest, stooped, position, -bed.height)
        placed = stooped.moved(standing.keypoints[11] - loose.keypoints[11])
        posed = studio.body.pose(rest, reach(placed, joints, hand, target))
        if np.linalg.norm(posed.keypoints[9 if hand == "left" else 10] - target) < 0.06:
            break
    return _finished(rng, studio, rest, posed, "scrubs", instance, "assisting", None)


def _stooped(pose: Pose, degrees: float) -> Pose:
    """The trunk tilted forward over legs that keep their direction."""
    tilt = Rotation.from_euler("x", degrees, degrees=True)
    joints = pose.joints.copy()
    for joint in ("left_hip", "right_hip"):
        index = JOINT_INDEX[joint]
        joints[index] = (tilt.inv() * Rotation.from_rotvec(joints[index])).as_rotvec()
    return replace(pose, root=pose.root @ tilt.as_matrix(), joints=joints)


def _moved(posed: PosedBody, offset: NDArray[np.float64]) -> PosedBody:
    shift = offset.astype(np.float32)
    blend = posed.blend.copy()
    blend[:, :, 3] += shift
    return PosedBody(posed.vertices + shift, posed.keypoints + offset, blend)


def _grounded(
    studio: _Studio, rest: RestBody, pose: Pose, position: tuple[float, float], floor_z: float, sunk: float = 0.0
) -> PosedBody:
    """The body with its hips above `position`, standing on the floor; a share `sunk` of its skin may be below that."""
    posed = studio.body.pose(rest, pose)
    low = float(np.quantile(posed.vertices[:, 2], sunk))
    middle = posed.keypoints[11:13].mean(0)
    return _moved(posed, np.array([position[0] - middle[0], position[1] - middle[1], floor_z - low]))


def _beside(rng: np.random.Generator, studio: _Studio, rest: RestBody, bed: Bed) -> PosedBody:
    side = float(rng.choice([-1.0, 1.0]))
    root, angles = sample_upright(rng, float(rng.uniform(-180.0, 180.0)), "standing")
    position = (float(rng.uniform(-0.3, 0.5)) * bed.length, side * (bed.width / 2 + float(rng.uniform(0.3, 0.6))))
    return _grounded(studio, rest, make_pose(rng, root, angles), position, -bed.height)


def _on_edge(rng: np.random.Generator, studio: _Studio, rest: RestBody, bed: Bed) -> PosedBody:
    """Thighs on the mattress, the hollows of the knees at its edge, feet hanging (lifted off the floor if need be)."""
    side = float(rng.choice([-1.0, 1.0]))
    posed = studio.body.pose(rest, make_pose(rng, *sample_sitting(rng, "bed_edge", side)))
    hips, knees = posed.keypoints[11:13].mean(0), posed.keypoints[13:15].mean(0)
    # Thighs and seat, not the shins that hang in front of the mattress.
    over = (posed.vertices[:, 1] * side < knees[1] * side - 0.08) & (posed.vertices[:, 2] > knees[2] - 0.14)
    low = float(np.quantile(posed.vertices[over, 2], 0.01))
    x = float(rng.uniform(-0.05, 0.3)) * bed.length
    offset = np.array([x - hips[0], side * (bed.width / 2 + 0.05) - knees[1], -float(rng.uniform(*_SINK)) - low])
    return _moved(posed, offset)


def _lying(rng: np.random.Generator, studio: _Studio, rest: RestBody, support: Support, posture: str) -> PosedBody:
    """The first of a few draws that fits the mattress; the best of them when none fits entirely."""
    best: PosedBody | None = None
    least = np.inf
    for _ in range(_TRIES):
        if posture in ("long_sitting", "reaching", "assisted"):
            pose = make_pose(rng, *sample_sitting(rng, posture))
        else:
            pose = pose_bank().sample(rng, posture, support.backrest_deg)
        posed = _rested(rng, studio.body.pose(rest, pose), support, posture)
        extent = np.abs(posed.vertices[:, :2]).max(0) - [support.length / 2, support.width / 2 - _EDGE]
        excess = float(extent.max())
        if excess < least:
            best, least = posed, excess
        if excess <= 0:
            break
    assert best is not None
    return best


def _rested(rng: np.random.Generator, posed: PosedBody, support: Support, posture: str) -> PosedBody:
    """Put the body's weight on the mattress and its outline inside the edges."""
    vertices = posed.vertices.astype(np.float64)
    sink = float(rng.uniform(*_SINK))
    low, high = vertices.min(0), vertices.max(0)
    margin_x, margin_y = support.length / 2 - 0.04, support.width / 2 - _EDGE
    y = -0.5 * (low[1] + high[1])
    room = 2 * margin_y - (high[1] - low[1])
    if room > 0:
        y += float(np.clip(rng.normal(0.0, 0.06), -room / 2, room / 2))
    if support.backrest_deg > 0 and posture in ("fowler", "arm_over_head", "knees_bent"):
        # Seat and backrest touch together: heights over the two planes give two equations for x and z.
        hips = posed.keypoints[11:13].mean(0)
        normal = support.back_normal
        tilt = np.radians(support.backrest_deg)
        upper = (vertices - hips) @ np.array([-np.cos(tilt), 0.0, np.sin(tilt)]) > 0.05
        z = -sink - float(np.quantile(vertices[~upper, 2], 0.02))
        back = float(np.quantile(vertices[upper] @ normal, 0.02))
        x = (-sink + support.hinge_x * normal[0] - back - z * normal[2]) / normal[0]
        return _moved(posed, np.array([x, y, z]))
    x = float(rng.normal(0.0, 0.05)) - 0.5 * (low[0] + high[0])
    if posture in ("long_sitting", "reaching", "assisted"):
        x = support.hinge_x + float(rng.uniform(0.15, 0.35)) - float(posed.keypoints[11:13, 0].mean())
    room = 2 * margin_x - (high[0] - low[0])
    x = float(np.clip(x, -margin_x - low[0], margin_x - high[0])) if room > 0 else -0.5 * (low[0] + high[0])
    quantile = 0.01 if posture not in ("long_sitting", "reaching", "assisted") else 0.004
    return _moved(posed, np.array([x, y, -sink - float(np.quantile(vertices[:, 2], quantile))]))


def _pressed(vertices: NDArray[np.float32], support: Support | None, depth: float = 0.012) -> NDArray[np.float32]:
    """Flatten what lies in the mattress: flesh and cloth give way, at most `depth` further than the sink allows."""
    if support is None:
        return vertices
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


def _finished(
    rng: np.random.Generator, studio: _Studio, rest: RestBody, posed: PosedBody, outfit: str, instance: int,
    posture: str, support: Support | None,
) -> Figure:  # fmt: skip
    shape = rest.shape
    tone = int(rng.integers(1, 11))
    hair_color = studio.hair.color(rng, shape.age_years)
    style = studio.hair.style(rng, shape.age_years, shape.sex)
    skin = studio.skin.paint(rng, tone, hair_color)
    normals = studio.wardrobe.anatomy.normals(rest.vertices)
    dressed = studio.wardrobe.dress(rng, rest, normals, posed, outfit, instance)
    body = Mesh(posed.vertices, studio.body.topology.triangles[~dressed.hidden], skin, instance)
    grown = studio.hair.grow(rng, rest, normals, posed, style, hair_color, instance, dressed.worn)
    meshes = [
        replace(mesh, vertices=_pressed(mesh.vertices, support))
        for mesh in (body, *dressed.meshes, *((grown,) if grown else ()))
    ]
    traits = Traits(shape.age_years, shape.sex, rest.bmi, rest.height_m, tone, outfit)
    return Figure(
        tuple(meshes), posed.keypoints, studio.body.joint_radius(rest), posture, traits,
        clothes=tuple(range(1, 1 + len(dressed.meshes))), hair_color=hair_color,
    )  # fmt: skip


def repainted(rng: np.random.Generator, figure: Figure) -> Figure:
    """The same person of another skin tone, in clothes of other colours."""
    tone = int(rng.integers(1, 11))
    skin = _studio().skin.paint(rng, tone, figure.hair_color)
    # Dye of one hue on all garments: a darker or brighter cloth, now and then one of another hue.
    dye = rng.uniform(0.45, 1.6) * np.exp(rng.normal(0.0, 0.35, 3))
    meshes = list(figure.meshes)
    meshes[0] = replace(meshes[0], colors=skin)
    for index in figure.clothes:
        colors = np.clip(meshes[index].colors * dye, 0.005, 0.95).astype(np.float32)
        meshes[index] = replace(meshes[index], colors=colors)
    return replace(figure, meshes=tuple(meshes), traits=replace(figure.traits, skin_tone=tone))
