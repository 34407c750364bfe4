"""The live path as it runs at a bedside: capture process, frame ring, live process, socket."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.yardsticks import median_ms, rtmlib_ms, ultralytics_ms
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.bus import ResultClient
from runtime.capture.ring import RingReader
from runtime.capture.source import StaleFrame
from runtime.detections import Detections
from runtime.pause import LIFT, Paused, PauseSwitch
from runtime.pipeline import LivePipeline
from runtime.turn import Aims

_START_S = 120.0
_YARDSTICK_FRAMES = 8


def run(
    seconds: int = 10,
    *,
    source: str = "simulated",
    detector: Path,
    pose: Path | None = None,
    threads: int | None = None,
    yardsticks: bool = True,
    pause_file: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Watch the real processes with two ONNX files for `seconds` and report.

    fps: frames answered a second (never more than the source gives). p50_ms, p99_ms: from a frame's capture to its
    skeletons. rss_gib: the live process. ratio_to_ultralytics: its predictor's time for our detector's file and these
    frames over ours; ratio_to_rtmlib: likewise its RTMPose for our pose model's file; None where they can't be had.
    pause_file: the site's pause, which holds here as everywhere.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-bench-") as folder:
        ring, socket = f"bench-{os.getpid()}", Path(folder) / "live.sock"
        capture = ["runtime.capture.process", "--source", source, "--ring", ring]
        live = ["runtime.live", "--ring", ring, "--detector", str(detector), "--socket", str(socket)]
        live += ["--pose", str(pose)] if pose else []
        live += ["--threads", str(threads)] if threads else []
        if pause_file is not None:
            PauseSwitch(pause_file).require_off()
            capture, live = ([*command, "--pause-file", str(pause_file)] for command in (capture, live))
        with running(capture), running(live) as process, ResultClient(socket) as client:
            engine = wait_until_live(client, process, progress)
            finished, latency_ms, stages = _watch(client, seconds, progress)
            rss_gib = psutil.Process(process.pid).memory_info().rss / 2**30
            frames = _some_frames(ring) if yardsticks else []
        ratios = _ratios(detector, pose, threads, frames)
    return {
        "engine": engine,
        "source": source,
        "frames": len(finished),
        "fps": round((len(finished) - 1) / (finished[-1] - finished[0]), 2) if len(finished) > 1 else 0.0,
        "p50_ms": round(float(np.percentile(latency_ms, 50)), 1) if latency_ms else None,
        "p99_ms": round(float(np.percentile(latency_ms, 99)), 1) if latency_ms else None,
        "rss_gib": round(rss_gib, 3),
        "stages_ms": {name: round(float(np.median(values)), 2) for name, values in stages.items()},
        **ratios,
    }


@contextmanager
def running(module: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """One of our modules as a process of its own, ended with the block."""
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen([sys.executable, "-m", *module], stderr=subprocess.DEVNULL, cwd=root)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_live(client: ResultClient, process: subprocess.Popen[bytes], progress: Progress | None) -> str:
    """The detector's engine, once frames flow."""
    until, why = time.monotonic() + _START_S, "the live process does not answer"
    while time.monotonic() < until:
        if process.poll() is not None:
            raise WardposeError(
                f"the live process ended with code {process.returncode}", mend="run it by hand to see why"
            )
        if progress:
            progress(0, 1, "starting")
        try:
            message = client.latest(1.0)
        except WardposeError:
            time.sleep(0.1)
            continue
        why = message["message"] or message["state"]
        _stop_when_paused(message)
        if message["state"] == "live":
            return str(message["engines"]["detector"])
    raise WardposeError(
        f"no live picture within {_START_S:.0f} s: {why}", mend="check the source with `wardpose camera probe`"
    )


def _stop_when_paused(message: dict[str, Any]) -> None:
    if message["state"] == "paused":
        raise Paused((message["pause"] or {}).get("words", "paused"), mend=LIFT)


def _watch(
    client: ResultClient, seconds: int, progress: Progress | None
) -> tuple[list[float], list[float], dict[str, list[float]]]:
    """When each frame was finished, its age then (ms), and its stages (ms)."""
    finished: list[float] = []
    latency_ms: list[float] = []
    stages: dict[str, list[float]] = {}
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if progress:
            progress(min(int(seconds - left), seconds), seconds, "watching")
        try:
            message = client.latest(min(left + 0.01, 1.0))
        except WardposeError:
            continue
        _stop_when_paused(message)
        if message["state"] != "live" or (finished and message["finished_at"] <= finished[-1]):
            continue
        finished.append(message["finished_at"])
        latency_ms.append((message["finished_at"] - message["captured_at"]) * 1e3)
        for name, ms in message["stages_ms"].items():
            stages.setdefault(name, []).append(ms)
    if progress:
        progress(seconds, seconds, "watched")
    return finished, latency_ms, stages


def _some_frames(ring: str) -> list[Any]:
    frames = []
    with RingReader(ring) as reader:
        for _ in range(_YARDSTICK_FRAMES):
            try:
                frames.append(reader.read_next(1.0).color)
            except StaleFrame:
                break
    return frames


def _ratios(detector: Path, pose: Path | None, threads: int | None, frames: list[Any]) -> dict[str, float | None]:
    ratios: dict[str, float | None] = {"ratio_to_ultralytics": None, "ratio_to_rtmlib": None}
    if not frames:
        return ratios
    repeats = 3 * len(frames)
    pipeline = LivePipeline.open(detector, pose, threads=threads)
    theirs = ultralytics_ms(detector, pipeline.detector.engine.info, frames, repeats)
    if theirs is not None:
        ratios["ratio_to_ultralytics"] = round(theirs / median_ms(pipeline.detector.detect, frames, repeats), 2)
    estimator = pipeline.pose
    if pose is not None and estimator is not None:
        height, width = frames[0].shape[:2]
        person = Detections(
            np.array([[0.3 * width, 0.1 * height, 0.6 * width, 0.9 * height]], np.float32), np.ones(1, np.float32)
        )
        upright = Aims(np.zeros(1), np.full(1, np.nan))  # one crop, like theirs
        theirs = rtmlib_ms(pose, estimator.engine.info, frames, person.xyxy, repeats)
        if theirs is not None:
            ours = median_ms(lambda frame: estimator.estimate(frame, person, upright), frames, repeats)
            ratios["ratio_to_rtmlib"] = round(theirs / ours, 2)
    return ratios
