"""Photographs of real people, sorted into the columns a detector is judged by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.report import Detector, Evaluation, open_for_evaluation, read_picture, summarise
from tuning.study.gains import Score

Progress = Callable[[int, int, str], None]
Sets = Mapping[str, tuple[Path, Path | None]]

# What a set's own `posture` may call people on the ground or in bed.
LYING = frozenset({
    "fall", "fallen", "lying", "supine", "prone", "lateral", "lateral_left", "lateral_right", "fowler", "knees_bent",
    "arm_over_head",
})  # fmt: skip
_HELD_OUT_SPLIT = "val2017"  # detectors that began on COCO have seen the rest of it


@dataclass(frozen=True, slots=True)
class Column:
    """Pictures with the people that count in them; everybody else is ignored, as COCO's crowds are."""

    name: str
    pictures: tuple[Picture, ...]


def read_columns(sets: Sets) -> list[Column]:
    """Every set as a column; where it tells postures, lying people with wide boxes, all lying, and all others instead.

    A part of COCO that is marked as held out is a column of its own. Raises WardposeError for what is no COCO file.
    """
    columns: list[Column] = []
    for name, (coco_json, images_dir) in sets.items():
        pictures = read_people(coco_json, images_dir)
        content = json.loads(coco_json.read_bytes())
        postures = _postures(content, pictures)
        if any(p.any() for p in postures):
            wide = [lying & _wide(picture) for lying, picture in zip(postures, pictures, strict=True)]
            columns += [
                _column(f"{name}: lying, wide boxes", pictures, wide),
                _column(f"{name}: lying", pictures, postures),
                _column(f"{name}: others", pictures, [~p for p in postures]),
            ]
        else:
            columns.append(Column(name, tuple(pictures)))
        splits = {image["id"]: image.get("split") for image in content["images"]}
        held_out = [picture for picture in pictures if splits[picture.id] == _HELD_OUT_SPLIT]
        if 0 < len(held_out) < len(pictures):
            columns.append(Column(f"{name}: {_HELD_OUT_SPLIT}", tuple(held_out)))
    return columns


@dataclass(frozen=True, slots=True)
class DetectorJudge:
    """Scores detectors on the columns."""

    columns: list[Column]
    threads: int | None = None

    def score(self, onnx: Path, progress: Progress | None = None) -> Mapping[str, Score]:
        """The figures of the exported model by column, and each person's score."""
        found = score(open_for_evaluation(onnx, threads=self.threads), self.columns, progress)
        return {name: Score(one.figures(), np.array(one.scores), "person_score") for name, one in found.items()}


def score(detector: Detector, columns: list[Column], progress: Progress | None = None) -> dict[str, Evaluation]:
    """The detector's figures by column; each picture is looked at once."""
    paths = sorted({picture.path for column in columns for picture in column.pictures})
    found: dict[Path, Detections] = {}
    for done, path in enumerate(paths):
        if progress:
            progress(done, len(paths), "scoring")
        found[path] = detector.detect(read_picture(path))
    return {c.name: summarise(c.pictures, [found[p.path] for p in c.pictures]) for c in columns}


def _postures(content: dict[str, Any], pictures: list[Picture]) -> list[NDArray[np.bool_]]:
    """For each picture, which of its people lie."""
    lying: dict[int, list[bool]] = {}
    for annotation in content["annotations"]:
        lying.setdefault(annotation["image_id"], []).append(annotation.get("posture") in LYING)
    return [np.array(lying.get(picture.id, []), bool) for picture in pictures]


def _wide(picture: Picture) -> NDArray[np.bool_]:
    size = picture.boxes[:, 2:] - picture.boxes[:, :2]
    wide: NDArray[np.bool_] = size[:, 0] > size[:, 1]
    return wide


def _column(name: str, pictures: list[Picture], chosen: list[NDArray[np.bool_]]) -> Column:
    kept = [
        replace(picture, ignored=picture.ignored | ~people)
        for picture, people in zip(pictures, chosen, strict=True)
        if (people & ~picture.ignored).any()
    ]
    return Column(name, tuple(kept))
