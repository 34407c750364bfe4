"""One picture with its truth, made from a scenario, a seed and a number, and from nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.plugins import load_plugin
from synth.backdrop import draw_backdrop, draw_plate, fits_mirrored
from synth.body.figure import Figure
from synth.company import make_people
from synth.composite import composite
from synth.infrared import infrared, kinect_depth, millimetres, shown
from synth.labels import Annotation, annotate
from synth.people import repainted
from synth.plan import Plan, draw_plan, draw_view
from synth.render.numba_renderer import NumbaRenderer
from synth.render.renderer import Renderer, Rendering
from synth.scenario import Scenario
from synth.sensor import Exposure, Lens, draw_exposure, expose, lens_of, metered
from synth.ward.backdrop import Backdrop
from synth.ward.look import WardLook, sample_look
from synth.ward.plates import railed
from synth.ward.scene import Around, Bedding, WardScene, compose_open, furnish, make_bedding

# Now and then nobody can be seen, behind a curtain or wholly under a blanket; such a picture is drawn anew with other
# people, this many times at most.
_ATTEMPTS = 4
_STAGES = ("plan", "people", "bedding", "scene", "render", "label", "infrared", "sensor")


@dataclass
class StageClock:
    """Seconds of processor time spent in each stage of making pictures."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - begin


@dataclass(frozen=True)
class Staging:
    """What the pictures of one scene share: who is there, how they lie and stand, and the bed with its blanket.

    plate: the folder of the plate whose bed it is, "" for a bed of ours.
    """

    plan: Plan
    figures: tuple[Figure, ...]
    bedding: Bedding
    plate: str = ""

    def mirrored(self) -> Staging:
        """The mirror image in the bed's plane y = 0."""
        figures = tuple(figure.mirrored() for figure in self.figures)
        return Staging(self.plan.mirrored(), figures, self.bedding.mirrored(), self.plate)

    @property
    def patient(self) -> Figure | None:
        return self.figures[0] if self.plan.has_patient else None

    @property
    def companions(self) -> tuple[Figure, ...]:
        return self.figures[1:] if self.plan.has_patient else self.figures


@dataclass(frozen=True)
class Sample:
    """color (H, W, 3) uint8 RGB as the sensor gives it; annotations without ids; and what it was made from.

    scene: the number of the scene it shows; pictures of equal scenes show the same poses. depth (H, W) millimetres and
    infrared (H, W) counts where the scenario asks for them.
    """

    color: NDArray[np.uint8]
    annotations: list[Annotation]
    camera: CameraModel
    camera_from_bed: NDArray[np.float64]
    exposure: Exposure
    plan: Plan
    figures: tuple[Figure, ...]
    look: WardLook
    scene: int
    depth: NDArray[np.uint16] | None = None
    infrared: NDArray[np.uint16] | None = None


def make_sample(
    scenario: Scenario,
    seed: int,
    index: int,
    *,
    renderer: str | Renderer = "numba",
    segmentation: bool = False,
    clock: StageClock | None = None,
) -> Sample:
    """Picture number `index` of the data set with this scenario and seed; the same bytes in every process.

    Pictures come in groups of `views_per_scene`. The part of the scenario, people, poses and the fall of the blanket
    depend on (seed, group); the viewpoint, the room, the light, all colours and the sensor on (seed, index).
    """
    clock = clock or StageClock()
    drawing = open_renderer(renderer) if isinstance(renderer, str) else renderer
    group, view = divmod(index, scenario.views_per_scene)
    scenario = scenario.part_at(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PART, group))).random())
    for attempt in range(_ATTEMPTS):
        staging = _staging_of(scenario, seed, group, attempt, clock)
        if view % 2 and fits_mirrored(staging.plan, staging.plate):
            with clock.stage("scene"):
                staging = staging.mirrored()
        sequence = np.random.SeedSequence(entropy=seed, spawn_key=(_VIEW, index, attempt))
        sample = _photograph(scenario, staging, group, view, sequence, drawing, segmentation, clock)
        if sample.annotations or not sample.figures:
            break
    return sample


@lru_cache(maxsize=4)
def open_renderer(name: str) -> Renderer:
    """The renderer registered as `name`."""
    return cast(Renderer, NumbaRenderer() if name == "numba" else load_plugin("renderers", name)())


# Independent random streams of a seed: for each scene, for each picture, and for the part each scene is of.
_SCENE, _VIEW, _PART = 0, 1, 2
_Key = tuple[Scenario, int, int, int]
# The scenes made last; a data set's pictures of one scene are made one after the other.
_latest: list[tuple[_Key, Staging]] = []


def _staging_of(scenario: Scenario, seed: int, group: int, attempt: int, clock: StageClock) -> Staging:
    global _latest
    key = (scenario, seed, group, attempt)
    for known, staging in _latest:
        if known == key:
            return staging
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(_SCENE, group, attempt))
    staging = make_staging(scenario, sequence, clock)
    _latest = [(key, staging), *_latest[: _ATTEMPTS - 1]]
    return staging


def make_staging(scenario: Scenario, sequence: np.random.SeedSequence, clock: StageClock | None = None) -> Staging:
    """People in their places, dressed and covered."""
    clock = clock or StageClock()
    # One generator a concern, so that a change in one (a new posture, say) leaves the others' draws as they were.
    plan_rng, people_rng, bedding_rng, plate_rng = (np.random.default_rng(s) for s in sequence.spawn(4))
    with clock.stage("plan"):
        plan, plate = draw_plate(scenario, draw_plan(scenario, plan_rng), plate_rng)
    with clock.stage("people"):
        figures = make_people(plan, people_rng)
    with clock.stage("bedding"):
        look = sample_look(_look_rng(scenario, bedding_rng), scenario.light_presets)
        patient = figures[0] if plan.has_patient else None
        bed_look = replace(look.bed, rails="both" if railed(plate) else "none") if plate else look.bed
        companions = figures[1:] if plan.has_patient else figures
        bedding = make_bedding(bedding_rng, plan.bed, patient, bed_look, plan.blanket_coverage, companions)
    return Staging(plan, figures, bedding, plate)


