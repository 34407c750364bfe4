"""How long evaluation takes: a detector over a COCO folder of drawn pictures, and COCO's figures over many boxes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from runtime.detections import Detections
from tuning.coco_folder import Picture
from tuning.evaluate.report import evaluate_detector, open_for_evaluation, summarise


def run(
    *, model: Path | None = None, coco_json: Path | None = None, pictures: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Seconds for COCO's figures of `pictures` pictures; with a model (.onnx) and a COCO file, of an evaluation too."""
    truth, found = _many(pictures, np.random.default_rng(seed))
    started = time.perf_counter()
    scored = summarise(truth, found)
    result: dict[str, Any] = {
        "figures": {
            "pictures": pictures,
            "boxes": sum(map(len, found.values())),
            "seconds": time.perf_counter() - started,
        },
        "AP": scored.AP,
    }
    if model is not None and coco_json is not None:
        detector = open_for_evaluation(model)
        started = time.perf_counter()
        evaluation = evaluate_detector(detector, coco_json)
        seconds = time.perf_counter() - started
        result["evaluation"] = {
            "seconds": seconds,
            "images_per_s": evaluation.images / seconds,
            **evaluation.figures(),
        }
    return result


def _many(count: int, rng: np.random.Generator) -> tuple[list[Picture], dict[int, Detections]]:
    """Pictures with one to six people, each found a little off, and as many false alarms."""
    truth: list[Picture] = []
    found: dict[int, Detections] = {}
    for index in range(count):
        people = int(rng.integers(1, 7))
        corner, size = rng.uniform(0, 400, (people, 2)), rng.uniform(30, 200, (people, 2))
        boxes = np.concatenate([corner, corner + size], 1)
        off = np.sort((boxes + rng.normal(0, 6, boxes.shape)).reshape(-1, 2, 2), 1).reshape(-1, 4)
        alarms = np.sort(rng.uniform(0, 600, (people, 2, 2)), 1).reshape(-1, 4)
        answered = np.concatenate([off, alarms]).astype(np.float32)
        truth.append(
            Picture(
                index, Path(f"{index}.jpg"), 640, 640, 10 * index + np.arange(people), boxes,
                np.zeros((people, 17, 3)), size.prod(1), np.zeros(people, bool), ({},) * people, {},
            )
        )  # fmt: skip
        found[index] = Detections(answered, rng.uniform(0.01, 1, len(answered)).astype(np.float32))
    return truth, found
