"""How fast synthetic pictures are made, where the time goes, and how different they are from each other."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import pyrender_baseline
from calibration.errors import WardposeError
from synth.dataset import DatasetSpec, generate_sample, make_dataset
from synth.sample import StageClock
from synth.scenario import load_scenario
from synth.sensor import encode_jpeg

_TIMED_PICTURES = 8


def run(
    count: int = 48,
    *,
    scenario: str = "C",
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Make `count` pictures as a user would and report.

    images_per_s: finished files, `workers` processes, their start not counted. stages_ms: means over one process's
    pictures. rss_gib: the most memory this process and its workers held. ratio_to_pyrender: a picture's
    processor time in `pyrender_baseline` over its time here, None where pyrender or EGL is missing.
    distinct: how many different bodies, poses, blankets and looks the pictures hold.
    """
    workers = workers or os.cpu_count() or 1
    spec = DatasetSpec(scenario=load_scenario(scenario), count=count, seed=seed)
    stages = _stages(spec, min(count, _TIMED_PICTURES))
    with TemporaryDirectory() as folder:
        finished: list[float] = []

        def note(done: int, total: int, text: str) -> None:
            finished.append(time.monotonic())
            if progress:
                progress(done, total, text)

        make_dataset(spec, Path(folder) / "set", workers=workers, progress=note)
        # The first call precedes all work, and the first pictures include the workers' start.
        steady = finished[1:][min(2 * workers, count // 2) :]
        rate = (len(steady) - 1) / (steady[-1] - steady[0]) if len(steady) > 1 else float("nan")
        distinct = _distinct(Path(folder) / "set")
    ratio = None
    with contextlib.suppress(WardposeError):  # no pyrender, or no EGL
        other_s = pyrender_baseline.seconds_a_picture(spec, min(count, _TIMED_PICTURES))
        ratio = round(other_s / (sum(stages.values()) / 1e3), 2)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if workers > 1:
        kib += workers * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "images_per_s": round(rate, 2),
        "ratio_to_pyrender": ratio,
        "rss_gib": round(kib / 2**20, 2),
        "stages_ms": stages,
        "distinct": distinct,
        "images": count,
        "workers": workers,
        "scenario": scenario,
    }


def _stages(spec: DatasetSpec, count: int) -> dict[str, float]:
    """Milliseconds a picture of each stage, after one picture to warm up."""
    generate_sample(spec, 0)
    clock = StageClock()
    for index in range(count):
        sample = generate_sample(spec, index, clock=clock)
        with clock.stage("encode"):
            encode_jpeg(sample.color, sample.exposure.jpeg_quality)
    return {name: round(1e3 * seconds / count, 1) for name, seconds in clock.seconds.items()}


def _distinct(folder: Path) -> dict[str, int]:
    bodies, poses, blankets, looks = set(), set(), set(), set()
    for path in (folder / "records").glob("*.json"):
        record = json.loads(path.read_bytes())
        looks.add(record["image"]["look"])
        for person in record["annotations"]:
            bodies.add((person["age"], person["bmi"], person["sex"], person["height"]))
            poses.add(json.dumps(person["joints3d"]))
            if person["blanket_coverage"] > 0:
                blankets.add(person["blanket_coverage"])
    return {"bodies": len(bodies), "poses": len(poses), "blankets": len(blankets), "looks": len(looks)}
