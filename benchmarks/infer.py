"""How fast the models run here: each engine, and the whole way from picture to skeletons."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.base_models import base_models
from benchmarks.yardsticks import median_ms, rtmlib_ms, times_ms, ultralytics_ms
from calibration.errors import WardposeError
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.engines.engine import BEST_FIRST, open_engine
from runtime.frames import Frame
from runtime.pipeline import LivePipeline
from runtime.pose import PoseEstimator

Progress = Callable[[int, int, str], None]


def run(
    repeats: int = 30,
    *,
    detector: Path | None = None,
    pose: Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    yardsticks: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Medians over `repeats` calls on drawn 1280 × 720 pictures; the base models where none are named.

    fps, p50_ms, p99_ms: the best engine's whole pipeline, its people being whom it finds. engines: for each engine
    detector_ms and pose_ms (one person), or why it is refused. rss_gib: this process at the end.
    ratio_to_ultralytics: its predictor's time over ours for the detector; ratio_to_rtmlib: its RTMPose's time over ours
    for one person; both None where they can't be had.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-bench-") as folder:
        if detector is None:
            detector, pose = base_models(Path(folder))
        steps = [*BEST_FIRST, "pipeline", "yardsticks"]

        def note(step: str) -> None:
            if progress:
                progress(steps.index(step), len(steps), step)

        frames = drawn_frames(seed)
        person = Detections(np.array([[500, 120, 760, 650]], np.float32), np.ones(1, np.float32))
        engines: dict[str, Any] = {}
        for name in BEST_FIRST:
            note(name)
            try:
                engines[name] = _stages(detector, pose, name, threads, frames, person, repeats)
            except WardposeError as error:
                engines[name] = {"refused": error.what}
        note("pipeline")
        pipeline = LivePipeline.open(detector, pose, threads=threads)
        clock = iter(range(1_000_000))

        def work(picture: NDArray[np.uint8]) -> object:
            index = next(clock)
            return pipeline.process(Frame(picture, index / 30, index, "drawn"))

        taken = times_ms(work, frames, repeats)
        rss_gib = psutil.Process(os.getpid()).memory_info().rss / 2**30
        note("yardsticks")
        ours = engines[pipeline.engine]
        theirs = posers = None
        if yardsticks:
            theirs = ultralytics_ms(detector, pipeline.detector.engine.info, frames, repeats)
        if yardsticks and pose is not None and pipeline.pose is not None:
            posers = rtmlib_ms(pose, pipeline.pose.engine.info, frames, person.xyxy, repeats)
        if progress:
            progress(len(steps), len(steps), "done")
    return {
        "engine": pipeline.engine,
        "fps": round(1e3 / float(np.mean(taken)), 2),
        "p50_ms": round(float(np.percentile(taken, 50)), 2),
        "p99_ms": round(float(np.percentile(taken, 99)), 2),
        "rss_gib": round(rss_gib, 3),
        "engines": engines,
        "ratio_to_ultralytics": None if theirs is None else round(theirs / ours["detector_ms"], 2),
        "ratio_to_rtmlib": None if posers is None else round(posers / ours["pose_ms"], 2),
    }


def drawn_frames(seed: int, count: int = 4) -> list[NDArray[np.uint8]]:
    """Pictures (720, 1280, 3) with shapes and noise: engines take the same time whatever they look at."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        picture = rng.normal(120, 20, (720, 1280, 3))
        for _ in range(20):
            x, y, w, h = rng.integers((0, 0, 20, 20), (1200, 650, 400, 300))
            picture[y : y + h, x : x + w] = rng.uniform(0, 255, 3)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return frames


def _stages(
    detector: Path,
    pose: Path | None,
    engine: str,
    threads: int | None,
    frames: list[NDArray[np.uint8]],
    person: Detections,
    repeats: int,
) -> dict[str, float]:
    finder = PersonDetector(open_engine(detector, prefer=engine, threads=threads))
    stages = {"detector_ms": round(median_ms(finder.detect, frames, repeats), 2)}
    if pose is not None:
        estimator = PoseEstimator(open_engine(pose, prefer=engine, threads=threads))
        stages["pose_ms"] = round(median_ms(lambda f: estimator.estimate(f, person), frames, repeats), 2)
    return stages
