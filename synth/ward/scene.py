"""Whole scenes: a ward with its bed and people, or any room with people standing and sitting in it.

A `WardLook` (see `synth.ward.look`) is everything about a ward that stays while people come and go; `compose` puts
people, a blanket and things into it. Equal looks share their geometry within a process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from synth.body.figure import Figure
from synth.render import kernels
from synth.render.mesh import Mesh
from synth.render.renderer import Scene
from synth.ward import furniture, lights, shapes, textures
from synth.ward.bed import BedLook, build_bed
from synth.ward.blanket import lay_blanket
from synth.ward.cot import build_cot, is_cot
from synth.ward.look import MAKES, BlanketLook, Piece, WardLook, sample_room
from synth.ward.palette import pick
from synth.ward.pillow import lay_pillows
from synth.ward.room import RoomLook, build_curtain, build_room
from synth.ward.shapes import Surface

Around = Literal["ward", "bed", "nothing"]


@dataclass(frozen=True, slots=True)
class WardScene(Scene):
    """A scene that also says which share, 0…1, of the patient's outline from above lies under the blanket."""

    blanket_coverage: float = 0.0


@lru_cache(maxsize=8)
def _bed_meshes(bed: Bed, look: BedLook) -> tuple[Mesh, ...]:
    return tuple(build_cot(bed, look) if is_cot(bed) else build_bed(bed, look))


@lru_cache(maxsize=8)
def _pillow_surface(look: BedLook) -> Surface:
    rng = np.random.default_rng([look.seed, 15])
    return Surface(look.sheet_color, textures.fabric(rng, "plain"), 0.5)


@lru_cache(maxsize=8)
def _room_meshes(
    look: RoomLook, floor: float, preset: str, bed: tuple[float, float] | None, behind: tuple[str, ...]
) -> tuple[Mesh, ...]:
    return tuple(build_room(look, floor, ward=bed is not None, preset=preset, bed=bed, behind=behind))


def _walls_behind(room: RoomLook, eye: NDArray[np.floating] | None) -> tuple[str, ...]:
    """The walls that a camera outside the room looks through."""
    if eye is None:
        return ()
    beyond = {
        "head": eye[0] < room.low[0],
        "foot": eye[0] > room.high[0],
        "right": eye[1] < room.low[1],
        "left": eye[1] > room.high[1],
    }
    return tuple(name for name, outside in beyond.items() if outside)


@lru_cache(maxsize=256)
def _piece_as_made(kind: str, seed: int) -> tuple[Mesh, ...]:
    return tuple(shapes.joined(furniture.FURNITURE[kind](np.random.default_rng(seed))))


def _piece_meshes(piece: Piece, floor: float) -> tuple[Mesh, ...]:
    made = _piece_as_made(piece.kind, piece.seed)
    return tuple(shapes.moved(mesh, piece.yaw_deg, (*piece.at, floor)) for mesh in made)


@lru_cache(maxsize=8)
def _curtain_meshes(look: RoomLook, floor: float) -> tuple[Mesh, ...]:
    return tuple(build_curtain(look, floor))


@lru_cache(maxsize=8)
def _blanket_surfaces(look: BlanketLook) -> tuple[Surface, Surface]:
    rng = np.random.default_rng([look.seed, 13])
    outside = Surface(look.color, textures.fabric(rng, look.fabric), look.repeat)
    return outside, Surface(look.lining, textures.fabric(rng, "plain"), 0.4)


def _bounds(meshes: Sequence[Mesh]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bounds = np.array([kernels.extent(mesh.vertices) for mesh in meshes])
    return bounds[:, 0].min(0), bounds[:, 1].max(0)


def _overlap(
    a: tuple[NDArray[np.float64], NDArray[np.float64]],
    b: tuple[NDArray[np.float64], NDArray[np.float64]],
    slack: float = 0.0,
) -> bool:
    return bool((a[0] < b[1] + slack).all() and (b[0] < a[1] + slack).all())


def _hides(
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]], eye: NDArray[np.float64], target: NDArray[np.float64]
) -> bool:
    """Whether the segment from eye to target meets the box, or the eye is within 0.25 m of it."""
    low, high = bounds
    if (eye > low - 0.25).all() and (eye < high + 0.25).all():
        return True
    ray = np.where(np.abs(target - eye) < 1e-9, 1e-9, target - eye)
    first, second = (low - eye) / ray, (high - eye) / ray
    enter, leave = np.minimum(first, second).max(), np.maximum(first, second).min()
    return bool(enter < min(leave, 1.0) and leave > 0)


