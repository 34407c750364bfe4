"""Photographs of real people, sorted into the columns a detector is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from runtime.detections import Detections
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.report import Detector, Evaluation, open_for_evaluation, summarise
from tuning.study.gains import Score

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
        if not any(lying(picture).any() for picture in pictures):
            columns.append(Column(name, tuple(pictures)))
        columns += [replace(column, name=f"{name}: {column.name}") for column in columns_of(pictures)]
    return columns


def columns_of(pictures: Sequence[Picture]) -> list[Column]:
    """The parts of a set that count by themselves: lying people with wide boxes, all lying and all others, where it
    tells postures, and a part of COCO that is marked as held out."""
    columns = []
    if any(lying(picture).any() for picture in pictures):
        columns = [
            _column("lying, wide boxes", pictures, lambda picture: lying(picture) & _wide(picture)),
            _column("lying", pictures, lying),
            _column("others", pictures, lambda picture: ~lying(picture)),
        ]
    held_out = [picture for picture in pictures if picture.about.get("split") == _HELD_OUT_SPLIT]
    if 0 < len(held_out) < len(pictures):
        columns.append(Column(_HELD_OUT_SPLIT, tuple(held_out)))
    return [column for column in columns if column.pictures]


@dataclass(frozen=True, slots=True)
class DetectorJudge:
    """Scores detectors on the columns."""

    columns: list[Column]
    threads: int | None = None

    def score(self, onnx: Path, progress: Progress | None = None) -> Mapping[str, Score]:
        """The figures of the exported model by column, and each person's score."""
        found = score(open_for_evaluation(onnx, threads=self.threads), self.columns, progress)
        return {name: Score(one.figures(), one.scores, "person_score") for name, one in found.items()}


def score(detector: Detector, columns: list[Column], progress: Progress | None = None) -> dict[str, Evaluation]:
    """The detector's figures by column; each picture is looked at once."""
    paths = sorted({picture.path for column in columns for picture in column.pictures})
    found: dict[Path, Detections] = {}
    for done, path in enumerate(paths):
        if progress:
            progress(done, len(paths), "scoring")
        found[path] = detector.detect(read_photograph(path))
    return {c.name: summarise(c.pictures, {p.id: found[p.path] for p in c.pictures}) for c in columns}


def lying(picture: Picture) -> NDArray[np.bool_]:
    """(P,) which of its people lie, as the file says."""
    return np.array([posture in LYING for posture in picture.postures], bool)


def _wide(picture: Picture) -> NDArray[np.bool_]:
    size = picture.boxes[:, 2:] - picture.boxes[:, :2]
    wide: NDArray[np.bool_] = size[:, 0] > size[:, 1]
    return wide


def _column(name: str, pictures: Sequence[Picture], choose: Callable[[Picture], NDArray[np.bool_]]) -> Column:
    kept = [
        replace(picture, ignored=picture.ignored | ~choose(picture))
        for picture in pictures
        if (choose(picture) & ~picture.ignored).any()
    ]
    return Column(name, tuple(kept))
