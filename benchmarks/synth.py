"""How fast synthetic pictures are made, where the time goes, and how different they are from each other."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from benchmarks import pyrender_baseline
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from synth.dataset import DatasetSpec, generate_sample, make_dataset
from synth.sample import StageClock, open_renderer
from synth.scenario import load_scenario
from synth.sensor import encode_jpeg

_TIMED_PICTURES = 12


def run(
    count: int = 96,
    *,
    scenario: str = "C",
    seed: int = 0,
    renderer: str = "numba",
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make `count` pictures as a user would, drawn by `renderer`, and report.

    images_per_s: finished files, `workers` processes, their start not counted. later_to_earlier: the second half's
    rate over the first's (1: cost is linear). scaling: the rate over that of one process. cpu_ms: processor time of a
    picture, all processes together. rss_gib: the most memory any one process held. stages_ms: processor time of each
    stage, mean over one process's pictures. ratio_to_pyrender: a picture's processor time in `pyrender_baseline` over
    its time here, None where pyrender or EGL is missing. distinct: how many different bodies, poses (a mirror image is
    none), blankets and looks 1,000 pictures hold, from those made.
    """
    workers = workers or os.cpu_count() or 1
    open_renderer(renderer)  # a missing one is told before any work
    spec = DatasetSpec(scenario=load_scenario(scenario), count=count, seed=seed, renderer=renderer)
    with TemporaryDirectory() as folder:
        many = _timed(spec, Path(folder) / "set", workers, progress)
        distinct = _distinct(Path(folder) / "set", count)
        one = _timed(spec, Path(folder) / "again", 1, progress) if workers > 1 else many
    stages = _stages(spec, min(count, _TIMED_PICTURES))
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "images_per_s": _rounded(many.rate()),
        "ratio_to_pyrender": _ratio_to_pyrender(spec, min(count, _TIMED_PICTURES), sum(stages.values()) / 1e3),
        "rss_gib": round(kib / 2**20, 2),
        "stages_ms": stages,
        "distinct": distinct,
        "cpu_ms": _rounded(1e3 * many.cpu_s_a_picture(), 1),
        "later_to_earlier": _rounded(many.rate(0.5, 1.0) / many.rate(0.0, 0.5)),
        "scaling": _rounded(many.rate() / one.rate()),
        "images": count,
        "workers": workers,
        "scenario": scenario,
        "renderer": renderer,
    }


@dataclass
class _Pace:
    """When each picture was finished, and how much processor time all processes had used by then."""

    skipped: int  # the first pictures, which include the processes' start
    finished_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def note(self) -> None:
        self.finished_s.append(time.monotonic())
        family = [psutil.Process(), *psutil.Process().children()]
        used = 0.0
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system
        self.cpu_s.append(used)

    def rate(self, start: float = 0.0, end: float = 1.0) -> float:
        """Pictures a second between two shares of the run; NaN where there are too few."""
        steady = self.finished_s[self.skipped :]
        part = steady[round(start * (len(steady) - 1)) : round(end * (len(steady) - 1)) + 1]
        return (len(part) - 1) / (part[-1] - part[0]) if len(part) > 1 and part[-1] > part[0] else float("nan")

    def cpu_s_a_picture(self) -> float:
        steady = self.cpu_s[self.skipped :]
        return (steady[-1] - steady[0]) / (len(steady) - 1) if len(steady) > 1 else float("nan")


def _timed(spec: DatasetSpec, out: Path, workers: int, progress: Progress | None) -> _Pace:
    # The first call precedes all work. Each process hands over a scene's pictures together.
    pace = _Pace(1 + min(2 * workers * spec.scenario.views_per_scene, spec.count // 2))

    def note(done: int, total: int, text: str) -> None:
        pace.note()
        if progress:
            progress(done, total, text)

    make_dataset(spec, out, workers=workers, progress=note)
    return pace


def _rounded(value: float, digits: int = 2) -> float | None:
    return round(value, digits) if np.isfinite(value) else None


def _ratio_to_pyrender(spec: DatasetSpec, count: int, seconds: float) -> float | None:
    with contextlib.suppress(WardposeError):  # no pyrender, or no EGL
        return round(pyrender_baseline.seconds_a_picture(spec, count) / seconds, 2)
    return None


def _stages(spec: DatasetSpec, count: int) -> dict[str, float]:
    """Processor milliseconds a picture of each stage, after one scene to warm up."""
    for index in range(spec.scenario.views_per_scene):
        generate_sample(spec, spec.count + index)
    clock = StageClock()
    for index in range(count):
        sample = generate_sample(spec, index, clock=clock)
        with clock.stage("encode"):
            encode_jpeg(sample.color, sample.exposure.jpeg_quality)
    return {name: round(1e3 * seconds / count, 1) for name, seconds in clock.seconds.items()}


def _distinct(folder: Path, count: int) -> dict[str, int]:
    """Different bodies, poses, blankets and looks, scaled from `count` pictures to 1,000."""
    found: dict[str, set[Any]] = {"bodies": set(), "poses": set(), "blankets": set(), "looks": set()}
    for path in (folder / "records").glob("*.json"):
        record = parse_json(path.read_bytes())
        found["looks"].add(record["image"]["look"])
        for person in record["annotations"]:
            found["bodies"].add((person["age"], person["bmi"], person["sex"], person["height"]))
            joints = np.array(person["joints3d"])
            spread = np.sort(np.linalg.norm(joints - joints.mean(0), axis=1))
            found["poses"].add(tuple(np.round(spread, 3)))
            if person["blanket_coverage"] > 0:
                found["blankets"].add((record["image"]["scene"], person["blanket_coverage"]))
    return {name: round(1000 * len(values) / count) for name, values in found.items()}