def _standing_things(
    groups: Sequence[tuple[Mesh, ...]], people: Sequence[Figure], extra: Sequence[Mesh],
    eye: NDArray[np.float64] | None, target: NDArray[np.float64],
) -> list[Mesh]:  # fmt: skip
    """The groups that neither run into anybody nor stand between the camera and what it looks at."""
    taken = [_bounds(person.meshes) for person in people] + ([_bounds(extra)] if extra else [])
    kept: list[Mesh] = []
    for group in groups:
        if not group:
            continue
        bounds = _bounds(group)
        if any(_overlap(bounds, other, 0.03) for other in taken):
            continue
        if eye is not None and _hides(bounds, eye, target):
            continue
        kept += group
    return kept


def _lowered_rails(look: BedLook, bed: Bed, people: Sequence[Figure]) -> BedLook:
    """The look with the rail down on a side over which the patient's limbs, or a clinician's arms, reach."""
    if not people or look.rails == "none":
        return look
    points = np.concatenate([mesh.vertices for person in people for mesh in person.meshes])
    points = points[(points[:, 2] > -0.1) & (points[:, 2] < 0.4) & (np.abs(points[:, 0]) < bed.length / 2)]
    beyond = np.abs(points[:, 1]) - bed.width / 2
    over = points[(beyond > 0.02) & (beyond < 0.10), 1]
    right, left = bool((over < 0).any()), bool((over > 0).any())
    up = {"right": not right, "left": not left, "both": not (right or left)}[look.rails]
    if up:
        return look
    other = {(True, False): "left", (False, True): "right"}.get((right, left), "none")
    return replace(look, rails=other if look.rails == "both" else "none")


def _on_the_mattress(figure: Figure, bed: Bed) -> bool:
    hips = figure.keypoints[11:13].mean(0)
    return bool(abs(hips[0]) < bed.length / 2 and abs(hips[1]) < bed.width / 2 and -0.1 < hips[2] < 0.6)


def _lines(
    look: WardLook, groups: Sequence[tuple[Mesh, ...]], kept: Sequence[Mesh], patient: Figure | None
) -> list[Mesh]:
    """A line from each drip stand that was kept and is within reach to the patient's nearer wrist."""
    if patient is None:
        return []
    present = {id(mesh) for mesh in kept}
    lines = []
    for piece, group in zip(look.pieces, groups, strict=False):
        if piece.kind != "drip_stand" or not group or id(group[0]) not in present:
            continue
        wrists = patient.keypoints[9:11]
        away = np.linalg.norm(wrists[:, :2] - piece.at, axis=1)
        if away.min() < 1.3:
            lines.append(furniture.infusion_line(group, wrists[int(away.argmin())]))
    return lines


@dataclass(frozen=True, slots=True)
class Bedding:
    """How one patient lies in one bed, which stays while rooms, colours and light around it change.

    bed: the bed's build, with the rails that are up; its colours don't matter. pillows, blanket: meshes still white;
    the blanket's outside first, then what shows its lining. coverage: the share, 0…1, of the patient's outline from
    above beneath it.
    """

    bed: BedLook
    pillows: tuple[Mesh, ...] = ()
    blanket: tuple[Mesh, ...] = ()
    coverage: float = 0.0
    flipped: bool = False

    def mirrored(self) -> Bedding:
        """The mirror image in the bed's plane y = 0."""
        pillows, blanket = (tuple(mesh.mirrored() for mesh in meshes) for meshes in (self.pillows, self.blanket))
        return replace(self, pillows=pillows, blanket=blanket, flipped=not self.flipped)

    def bed_meshes(self, bed: Bed, colors: BedLook) -> tuple[Mesh, ...]:
        """The bed in the colours of another."""
        look = replace(
            self.bed, sheet_color=colors.sheet_color, frame_color=colors.frame_color, board_color=colors.board_color
        )
        meshes = _bed_meshes(bed, look)
        linen = _pillow_surface(colors)
        pillows = tuple(shapes.dyed(mesh, linen) for mesh in self.pillows)
        return (*(tuple(mesh.mirrored() for mesh in meshes) if self.flipped else meshes), *pillows)


