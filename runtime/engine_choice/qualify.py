"""Which engines may be used for a model on this box, and how fast each is; found by trying, one process an engine.

    python -m runtime.engine_choice.qualify --engine NAME --model X.onnx --place DIR [--detector D.onnx] …

An engine is tried in a process of its own, since what crashes, hangs or fills the memory there takes nothing with it.
It must find the reference's people (`agreement`); an engine that works with the model's own numbers and has no people
to be compared on must give the reference's numbers. Its time is measured in turns with the reference's, so that a busy
box slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.memory import keep_out_of_dumps
from calibration.processes import die_with_parent
from runtime.engines.engine import INT8, ON_CPU, REFERENCE, InferenceEngine, build_engine, engine_names
from runtime.engines.engine import require_agreement as require_numbers
from runtime.engines.verdicts import Verdict, cores

SECONDS = 300.0
# TensorRT builds its engine first: minutes on a small GPU.
_BUILD_SECONDS = 1800.0
_ROUNDS, _WARM_UP = 30, 3
# Twice the threads must save this part of the time to be worth the cores that they take; threads that are held to their
# cores must too, since they wait where another program has the core.
_THREADS_GAIN = 0.15
_NICENESS = 10


def qualify(
    name: str, onnx: Path, *, place: Path, detector: Path | None = None, pictures: Path | None = None,
    threads: int | None = None, seconds: float | None = None,
) -> Verdict:  # fmt: skip
    """Try one engine for one model, in a process of its own at low priority; never raises for what the engine does.

    detector: who the people are whose joints are compared; for a pose model. pictures: folder of the site's synthetic
    images. threads: use so many, instead of measuring how many are best. seconds: patience.
    """
    if (absent := _absent(name)) is not None:
        return Verdict(name, False, absent)
    command = [sys.executable, "-m", "runtime.engine_choice.qualify", "--engine", name, "--model", str(onnx)]
    command += ["--place", str(place)]
    command += ["--detector", str(detector)] if detector else []
    command += ["--pictures", str(pictures)] if pictures else []
    command += ["--threads", str(threads)] if threads else []
    patience = seconds or (_BUILD_SECONDS if "tensorrt" in name else SECONDS)
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=patience, check=False, text=True, errors="replace",
            preexec_fn=die_with_parent(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Verdict(name, False, f"it did not answer within {patience:.0f} s")
    if done.returncode < 0:
        return Verdict(name, False, f"its process was killed by signal {-done.returncode}")
    try:
        return Verdict(**parse_json(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = done.stderr.strip().splitlines()
        return Verdict(name, False, f"its process ended with code {done.returncode} ({said[-1][:200] if said else ''})")


def qualify_all(
    onnx: Path, *, place: Path, detector: Path | None = None, pictures: Path | None = None, threads: int | None = None,
    note: Callable[[str], None] = lambda name: None,
) -> tuple[Verdict, ...]:  # fmt: skip
    """Try every engine that has a name, the site's own plug-ins too. note: told each name before it is tried."""
    verdicts = []
    for name in engine_names():
        note(name)
        verdicts.append(qualify(name, onnx, place=place, detector=detector, pictures=pictures, threads=threads))
    return tuple(verdicts)


def _absent(name: str) -> str | None:
    """Why there is no need to try an engine, in words."""
    gpu = Path("/proc/driver/nvidia/version").exists()
    if name in ("tensorrt", "openvino") and find_spec(name) is None:
        return f"{name} is not installed"
    if name in ("tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda") and not gpu:
        return "this box has no NVIDIA driver"
    return None


def _try(options: Any) -> Verdict:
    from runtime.engines.onnx_engine import OnnxEngine

    name, onnx, place = options.engine, options.model, options.place
    reference = OnnxEngine(onnx, threads=1)
    if name == INT8:
        _make_int8(onnx, reference, options)
    ways = _ways(name, options.threads)
    engines = {
        (threads, pinned): build_engine(name, onnx, reference.info, threads=threads, pinned=pinned, place=place)
        for threads, pinned in ways
    }
    compared, agreeing = _judge(name, engines[ways[0]], reference, options)
    *ms, reference_ms = _times([*engines.values(), reference])
    best = 0
    for way in range(1, len(ways)):
        if ms[way] <= (1 - _THREADS_GAIN) * ms[best]:
            best = way
    (threads, pinned), agreeing = ways[best], round(agreeing, 4)
    return Verdict(name, True, "", round(ms[best], 2), round(reference_ms, 2), threads, compared, agreeing, pinned)


