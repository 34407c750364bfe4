"""What others need for the same work: ultralytics' predictor and rtmlib's RTMPose on the same ONNX file."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.model_info import ModelInfo

_WARM_UP = 2


def median_ms(work: Callable[[NDArray[np.uint8]], object], frames: Sequence[NDArray[np.uint8]], repeats: int) -> float:
    """Median milliseconds of `work` a frame, after a warm-up."""
    return float(np.median(times_ms(work, frames, repeats)))


def times_ms(
    work: Callable[[NDArray[np.uint8]], object], frames: Sequence[NDArray[np.uint8]], repeats: int
) -> NDArray[np.float64]:
    """Milliseconds of each of `repeats` calls on the frames in turn, after a warm-up."""
    taken = []
    for index in range(-_WARM_UP, repeats):
        frame = frames[index % len(frames)]
        started = time.perf_counter()
        work(frame)
        taken.append((time.perf_counter() - started) * 1e3)
    return np.array(taken[_WARM_UP:])


def ultralytics_call(onnx: Path, info: ModelInfo) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None:
    """ultralytics' own predictor on the same file: a picture's boxes (N, 4); None where it is not installed or can't
    read this layout."""
    if info.layout not in ("yolo", "yolo-end2end") or find_spec("ultralytics") is None:
        return None
    # Its switches are read on import; without them it looks for updates, fonts and packages on the internet.
    os.environ.update(
        YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS="1", YOLO_VERBOSE="false"
    )
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="wardpose-ultralytics-"))
    from tuning.families.ultralytics_adapter import pillow_as_it_was

    with pillow_as_it_was():
        from ultralytics import YOLO
        from ultralytics.utils import SETTINGS

    if SETTINGS.get("sync", True):
        SETTINGS.update({"sync": False})
    model = YOLO(str(onnx), task="detect")

    def work(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = model.predict(
            frame[..., ::-1],
            imgsz=(info.height, info.width),
            conf=0.25,
            iou=0.65,
            max_det=20,
            verbose=False,
            device="cpu",
        )
        return np.asarray(found[0].boxes.xyxy.numpy(), np.float32)

    return work


def rtmlib_call(
    onnx: Path, info: ModelInfo
) -> Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]] | None:
    """rtmlib's RTMPose on the same file: the joints of people in a picture's boxes (N, 4); None where it is not
    installed or the model is another."""
    if info.layout != "simcc" or find_spec("rtmlib") is None:
        return None
    rtmlib = import_module("rtmlib")
    model = rtmlib.RTMPose(str(onnx), model_input_size=(info.width, info.height), backend="onnxruntime", device="cpu")

    def work(frame: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model(frame[..., ::-1], bboxes=boxes.tolist())[0], np.float32)

    return work


def ultralytics_ms(onnx: Path, info: ModelInfo, frames: Sequence[NDArray[np.uint8]], repeats: int) -> float | None:
    """The median time of `ultralytics_call`; None where there is none."""
    work = ultralytics_call(onnx, info)
    return None if work is None else median_ms(work, frames, repeats)


def rtmlib_ms(
    onnx: Path,
    info: ModelInfo,
    frames: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    repeats: int,
) -> float | None:
    """The median time of `rtmlib_call` for the people in boxes (N, 4); None where there is none."""
    work = rtmlib_call(onnx, info)
    return None if work is None else median_ms(lambda frame: work(frame, boxes), frames, repeats)