# How the blanket of a bed lies that nobody lies in.
_LEFT_BEHIND = (0.2, 0.2, 0.15, 0.15, 0.3)
_WHITE = Surface((1.0, 1.0, 1.0), np.full((1, 1, 3), 255, np.uint8), 1.0)


def make_bedding(
    rng: np.random.Generator, bed: Bed, patient: Figure | None, look: BedLook, blanket_coverage: float | None = None,
    companions: Sequence[Figure] = (),
) -> Bedding:  # fmt: skip
    """Rails raised or lowered and a blanket laid to suit the patient, and companions whose arms reach over the rails.

    blanket_coverage: the share of the patient to cover from the feet up, 0 for no blanket, None to draw whether and
    how much. A patient not on the mattress, or sitting on its edge, has none.
    """
    look = _lowered_rails(look, bed, (*(() if patient is None else (patient,)), *companions))
    pillow_rng, arrangement_rng, fall_rng = rng.spawn(3)
    lying = patient if patient is not None and _on_the_mattress(patient, bed) else None
    pillows = tuple(lay_pillows(pillow_rng, bed, 0 if is_cot(bed) else look.pillows, lying, _WHITE))
    if lying is None and patient is not None and patient.posture == "bed_edge":
        return Bedding(look, pillows)
    wanted = blanket_coverage
    if wanted is None:
        wanted = 0.0 if arrangement_rng.random() < 0.35 else float(arrangement_rng.uniform(0.15, 0.85))
    if wanted <= 0:
        return Bedding(look, pillows)
    if lying is None or patient is None:
        left = str(arrangement_rng.choice(["flat", "folded_back", "askew", "kicked_aside", "heaped"], p=_LEFT_BEHIND))
        blanket = lay_blanket(
            fall_rng, bed, (), (*_bed_meshes(bed, look), *pillows), _WHITE, _WHITE, coverage=min(1.0, wanted),
            arrangement=left, railed=look.rails != "none" or is_cot(bed),
        )  # fmt: skip
        return Bedding(look, pillows, blanket.meshes)
    weights = [0.5, 0.3, 0.2, 0.0] if blanket_coverage is not None else [0.4, 0.25, 0.2, 0.15]
    arrangement = str(arrangement_rng.choice(["flat", "folded_back", "askew", "kicked_aside"], p=weights))
    blanket = lay_blanket(
        fall_rng, bed, patient.meshes, (*_bed_meshes(bed, look), *pillows), _WHITE, _WHITE, coverage=min(1.0, wanted),
        arrangement=arrangement, railed=look.rails != "none" or is_cot(bed), face=patient.keypoints[:5],
    )  # fmt: skip
    return Bedding(look, pillows, blanket.meshes, blanket.coverage)


def compose(
    rng: np.random.Generator, bed: Bed, patient: Figure | None, bystanders: Sequence[Figure], look: WardLook,
    blanket_coverage: float | None = None, extra: Sequence[Mesh] = (),
    camera_centre: NDArray[np.floating] | None = None,
) -> WardScene:  # fmt: skip
    """The ward with these people in it: `make_bedding`, then `furnish`."""
    bedding = make_bedding(rng, bed, patient, look.bed, blanket_coverage, bystanders)
    return furnish(bed, patient, bystanders, look, bedding, extra, camera_centre)


def furnish(
    bed: Bed, patient: Figure | None, bystanders: Sequence[Figure], look: WardLook, bedding: Bedding,
    extra: Sequence[Mesh] = (), camera_centre: NDArray[np.floating] | None = None, around: Around = "ward",
) -> WardScene:  # fmt: skip
    """The ward of this look around people who lie and stand as they do; the floor is at z = −bed.height.

    extra: further meshes, such as a calibration sheet. camera_centre (3,), bed frame: furniture and curtains that would
    hide the bed from there, or stand in the camera, are left out. around: what is drawn about the people and their
    blanket; where a picture stands behind them, no more than their bed, or nothing.
    """
    floor = -bed.height
    people = ([patient] if patient is not None else []) + list(bystanders)
    eye = None if camera_centre is None else np.asarray(camera_centre, dtype=np.float64)
    groups = [_piece_meshes(piece, floor) for piece in look.pieces] + [_curtain_meshes(look.room, floor)]
    things = _standing_things(groups, people, extra, eye, np.array([0.0, 0.0, 0.15]))
    meshes: list[Mesh] = []
    if around == "ward":
        walls = _walls_behind(look.room, eye)
        meshes += _room_meshes(look.room, floor, look.light_preset, (bed.length / 2, bed.width / 2), walls)
        meshes += things
        meshes += _lines(look, groups, things, patient)
    if around != "nothing":
        meshes += bedding.bed_meshes(bed, look.bed)
    if bedding.blanket:
        outside, lining = _blanket_surfaces(look.blanket)
        meshes.append(shapes.dyed(bedding.blanket[0], outside))
        meshes += [shapes.dyed(mesh, lining) for mesh in bedding.blanket[1:]]
    for person in people:
        meshes += person.meshes
    return WardScene((*meshes, *extra), look.lighting.lights, look.lighting.sky, look.lighting.ground, bedding.coverage)


