"""What others' programs need for the same frames with the same weights: ultralytics' predictor and rtmlib's RTMPose.

    python -m benchmarks.others --frames FRAMES.npz --folder DIR [--threads N]

The models are ones that all three can read: the detector that comes with the product, at the frames' shape, and an
RTMPose-t of random weights, whose time is that of a trained one. rtmlib is installed for the occasion, without what it
asks for: it works with the numpy, OpenCV and ONNX Runtime of the product. Ours and theirs take turns, so that what else
the box does slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.yardsticks import rtmlib_call, ultralytics_call
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.engines.engine import REFERENCE, open_engine
from runtime.frames import Frame
from runtime.pipeline import LivePipeline
from runtime.pose import PoseEstimator

RTMLIB = "rtmlib==0.0.16"
_BASE = Path(__file__).resolve().parent.parent / "tuning" / "base_models" / "person-detector"
_TURNS, _WARM_UP, _SECONDS = 12, 2, 900.0


def compare(frames: Sequence[NDArray[np.uint8]], *, threads: int | None = None) -> dict[str, Any]:
    """Milliseconds a frame of both programs and of ours, and their ratios (theirs over ours).

    detector_ms, pose_ms: ours alone, as ultralytics_ms and rtmlib_ms are theirs; theirs_ms: both, one after the other,
    as one would join them; ours_ms: the live pipeline, which looks for people beside the poses, in `detections` frames
    of a hundred, and of whose skeletons `fresh` in a hundred are of their frame. frames: (H, W, 3) RGB. Raises
    WardposeError where rtmlib can't be had.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-yardsticks-") as work:
        folder = Path(work)
        _install(folder / "packages")
        np.savez(folder / "frames.npz", frames=np.stack(frames))
        command = [sys.executable, "-m", "benchmarks.others", "--frames", str(folder / "frames.npz")]
        command += ["--folder", str(folder), *(["--threads", str(threads)] if threads else [])]
        root = str(Path(__file__).resolve().parent.parent)
        paths = os.pathsep.join([root, str(folder / "packages")])
        done = subprocess.run(
            command, cwd=root, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
        said = done.stdout.strip().splitlines()
        if done.returncode or not said:
            why = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise WardposeError(f"the yardsticks ended with code {done.returncode} ({why[:200]})", where=RTMLIB)
        found: dict[str, Any] = parse_json(said[-1])
        return found


def _install(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), RTMLIB]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise WardposeError(f"{RTMLIB} can't be installed: {why[:200]}", mend="leave --yardsticks out")


def measure(frames: Sequence[NDArray[np.uint8]], folder: Path, threads: int | None) -> dict[str, Any]:
    """As `compare`, in an environment that has both programs; `folder` takes the models."""
    from tuning.export import export_onnx
    from tuning.import_model import build_model

    height, width = frames[0].shape[:2]
    detector, pose = folder / "detector.onnx", folder / "pose.onnx"
    # The smallest multiples of 32 that hold the picture's shape at 640 pixels.
    export_onnx(_BASE, detector, width=640, height=32 * round(640 * height / width / 32 + 0.49))
    build_model("rtmpose-t", folder, "rtmpose")
    export_onnx(folder / "rtmpose", pose)
    engines = [open_engine(path, prefer=REFERENCE, threads=threads) for path in (detector, pose)]
    finder, estimator = PersonDetector(engines[0]), PoseEstimator(engines[1])
    theirs_find, theirs_pose = ultralytics_call(detector, engines[0].info), rtmlib_call(pose, engines[1].info)
    if theirs_find is None or theirs_pose is None:
        raise WardposeError("ultralytics or rtmlib is missing", mend="run `wardpose bench live --yardsticks`")
    pipeline = LivePipeline(finder, estimator, at_pace=True)
    taken: dict[str, list[float]] = {name: [] for name in ("ultralytics", "rtmlib", "detector", "pose", "ours")}
    people, looked, number = [], 0, 0
    fresh: list[bool] = []
    for turn in range(-_WARM_UP, _TURNS):
        for frame in frames:
            boxes = _timed(taken, "ultralytics", turn, theirs_find, frame)
            _timed(taken, "rtmlib", turn, theirs_pose, frame, boxes)
            known = Detections(boxes, np.ones(len(boxes), np.float32))
            _timed(taken, "detector", turn, finder.detect, frame)
            _timed(taken, "pose", turn, estimator.estimate, frame, known)
            people.append(len(boxes))
        for frame in frames:
            result = _timed(taken, "ours", turn, pipeline.process, Frame(frame, time.monotonic(), number, "bench"))
            looked += turn >= 0 and "detect" in result.stages_ms
            if turn >= 0 and result.skeletons_age_s is not None:
                fresh += (result.skeletons_age_s == 0).tolist()
            number += 1
    pipeline.end()
    mean = {name: float(np.mean(values)) for name, values in taken.items()}
    theirs = mean["ultralytics"] + mean["rtmlib"]
    return {
        "models": [engine.info.name for engine in engines], "people": round(float(np.mean(people)), 2),
        "ultralytics_ms": round(mean["ultralytics"], 2), "detector_ms": round(mean["detector"], 2),
        "rtmlib_ms": round(mean["rtmlib"], 2), "pose_ms": round(mean["pose"], 2),
        "theirs_ms": round(theirs, 2), "ours_ms": round(mean["ours"], 2),
        "detections": round(100 * looked / (_TURNS * len(frames))),
        "fresh": round(100 * float(np.mean(fresh))) if fresh else None,
        "ratio_to_ultralytics": round(mean["ultralytics"] / mean["detector"], 2),
        "ratio_to_rtmlib": round(mean["rtmlib"] / mean["pose"], 2), "ratio": round(theirs / mean["ours"], 2),
    }  # fmt: skip


def _timed(taken: dict[str, list[float]], name: str, turn: int, work: Callable[..., Any], *given: object) -> Any:
    began = time.perf_counter()
    found = work(*given)
    if turn >= 0:
        taken[name].append((time.perf_counter() - began) * 1e3)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.others", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", required=True, type=Path)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    with np.load(options.frames, allow_pickle=False) as kept:
        frames = list(kept["frames"])
    print(json.dumps(measure(frames, options.folder, options.threads)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
