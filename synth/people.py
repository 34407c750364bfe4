"""Whole people: a body, a posture, a skin, clothes and hair, put where they belong in the bed frame.

Everything depends on the random generator alone: the same generator state gives the same figure, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.errors import WardposeError
from synth.body.ages import COT_YEARS, draw_age
from synth.body.body_model import JOINT_INDEX, BodyModel, Pose, PosedBody, RestBody
from synth.body.figure import Figure, Making, Traits
from synth.casting import Casting
from synth.look.anatomy import Anatomy
from synth.look.clothes import PAINTED_SHARE, PATIENT_OUTFITS, STAFF_OUTFITS, VISITOR_OUTFITS, Wardrobe
from synth.look.glasses import Glasses
from synth.look.hair import Hair
from synth.look.skin import GLOSS as SKIN_GLOSS
from synth.look.skin import Skin
from synth.pose.clinical import POSTURES, make_pose, sample_upright
from synth.pose.fallen import sample_fallen
from synth.pose.place import excess, on_edge, on_floor, on_mattress, pressed
from synth.pose.reach import reach
from synth.pose.support import Support
from synth.render.mesh import Mesh

__all__ = ["ACTIVITIES", "POSTURES", "make_assistant", "make_bystander", "make_patient", "make_upright", "repainted"]

OUTFITS = {"staff": STAFF_OUTFITS, "visitor": VISITOR_OUTFITS, "patient": PATIENT_OUTFITS}
ACTIVITIES = ("standing", "walking", "sitting", "leaning", "fallen")
DEFAULT = Casting()
_TRIES = 12


@dataclass(frozen=True, slots=True)
class _Studio:
    """One body model and what is worn on it."""

    body: BodyModel
    wardrobe: Wardrobe
    skin: Skin
    hair: Hair
    glasses: Glasses


@cache
def _studio_of(body_name: str, file: str | None) -> _Studio:
    body = Casting(body_name, file).open_body()
    anatomy = Anatomy(body.topology)
    return _Studio(body, Wardrobe(anatomy), Skin(anatomy), Hair(anatomy), Glasses(anatomy))


def _studio(casting: Casting) -> _Studio:
    return _studio_of(casting.body, casting.body_file)


def make_patient(
    rng: np.random.Generator, bed: Bed, instance: int = 1, posture: str | None = None, *,
    age_years: float | None = None, casting: Casting = DEFAULT,
) -> Figure:  # fmt: skip
    """One patient in, on or beside the bed, in the bed frame.

    posture: one of `POSTURES`; None draws one that goes with bed and age. age_years: None draws an adult's. Raises
    WardposeError for a posture that is unknown or does not go with the backrest.
    """
    if age_years is None:
        age_years = draw_age(rng)
    poses = casting.open_poses()
    shares = poses.shares(bed.backrest_deg, age_years)
    if posture is None:
        weights = np.array(list(shares.values()))
        posture = list(shares)[int(rng.choice(len(shares), p=weights / weights.sum()))]
    if posture not in POSTURES:
        raise WardposeError(f"no posture is called {posture!r}", mend=f"choose one of: {', '.join(POSTURES)}")
    if posture not in shares:
        raise WardposeError(
            f"posture {posture!r} does not go with a backrest at {bed.backrest_deg:.0f} degrees and {age_years:.0f} "
            f"years from the poses of {poses.name!r}",
            mend=f"choose one of: {', '.join(shares)}",
        )
    studio = _studio(casting)
    rest = studio.body.rest(studio.body.sample_shape(rng, age_years))
    side = float(rng.choice([-1.0, 1.0]))
    support = Support(bed.length, bed.width, bed.backrest_deg)
    best: PosedBody | None = None
    least = np.inf  # metres by which it reaches beyond the mattress
    for _ in range(_TRIES):
        pose = poses.sample(rng, posture, bed.backrest_deg, age_years, side)
        posed = studio.body.pose(rest, pose)
        if posture == "standing":
            place = (float(rng.uniform(-0.3, 0.5)) * bed.length, side * (bed.width / 2 + float(rng.uniform(0.3, 0.6))))
            best = on_floor(posed, place, -bed.height)
            break
        if posture == "bed_edge":
            best = on_edge(rng, posed, bed, side)
            break
        posed = on_mattress(rng, posed, pose, support)
        beyond = excess(posed, support)
        if beyond < least:
            best, least = posed, beyond
        if least <= 0:
            break
    assert best is not None
    odds = (0.5, 0.25, 0.17, 0.08) if age_years > COT_YEARS else (0.1, 0.75, 0.1, 0.05)
    outfit = PATIENT_OUTFITS[int(rng.choice(len(PATIENT_OUTFITS), p=odds))]
    in_bed = posture not in ("standing", "bed_edge")
    return _finished(rng, studio, rest, best, outfit, instance, posture, support if in_bed else None)


def make_bystander(
    rng: np.random.Generator,
    position: tuple[float, float],
    yaw_deg: float,
    floor_z: float,
    instance: int,
    role: str = "staff",
    *,
    casting: Casting = DEFAULT,
) -> Figure:
    """Somebody standing at `position` (bed frame x, y metres) on the plane z = floor_z, facing yaw_deg (0 = foot end).

    role: "staff" in scrubs, "visitor" in everyday clothes, or "patient" in what patients wear.
    """
    activity = ("standing", "walking", "leaning")[int(rng.choice(3, p=(0.6, 0.15, 0.25)))]
    return make_upright(rng, position, yaw_deg, floor_z, instance, role, activity, casting=casting)


def make_upright(
    rng: np.random.Generator,
    position: tuple[float, float],
    yaw_deg: float,
    floor_z: float,
    instance: int,
    role: str = "visitor",
    activity: str | None = None,
    *,
    casting: Casting = DEFAULT,
) -> Figure:
    """As `make_bystander`, with a choice of activity (one of `ACTIVITIES`; None draws standing, walking or sitting).

    Somebody sitting does so on a chair that is not there: the pelvis is as high as the bent legs put it.
    """
    if role not in OUTFITS:
        raise WardposeError(f"no role is called {role!r}", mend=f"choose one of: {', '.join(OUTFITS)}")
    if activity is None:
        activity = ACTIVITIES[int(rng.choice(3, p=(0.45, 0.3, 0.25)))]
    if activity not in ACTIVITIES:
        raise WardposeError(f"no activity is called {activity!r}", mend=f"choose one of: {', '.join(ACTIVITIES)}")
    studio = _studio(casting)
    rest = studio.body.rest(studio.body.sample_shape(rng, float(rng.uniform(18.0, 70.0))))
    if activity == "fallen":
        pose = sample_fallen(rng, yaw_deg)
    else:
        pose = make_pose(rng, *sample_upright(rng, yaw_deg, activity))
    # Flesh gives way where somebody lies; soles do not.
    posed = on_floor(studio.body.pose(rest, pose), position, floor_z, 0.008 if activity == "fallen" else 0.0)
    outfit = OUTFITS[role][int(rng.integers(len(OUTFITS[role])))]
    return _finished(rng, studio, rest, posed, outfit, instance, activity, None)


def make_assistant(
    rng: np.random.Generator, patient: Figure, bed: Bed, instance: int, *, casting: Casting = DEFAULT
) -> Figure:
    """A clinician at the bedside, leaning over, one hand at the patient's nearer shoulder or forearm."""
    studio = _studio(casting)
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
        standing = on_floor(loose, position, -bed.height)
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


