"""One picture with its truth, made from a scenario, a seed and a number, and from nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.plugins import load_plugin
from synth.body.figure import Figure
from synth.labels import Annotation, annotate
from synth.people import make_bystander, make_patient, make_upright
from synth.render.numba_renderer import NumbaRenderer, render_depth_ids
from synth.render.renderer import Renderer, Rendering
from synth.scenario import Companion, Plan, Scenario, draw_plan, draw_view
from synth.sensor import Exposure, Lens, draw_exposure, expose, lens_of, metered
from synth.ward.scene import WardLook, WardScene, compose, compose_open, sample_look

# A camera may end up behind a wall or a curtain; such a picture is drawn anew, this many times at most.
_ATTEMPTS = 4
_STAGES = ("plan", "people", "scene", "render", "label", "sensor")


@dataclass
class StageClock:
    """Seconds spent in each stage of making pictures."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


@dataclass(frozen=True)
class Sample:
    """color (H, W, 3) uint8 RGB as the sensor gives it; annotations without ids; and what it was made from."""

    color: NDArray[np.uint8]
    annotations: list[Annotation]
    camera: CameraModel
    camera_from_bed: NDArray[np.float64]
    exposure: Exposure
    plan: Plan
    figures: tuple[Figure, ...]
    look: WardLook


def make_sample(
    scenario: Scenario,
    seed: int,
    index: int,
    *,
    renderer: str = "numba",
    segmentation: bool = False,
    clock: StageClock | None = None,
) -> Sample:
    """Picture number `index` of the data set with this scenario and seed; the same bytes in every process."""
    clock = clock or StageClock()
    for attempt in range(_ATTEMPTS):
        sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index, attempt))
        sample = _draw(scenario, sequence, open_renderer(renderer), segmentation, clock)
        if sample.annotations or not sample.figures:
            break
    return sample


@lru_cache(maxsize=4)
def open_renderer(name: str) -> Renderer:
    """The renderer registered as `name`."""
    return cast(Renderer, NumbaRenderer() if name == "numba" else load_plugin("renderers", name)())


def _draw(
    scenario: Scenario, sequence: np.random.SeedSequence, renderer: Renderer, segmentation: bool, clock: StageClock
) -> Sample:
    # One generator a concern, so that a change in one (a new posture, say) leaves the others' draws as they were.
    plan_rng, people_rng, look_rng, view_rng, sensor_rng = (np.random.default_rng(s) for s in sequence.spawn(5))
    with clock.stage("plan"):
        plan = draw_plan(scenario, plan_rng)
        camera, camera_from_bed = draw_view(scenario, plan, view_rng)
        lens = lens_of(camera)
    with clock.stage("people"):
        figures = make_people(plan, people_rng)
    with clock.stage("scene"):
        look = sample_look(look_rng if scenario.look_seed is None else np.random.default_rng(scenario.look_seed))
        scene = build_scene(plan, figures, look, look_rng, camera_from_bed)
    with clock.stage("render"):
        seen = lens.bend(renderer.render(scene, camera_from_bed, lens.pinhole))
    with clock.stage("label"):
        annotations = label(
            figures,
            seen,
            camera_from_bed,
            lens,
            coverage_of_first=scene.blanket_coverage if plan.has_patient else 0.0,
            segmentation=segmentation,
        )
    with clock.stage("sensor"):
        exposure = metered(seen.color, draw_exposure(sensor_rng, scenario.sensor), scenario.sensor)
        color = expose(seen.color, exposure)
    return Sample(color, annotations, camera, camera_from_bed, exposure, plan, figures, look)


def make_people(plan: Plan, rng: np.random.Generator) -> tuple[Figure, ...]:
    """The plan's people; instance 1, 2, … in order, the patient first."""
    figures: list[Figure] = []
    if plan.has_patient:
        figures.append(make_patient(rng, plan.bed, instance=1, posture=plan.posture))
    for companion in plan.companions:
        figures.append(_make_companion(companion, plan, rng, len(figures) + 1))
    return tuple(figures)


def _make_companion(companion: Companion, plan: Plan, rng: np.random.Generator, instance: int) -> Figure:
    make = make_bystander if plan.in_ward else make_upright
    return make(rng, companion.position, companion.yaw_deg, -plan.bed.height, instance, companion.role)


def build_scene(
    plan: Plan,
    figures: tuple[Figure, ...],
    look: WardLook,
    rng: np.random.Generator,
    camera_from_bed: NDArray[np.float64],
) -> WardScene:
    """The room around the people, with nothing standing in the camera's way."""
    centre = -camera_from_bed[:3, :3].T @ camera_from_bed[:3, 3]
    if not plan.in_ward:
        return compose_open(rng, figures, floor_z=-plan.bed.height, camera_centre=centre)
    patient = figures[0] if plan.has_patient else None
    others = figures[1:] if plan.has_patient else figures
    return compose(rng, plan.bed, patient, others, look, plan.blanket_coverage, camera_centre=centre)


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
        _, instance, _ = render_depth_ids(figure.meshes, camera_from_bed, lens.pinhole)
        annotation = annotate(
            figure,
            person,
            seen,
            lens.bend_plane(instance) > 0,
            camera_from_bed,
            lens,
            blanket_coverage=coverage_of_first if person == 1 else 0.0,
            segmentation=segmentation,
        )
        if annotation is not None:
            found.append(annotation)
    return found
