"""How fast the models run here: each engine, one and two threads, and the whole way from picture to skeletons."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.yardsticks import median_ms, rtmlib_ms, times_ms, ultralytics_ms
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.engines.engine import BEST_FIRST, open_engine
from runtime.frames import Frame
from runtime.pipeline import LivePipeline
from runtime.pose import PoseEstimator
from runtime.turn import Aims

_THREADS = (1, 2)


def run(
    repeats: int = 30,
    *,
    detector: Path,
    pose: Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    yardsticks: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Medians over `repeats` calls of two ONNX files on drawn 1280 × 720 pictures.

    fps, p50_ms, p99_ms: the best engine's whole pipeline, its people being whom it finds. engines: for each engine
    detector_ms and pose_ms, or why it is refused; threads: the same with one and with two threads of the processor.
    pose_ms: one person whose turn is known, as from a track's second frame on; pose_first_ms: one who is seen for the
    first time, whom a model that turns its crops looks at from four sides, and once more from each answer's own.
    rss_gib: this process at the end. ratio_to_ultralytics: its predictor's time over ours for the detector;
    ratio_to_rtmlib: its RTMPose's time over ours for one person; both None where they can't be had.
    """
    steps = [*BEST_FIRST, *(f"{count} threads" for count in _THREADS), "pipeline", "yardsticks"]

    def note(step: str) -> None:
        if progress:
            progress(steps.index(step), len(steps), step)

    frames = drawn_frames(seed)
    person = Detections(np.array([[500, 120, 760, 650]], np.float32), np.ones(1, np.float32))

    def measured(engine: str, count: int | None) -> dict[str, Any]:
        try:
            return _stages(detector, pose, engine, count, frames, person, repeats)
        except WardposeError as error:
            return {"refused": error.what}

    engines: dict[str, Any] = {}
    for name in BEST_FIRST:
        note(name)
        engines[name] = measured(name, threads)
    by_threads: dict[int, dict[str, Any]] = {}
    for count in _THREADS:
        note(f"{count} threads")
        by_threads[count] = {name: measured(name, count) for name in BEST_FIRST if "refused" not in engines[name]}
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
        "models": {"detector": pipeline.detector.engine.info.name, "pose": _name(pipeline.pose)},
        "fps": round(1e3 / float(np.mean(taken)), 2),
        "p50_ms": round(float(np.percentile(taken, 50)), 2),
        "p99_ms": round(float(np.percentile(taken, 99)), 2),
        "rss_gib": round(rss_gib, 3),
        "engines": engines,
        "threads": by_threads,
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
    if pose is None:
        return stages
    estimator = PoseEstimator(open_engine(pose, prefer=engine, threads=threads))
    aims = {"pose_ms": Aims(np.zeros(1), np.full(1, np.nan)), "pose_first_ms": Aims.unknown(1)}
    for name, aim in aims.items():
        look = partial(estimator.estimate, detections=person, aims=aim)
        stages[name] = round(median_ms(look, frames, repeats), 2)
    return stages


def _name(pose: PoseEstimator | None) -> str:
    return "" if pose is None else pose.engine.info.name
