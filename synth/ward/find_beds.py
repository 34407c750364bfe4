"""Finding the bed in each photograph of a folder, with any detector that knows beds; kept beside the photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.detect import PersonDetector
from runtime.engines.engine import InferenceEngine
from synth.ward.photographs import BEDS, photographs, read

COCO_BED = 59
_CONFIDENCE = 0.3


def find_beds(
    folder: Path,
    engine: InferenceEngine,
    *,
    bed_class: int = COCO_BED,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """The box x, y, width, height (px) of the likeliest bed by photograph, written into the folder's `beds.json`.

    Raises WardposeError where the model knows no class of that number, or the folder holds no photograph.
    """
    if bed_class >= engine.info.classes:
        raise WardposeError(
            f"it knows {engine.info.classes} classes, so none is number {bed_class}",
            where=engine.info.name,
            mend="import a detector of COCO's 80 classes, such as YOLOX: wardpose models import FILE.onnx",
        )
    engine.info = engine.info.model_copy(update={"person_class": bed_class})
    detector = PersonDetector(engine, confidence=_CONFIDENCE)
    found: dict[str, list[float]] = {}
    pictures = photographs(str(folder))
    for number, photograph in enumerate(pictures, start=1):
        seen = detector.detect(read(photograph.path))
        if len(seen.score):
            x0, y0, x1, y1 = seen.xyxy[int(np.argmax(seen.score))].tolist()
            found[Path(photograph.path).name] = [round(v, 1) for v in (x0, y0, x1 - x0, y1 - y0)]
        if progress is not None:
            progress(number, len(pictures), f"{len(found)} beds")
    write_bytes(folder / BEDS, json.dumps(found, indent=1).encode() + b"\n", mode=0o644)
    photographs.cache_clear()
    return found