def _seat(rng: np.random.Generator, figure: Figure, floor: float) -> list[Mesh]:
    """A plain seat under a sitting figure: its top at the lowest flesh about the hips."""
    hips = figure.keypoints[11:13].mean(0)
    points = np.concatenate([mesh.vertices for mesh in figure.meshes])
    near = points[(np.hypot(points[:, 0] - hips[0], points[:, 1] - hips[1]) < 0.12) & (points[:, 2] > floor + 0.2)]
    top = float(near[:, 2].min()) + 0.01 if len(near) else float(hips[2]) - 0.1
    if top < floor + 0.25:
        return []
    knees = figure.keypoints[13:15].mean(0)
    forward = np.degrees(np.arctan2(knees[1] - hips[1], knees[0] - hips[0]))
    surface = Surface(pick(rng, "upholstery", 0.1), textures.fabric(rng, "plain"), 0.4)
    seat = shapes.rounded_box([-0.25, -0.25, floor + 0.02], [0.2, 0.25, top], 0.03, surface, 0.2)
    return [shapes.moved(seat, float(forward), [hips[0], hips[1], 0.0])]


def compose_open(
    rng: np.random.Generator, figures: Sequence[Figure], floor_z: float | None = None,
    camera_centre: NDArray[np.floating] | None = None, light_weights: Mapping[str, float] | None = None,
    around: Around = "ward",
) -> WardScene:  # fmt: skip
    """People in some room without a bed, for general training pictures; every call draws its own room.

    floor_z: the floor's height; None for the lowest point of the figures (0 without any). around: as for `furnish`;
    without the room only the seats of those who sit are drawn.
    """
    if floor_z is None:
        floor_z = min((float(mesh.vertices[:, 2].min()) for f in figures for mesh in f.meshes), default=0.0)
    low, high = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    for figure in figures:
        bounds = _bounds(figure.meshes)
        low, high = np.minimum(low, bounds[0][:2]), np.maximum(high, bounds[1][:2])
    low, high = low - rng.uniform(0.4, 2.5, 2), high + rng.uniform(0.4, 2.5, 2)
    room = sample_room(rng, (float(low[0]), float(low[1])), (float(high[0]), float(high[1])))
    preset = lights.draw_preset(rng, light_weights)
    lighting = lights.make_lighting(rng, preset, room.window_side)
    groups = []
    for _ in range(int(rng.integers(0, 8))):
        kind = str(rng.choice(list(furniture.FURNITURE)))
        x, y = rng.uniform(low + 0.35, high - 0.35)
        piece = Piece(kind, (float(x), float(y)), float(rng.uniform(0, 360)), int(rng.integers(MAKES)))
        groups.append(_piece_meshes(piece, floor_z))
    if room.curtain_color is not None and rng.random() < 0.4:
        groups.append(_curtain_meshes(room, floor_z))
    seats = [mesh for f in figures if "sit" in f.posture for mesh in _seat(rng, f, floor_z)]
    eye = None if camera_centre is None else np.asarray(camera_centre, dtype=np.float64)
    people = [mesh for figure in figures for mesh in figure.meshes]
    middle = np.mean([f.keypoints.mean(0) for f in figures], axis=0) if figures else np.array([0.0, 0.0, floor_z + 1.0])
    things = _standing_things(groups, figures, seats, eye, np.asarray(middle, dtype=np.float64))
    shell = (*_room_meshes(room, floor_z, preset, None, _walls_behind(room, eye)), *things) if around == "ward" else ()
    return WardScene((*shell, *seats, *people), lighting.lights, lighting.sky, lighting.ground)
