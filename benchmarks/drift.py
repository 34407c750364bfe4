"""A simulated day beside a bed: does the watch keep quiet when it should, and speak when it must?

The pictures are full renderings of one ward through the Kinect's lens, colour and depth: patients in other postures,
rails up and down, people walking through and standing in the way, chairs moved, other lamps. Over these go exposure,
colour and a gradient of light, noise and JPEG. Then the camera is really bumped, the bed moved, raised, its backrest
changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.drift import LOOK_EVERY_S, DriftMonitor, Look, take_reference
from calibration.estimate import CalibrationEstimate
from calibration.progress import Progress
from synth.people import make_bystander, make_patient
from synth.render.mesh import Mesh
from synth.render.numba_renderer import NumbaRenderer, render_depth_ids
from synth.render.renderer import Scene
from synth.sensor import lens_of
from synth.simulated_camera import (
    KINECT_COLOR_FROM_DEPTH,
    KINECT_DEPTH,
    SimulatedCamera,
    SimulatedCameraConfig,
)
from synth.ward import lights
from synth.ward.look import WardLook, sample_look
from synth.ward.scene import compose

Transform = NDArray[np.float64]

_PATIENTS, _WALKERS = 14, 4
_LOOKS_A_DISTURBANCE = (3, 7)
_KINDS = ("bump", "moved", "raised", "backrest")
_POSTERIOR = np.diag([2e-6, 2e-6, 2e-6, 4e-6, 4e-6, 4e-6])


@dataclass(frozen=True)
class _Picture:
    color: NDArray[np.uint8]
    depth: NDArray[np.uint16]


class _Ward:
    """One room, one camera; everything else changes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        camera = SimulatedCamera(SimulatedCameraConfig(width=640, seed=seed))
        truth = camera.true_calibration()
        self.estimate = replace(truth, covariance=_POSTERIOR)
        self.look = sample_look(np.random.default_rng(seed))

    def scene(self, patient: int, walkers: int, light: str | None, bed: Bed | None = None) -> Scene:
        """The ward with patient number `patient` in the bed (−1: empty) and somebody else about."""
        rng = np.random.default_rng([patient + 1, walkers])
        bed = bed or self.estimate.bed
        look: WardLook = self.look
        if light is not None:
            lighting = lights.make_lighting(np.random.default_rng(len(light)), light, look.room.window_side)
            look = replace(look, lighting=lighting)
        who = np.random.default_rng([patient + 1, 77])
        rails = str(who.choice(["both", "both", "left", "right", "none"]))
        look = replace(look, bed=replace(look.bed, rails=rails))
        figure = None if patient < 0 else make_patient(who, bed)
        others = [
            make_bystander(rng, tuple(self._somewhere(rng)), float(rng.uniform(-180, 180)), -bed.height, 2 + n)
            for n in range(walkers)
        ]
        centre = self.estimate.viewpoint.centre
        coverage = float(who.uniform(0.3, 0.9)) if who.random() < 0.6 else 0.0
        return compose(who, bed, figure, others, look, coverage, camera_centre=centre)

    def _somewhere(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A place on the floor off the bed, as near to the camera as people come."""
        while True:
            at = rng.uniform([-0.9, -2.0], [2.2, 2.0])
            camera = self.estimate.viewpoint.centre[:2]
            if abs(at[1]) > self.estimate.bed.width / 2 + 0.3 and np.hypot(*(at - camera)) > 0.5:
                return np.asarray(at)

    def picture(self, scene: Scene, camera_from_bed: Transform | None = None) -> _Picture:
        pose = self.estimate.camera_from_bed if camera_from_bed is None else camera_from_bed
        lens, depth_lens = lens_of(self.estimate.camera), lens_of(KINECT_DEPTH)
        color = lens.bend_color(NumbaRenderer().render(scene, pose, lens.pinhole).color)
        depth_pose = np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ pose
        metres, _, _ = render_depth_ids(scene.meshes, depth_pose, depth_lens.pinhole)
        depth = np.rint(depth_lens.bend_plane(metres) * 1000)
        return _Picture(color, np.where((depth < 500) | (depth > 5460), 0, depth).astype(np.uint16))

    def seen(self, picture: _Picture, light: tuple[NDArray[np.float32], float]) -> Look:
        """The picture under this moment's light (gains (3,), slope across the picture), with fresh noise."""
        gains, slope = light
        ramp = 1 + slope * np.linspace(-0.5, 0.5, picture.color.shape[1], dtype=np.float32)[None, :, None]
        color = picture.color * gains * ramp + self.rng.normal(0, 2.5, picture.color.shape).astype(np.float32)
        quality = int(self.rng.integers(75, 95))
        coded = cv2.imencode(".jpg", np.clip(color, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        noise = self.rng.normal(0, 3.0, picture.depth.shape).astype(np.float32)
        lost = self.rng.random(picture.depth.shape, dtype=np.float32) < 0.02
        depth = np.where((picture.depth == 0) | lost, 0, picture.depth + noise).astype(np.uint16)
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        return Look(decoded, depth, KINECT_DEPTH, KINECT_COLOR_FROM_DEPTH)

    def light(self) -> tuple[NDArray[np.float32], float]:
        level = float(np.exp(self.rng.uniform(np.log(0.45), np.log(1.5))))
        return (level * self.rng.uniform(0.88, 1.12, 3)).astype(np.float32), float(self.rng.uniform(-0.5, 0.5))


def run(
    *, disturbances: int = 2000, events: int = 160, seed: int = 3, progress: Progress | None = None
) -> dict[str, Any]:
    """Quiet: alarms in a day of `disturbances`. Events: how many of each kind were found, told right, and how soon."""
    tell = progress or (lambda done, total, note: None)
    ward = _Ward(seed)
    empty = ward.picture(ward.scene(-1, 0, None))
    still = ward.light()
    reference = take_reference([ward.seen(empty, still) for _ in range(5)], ward.estimate)
    pool = _render_pool(ward, tell)
    monitor = DriftMonitor(reference, ward.estimate)
    clock, cpu_s, looks, alarms, blind, scatter = 0.0, 0.0, 0, [], 0, []

    def look(watching: DriftMonitor, picture: _Picture, light: tuple[NDArray[np.float32], float]) -> Any:
        nonlocal clock, cpu_s, looks
        seen = ward.seen(picture, light)
        began = time.thread_time()
        verdict = watching.look(seen, clock)
        cpu_s += time.thread_time() - began
        clock += LOOK_EVERY_S
        looks += 1
        return verdict

    for number in range(disturbances):
        patient, light = pool[int(ward.rng.integers(len(pool)))], ward.light()
        for _ in range(int(ward.rng.integers(*_LOOKS_A_DISTURBANCE))):
            verdict = look(monitor, patient[int(ward.rng.integers(len(patient)))], light)
            if verdict.camera_deg is not None:
                scatter.append(verdict.camera_deg)
            blind += verdict.blind
        if verdict.changes:
            alarms.append([change.text for change in verdict.changes])
            monitor = DriftMonitor(reference, ward.estimate)  # each false alarm counts once
        tell(number + 1, disturbances, f"{len(alarms)} false alarms")
    quiet_cpu = cpu_s / looks
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
    for number in range(events):
        kind = "bump" if number % 2 else _KINDS[1 + number // 2 % 3]  # bumps are what has to be found fast
        found[kind].append(_event(ward, kind, DriftMonitor(reference, ward.estimate), look, pool))
        tell(number + 1, events, f"{kind}: {found[kind][-1]['seconds']}")
    return {
        "disturbances": disturbances, "looks": looks, "false_alarms": len(alarms), "false_alarm_texts": alarms[:10],
        "blind_looks": blind, "camera_noise_deg": {"p50": _at(scatter, 50), "p99": _at(scatter, 99)},
        "cpu_ms_a_look": 1e3 * quiet_cpu, "share_of_a_core": quiet_cpu / LOOK_EVERY_S,
        "events": {kind: _summary(cases) for kind, cases in found.items()},
    }  # fmt: skip


def _render_pool(ward: _Ward, tell: Progress) -> list[list[_Picture]]:
    """For every patient and a light of their own, the ward without and with people walking through."""
    pool = []
    for patient in range(_PATIENTS):
        light = str(np.random.default_rng(patient).choice(sorted(lights.PRESETS)))
        pool.append([ward.picture(ward.scene(patient, walkers, light)) for walkers in (0, 0, 1, 1, 2)[: _WALKERS + 1]])
        tell(patient + 1, _PATIENTS, "rendering the ward")
    return pool


def _event(ward: _Ward, kind: str, monitor: DriftMonitor, look: Any, pool: list[list[_Picture]]) -> dict[str, Any]:
    """Let one thing happen and watch for up to a minute."""
    rng, patient = ward.rng, int(ward.rng.integers(_PATIENTS))
    light = ward.light()
    for _ in range(14):
        look(monitor, pool[patient][int(rng.integers(3))], light)
    preset = str(np.random.default_rng(patient).choice(sorted(lights.PRESETS)))
    amount = 0.0
    if kind == "bump":
        amount = float(np.exp(rng.uniform(np.log(0.5), np.log(8.0))))
        axis = rng.normal(size=3)
        bump = np.eye(4)
        bump[:3, :3] = Rotation.from_rotvec(np.radians(amount) * axis / np.linalg.norm(axis)).as_matrix()
        bump[:3, 3] = rng.normal(0, 0.004, 3)
        pose = bump @ ward.estimate.camera_from_bed
        after = [ward.picture(ward.scene(patient, walkers, preset), pose) for walkers in (0, 1)]
    elif kind == "backrest":
        amount = float(rng.uniform(25, 60))
        bed = replace(ward.estimate.bed, backrest_deg=amount)
        after = [ward.picture(ward.scene(patient, walkers, preset, bed)) for walkers in (0, 1)]
    else:
        move = np.eye(4)
        if kind == "raised":
            amount = float(rng.choice([-1, 1]) * rng.uniform(0.03, 0.2))
            move[2, 3] = amount
        else:
            amount = float(rng.uniform(0.1, 0.35))
            heading, yaw = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-6, 6))
            move[:2, 3] = amount * np.cos(heading), amount * np.sin(heading)
            move[:3, :3] = Rotation.from_rotvec([0, 0, yaw]).as_matrix()
        after = [
            ward.picture(_with_bed_moved(ward.scene(patient, walkers, preset), move, ward.estimate))
            for walkers in (0, 1)
        ]
    wanted = {"bump": "camera", "moved": "bed", "raised": "height", "backrest": "backrest"}[kind]
    begins = float(rng.uniform(0, LOOK_EVERY_S))  # how long after it happened the next look comes
    for step in range(30):
        verdict = look(monitor, after[int(rng.random() < 0.4)], light)
        told = {change.what for change in verdict.changes}
        if told:
            seconds = begins + step * LOOK_EVERY_S
            return {"amount": amount, "seconds": seconds, "right": told == {wanted}, "told": sorted(told)}
    return {"amount": amount, "seconds": None, "right": False, "told": []}


def _with_bed_moved(scene: Scene, move: Transform, estimate: CalibrationEstimate) -> Scene:
    """The scene with the bed and all that lies in it moved; the room stays."""
    reach = np.array([estimate.bed.length, estimate.bed.width]) / 2 + 0.4

    def moved(mesh: Mesh) -> Mesh:
        if (np.abs(mesh.vertices[:, :2]).max(axis=0) > reach).any() or mesh.instance > 1:
            return mesh
        vertices = mesh.vertices.astype(np.float64) @ move[:3, :3].T + move[:3, 3]
        return replace(mesh, vertices=vertices.astype(np.float32))

    return Scene(tuple(moved(mesh) for mesh in scene.meshes), scene.lights, scene.sky, scene.ground)


def _summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    soon = [case["seconds"] for case in cases if case["seconds"] is not None]
    return {
        "happened": len(cases), "found": len(soon), "told_right": sum(case["right"] for case in cases),
        "seconds_median": _at(soon, 50), "seconds_worst": max(soon, default=None),
        "missed": [round(case["amount"], 3) for case in cases if case["seconds"] is None],
        "told_otherwise": [case["told"] for case in cases if case["told"] and not case["right"]],
    }  # fmt: skip


def _at(values: list[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