def _judge(name: str, engine: InferenceEngine, reference: InferenceEngine, options: Any) -> tuple[int, float]:
    from runtime.engine_choice.agreement import boxes_agree, joints_agree, people_in, require_same_people
    from runtime.engine_choice.probes import probe_pictures
    from runtime.engines.onnx_engine import OnnxEngine

    if name == REFERENCE:
        return 0, 1.0
    pictures, task = probe_pictures(options.pictures), reference.info.task
    if task == "detect":
        compared, part = boxes_agree(engine, reference, pictures)
    else:
        found = people_in(OnnxEngine(options.detector, threads=1), pictures) if options.detector else []
        compared, part = joints_agree(engine, reference, pictures, found) if found else (0, 0.0)
    if not compared and name != INT8:
        require_numbers(engine, reference)
        return 0, 1.0
    require_same_people(task, compared, part)
    return compared, part


def _times(engines: Sequence[InferenceEngine]) -> list[float]:
    """Least milliseconds of one picture or person with each, in turns.

    The least, since the live picture runs beside: the median then tells how long a core was waited for, which speaks
    against whatever would use two.
    """
    info = engines[0].info
    batch = np.random.default_rng(1).normal(0, 1, (1, 3, info.height, info.width)).astype(np.float32)
    least = [np.inf] * len(engines)
    for turn in range(_WARM_UP + _ROUNDS):
        for which, one in enumerate(engines):
            began = time.perf_counter()
            one.run(batch)
            if turn >= _WARM_UP:
                least[which] = min(least[which], (time.perf_counter() - began) * 1e3)
    return least


def _ways(name: str, threads: int | None) -> list[tuple[int | None, bool]]:
    """How many threads an engine is tried with, and whether each is held to a core of its own: from the cheapest on."""
    if name not in ON_CPU:
        return [(None, False)]
    counts = [threads] if threads else _thread_counts()
    return [(count, pinned) for count in counts for pinned in (False, True) if count > 1 or not pinned]


def _thread_counts() -> list[int]:
    """One, two, four … and all cores that may be used."""
    most = cores()
    return sorted({min(1 << power, most) for power in range(most.bit_length() + 1)})


def _make_int8(onnx: Path, reference: InferenceEngine, options: Any) -> None:
    from runtime.detect import letterbox, normalise
    from runtime.engine_choice.agreement import people_in
    from runtime.engine_choice.probes import calibration_pictures
    from runtime.engines.onnx_engine import OnnxEngine, int8_file, quantise

    target, info = int8_file(onnx, options.place), reference.info
    if target.is_file():
        return
    pictures = calibration_pictures(options.pictures)
    if not pictures:
        raise WardposeError("this site has no synthetic images to quantise it with", mend="wardpose synth")

    def batches() -> Any:
        if info.task == "detect" or info.layout == "yolo-pose":
            for picture in pictures:
                yield letterbox(picture, info)[0]
            return
        if options.detector is None:
            raise WardposeError("there is no detector to find the people it is quantised with")
        for picture, found in zip(pictures, people_in(OnnxEngine(options.detector, threads=1), pictures), strict=True):
            for crop in _crops(picture, found.xyxy, info):
                yield normalise(crop[None], info)

    quantise(onnx, target, batches())


def _crops(picture: NDArray[np.uint8], boxes: NDArray[np.float32], info: Any) -> Sequence[NDArray[np.uint8]]:
    """People's crops, upright and lying to either side."""
    from runtime.crop import Crops

    if not len(boxes):
        return []
    turns = (0.0, np.pi / 2, -np.pi / 2) if info.turned_to_body else (0.0,)
    many = np.repeat(boxes, len(turns), axis=0)
    crops = Crops.around(many, np.tile(turns, len(boxes)), info.box_padding, info.width / info.height)
    return list(crops.cut(picture, (info.width, info.height), unit_lengths=info.layout == "heatmap-udp"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m runtime.engine_choice.qualify", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--engine", required=True)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--place", required=True, type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    keep_out_of_dumps()
    os.nice(_NICENESS)
    try:
        verdict = _try(options)
    except WardposeError as error:
        verdict = Verdict(options.engine, False, error.what)
    except Exception as error:  # a plug-in may raise anything
        verdict = Verdict(options.engine, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    print(json.dumps(verdict.to_dict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