def _look_rng(scenario: Scenario, rng: np.random.Generator) -> np.random.Generator:
    return rng if scenario.look_seed is None else np.random.default_rng(scenario.look_seed)


def _photograph(
    scenario: Scenario,
    staging: Staging,
    group: int,
    view: int,
    sequence: np.random.SeedSequence,
    renderer: Renderer,
    segmentation: bool,
    clock: StageClock,
) -> Sample:
    view_rng, look_rng, paint_rng, sensor_rng, backdrop_rng, tof_rng = (
        np.random.default_rng(s) for s in sequence.spawn(6)
    )
    with clock.stage("plan"):
        camera, camera_from_bed = draw_view(scenario, staging.plan, view_rng)
        lens = lens_of(camera)
        backdrop = draw_backdrop(scenario, staging.plan, staging.plate, camera_from_bed, lens, backdrop_rng)
    with clock.stage("people"):
        if view:
            painted = tuple(repainted(paint_rng, figure, staging.plan.casting) for figure in staging.figures)
            staging = replace(staging, figures=painted)
    with clock.stage("scene"):
        look = sample_look(_look_rng(scenario, look_rng), scenario.light_presets)
        scene = build_scene(staging, look, look_rng, camera_from_bed, scenario.light_presets, backdrop)
        if not scenario.shadows:
            scene = replace(scene, lights=tuple(replace(light, casts_shadow=False) for light in scene.lights))
    with clock.stage("render"):
        if backdrop is None:
            ideal = renderer.render(scene, camera_from_bed, lens.pinhole)
            seen = lens.bend(ideal)
            if scenario.depth or scenario.infrared or look.light_preset == "infrared":
                seen = replace(seen, depth=lens.bend_depth(ideal.depth))
        else:
            seen = composite(renderer, scene, backdrop, camera_from_bed, lens)
    with clock.stage("label"):
        annotations = label(
            staging.figures,
            seen,
            camera_from_bed,
            lens,
            coverage_of_first=scene.blanket_coverage,
            segmentation=segmentation,
        )
    with clock.stage("infrared"):
        depth_rng, infrared_rng = tof_rng.spawn(2)
        by_infrared = look.light_preset == "infrared"
        depth = counts = None
        if scenario.depth:
            depth = kinect_depth(seen.depth, lens, depth_rng) if scenario.depth_noise else millimetres(seen.depth)
        if scenario.infrared or by_infrared:
            counts = infrared(
                renderer, scene, staging.figures, camera_from_bed, lens, seen.color, seen.part, seen.depth, infrared_rng
            )
            seen = replace(seen, color=shown(counts)) if by_infrared else seen
    with clock.stage("sensor"):
        exposure = draw_exposure(sensor_rng, scenario.sensor)
        if not staging.plate:  # the site's camera chose the exposure of its plate already
            exposure = metered(seen.color, exposure, scenario.sensor)
        if by_infrared:
            exposure = replace(exposure, gain=(exposure.gain[1],) * 3)
        color = expose(seen.color, exposure)
        if by_infrared:  # one sensor, no colours: not those of the noise either
            color = np.repeat(color[..., 1:2], 3, axis=2)
    return Sample(
        color, annotations, camera, camera_from_bed, exposure, staging.plan, staging.figures, look, group, depth,
        counts if scenario.infrared else None,
    )  # fmt: skip


def build_scene(
    staging: Staging,
    look: WardLook,
    rng: np.random.Generator,
    camera_from_bed: NDArray[np.float64],
    light_weights: Mapping[str, float] | None = None,
    backdrop: Backdrop | None = None,
) -> WardScene:
    """The room around the people, with nothing standing in the camera's way; `rng` draws a room without a bed.

    Before a backdrop there is no room, and its light.
    """
    centre = -camera_from_bed[:3, :3].T @ camera_from_bed[:3, 3]
    bed = staging.plan.bed
    around: Around = "ward" if backdrop is None else "bed" if backdrop.bed else "nothing"
    if staging.plan.in_ward:
        scene = furnish(
            bed, staging.patient, staging.companions, look, staging.bedding, camera_centre=centre, around=around
        )
    else:
        scene = compose_open(
            rng, staging.figures, -bed.height, camera_centre=centre, light_weights=light_weights, around=around
        )
    if backdrop is None:
        return scene
    light = backdrop.lighting
    return replace(scene, lights=light.lights, sky=light.sky, ground=light.ground)


def label(
    figures: tuple[Figure, ...],
    seen: Rendering,
    camera_from_bed: NDArray[np.float64],
    lens: Lens,
    *,
    coverage_of_first: float = 0.0,
    segmentation: bool = False,
) -> list[Annotation]:
    """The annotations of everybody who can be seen well enough; a blanket lies on the first person only."""
    found = []
    for person, figure in enumerate(figures, start=1):
        annotation = annotate(
            figure,
            person,
            seen,
            camera_from_bed,
            lens,
            blanket_coverage=coverage_of_first if person == 1 else 0.0,
            segmentation=segmentation,
        )
        if annotation is not None:
            found.append(annotation)
    return found