def _finished(
    rng: np.random.Generator, studio: _Studio, rest: RestBody, posed: PosedBody, outfit: str, instance: int,
    posture: str, support: Support | None,
) -> Figure:  # fmt: skip
    shape = rest.shape
    tone = int(rng.integers(1, 11))
    hair_color = studio.hair.color(rng, shape.age_years, tone)
    style = studio.hair.style(rng, shape.age_years, shape.sex)
    skin = studio.skin.paint(rng, tone, hair_color, shape.sex, shape.age_years)
    normals = studio.wardrobe.anatomy.normals(rest.vertices)
    painted = bool(rng.random() < PAINTED_SHARE)
    dressed = studio.wardrobe.dress(rng, rest, normals, posed, outfit, instance, painted=painted)
    triangles = studio.body.topology.triangles[~dressed.hidden]
    body = Mesh(posed.vertices, triangles, skin, instance, gloss=SKIN_GLOSS)
    grown = studio.hair.grow(rng, rest, normals, posed, style, hair_color, instance, dressed.worn)
    beard = studio.hair.grow_beard(
        rng, rest, normals, posed, studio.hair.beard(rng, shape.age_years, shape.sex), hair_color, instance
    )
    glasses = studio.glasses.put_on(rng, rest, posed, instance) if studio.glasses.worn(rng, shape.age_years) else None
    first_hair = 1 + len(dressed.meshes)
    grown_hair = tuple(mesh for mesh in (grown, beard) if mesh)
    meshes = [
        mesh if support is None else replace(mesh, vertices=pressed(mesh.vertices, support))
        for mesh in (body, *dressed.meshes, *grown_hair, *((glasses,) if glasses else ()))
    ]
    traits = Traits(shape.age_years, shape.sex, rest.bmi, rest.height_m, tone, outfit)
    return Figure(
        tuple(meshes), posed.keypoints, studio.body.joint_skin, posture, traits,
        clothes=tuple(range(1, 1 + len(dressed.meshes))), hair_color=hair_color,
        hair=tuple(range(first_hair, first_hair + len(grown_hair))),
        making=Making(studio.body.name, shape, posed.pose),
    )  # fmt: skip


def repainted(rng: np.random.Generator, figure: Figure, casting: Casting = DEFAULT) -> Figure:
    """The same person of another skin tone, in clothes of other colours; casting: what the figure was made with."""
    studio, traits = _studio(casting), figure.traits
    tone = int(rng.integers(1, 11))
    hair_color = studio.hair.color(rng, traits.age_years, tone)
    skin = studio.skin.paint(rng, tone, hair_color, traits.sex, traits.age_years)
    # Dye of one hue on all garments: a darker or brighter cloth, now and then one of another hue.
    dye = rng.uniform(0.45, 1.6) * np.exp(rng.normal(0.0, 0.18, 3))
    meshes = list(figure.meshes)
    meshes[0] = replace(meshes[0], colors=skin)
    for index in figure.clothes:
        colors = np.clip(meshes[index].colors * dye, 0.005, 0.95).astype(np.float32)
        meshes[index] = replace(meshes[index], colors=colors)
    for index in figure.hair:
        colors = np.clip(meshes[index].colors * (hair_color / figure.hair_color), 0.0, 1.0).astype(np.float32)
        meshes[index] = replace(meshes[index], colors=colors)
    return replace(figure, meshes=tuple(meshes), hair_color=hair_color, traits=replace(traits, skin_tone=tone))
