"""People with keypoints, sorted into the columns a pose model is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.report import pose_figures
from tuning.evaluate.turned import QUARTERS
from tuning.study.gains import Score
from tuning.study.real_people import Sets, lying


@dataclass(frozen=True, slots=True)
class PosedColumn:
    """Pictures whose people with keypoints count, and by how many degrees clockwise they are turned first."""

    name: str
    pictures: tuple[Picture, ...]
    turn_deg: int = 0


def read_posed_columns(sets: Sets) -> list[PosedColumn]:
    """Every set upright and turned by each quarter; where it tells postures, the lying and all others apart instead.

    Those are counted by their visible joints: where a hidden one is said to be is the engine's knowledge, not the
    picture's. Raises WardposeError for what is no COCO file or has no keypoints.
    """
    columns: list[PosedColumn] = []
    for name, (coco_json, images_dir) in sets.items():
        pictures = read_people(coco_json, images_dir, keypoints=True)
        if not any(picture.keypoints[..., 2].any() for picture in pictures):
            raise WardposeError("no person has keypoints", where=str(coco_json), mend="give a COCO file with keypoints")
        if any(posture for picture in pictures for posture in picture.postures):
            seen = [_visible(picture) for picture in pictures]
            columns.append(PosedColumn(f"{name}: lying", _kept(seen, lying)))
            columns.append(PosedColumn(f"{name}: others", _kept(seen, lambda picture: ~lying(picture))))
        else:
            everybody = _kept(pictures, lambda picture: np.ones(len(picture.ids), bool))
            turned = {name if turn == 0 else f"{name}: turned {turn}°": turn for turn in QUARTERS}
            columns += [PosedColumn(title, everybody, turn) for title, turn in turned.items()]
    return [column for column in columns if column.pictures]


@dataclass(frozen=True, slots=True)
class PoseJudge:
    """Scores pose models on the true boxes, through the estimator that runs live."""

    columns: list[PosedColumn]
    threads: int | None = None

    def score(self, onnx: Path, progress: Progress | None = None) -> Mapping[str, Score]:
        """The figures of the exported model by column, and each person's similarity (OKS)."""
        estimator = PoseEstimator(open_engine(onnx, threads=self.threads))
        scores = {}
        for column in self.columns:
            found = pose_figures(estimator, column.pictures, progress, turn_deg=column.turn_deg)
            figures = {"AP": found.AP, "AP50": found.AP50, "AR": found.AR, "mean_oks": found.mean_oks}
            scores[column.name] = Score(figures | {"people": found.people}, found.oks, "mean_oks")
        return scores


def _visible(picture: Picture) -> Picture:
    """The picture with nothing said of joints that cannot be seen."""
    seen = picture.keypoints[..., 2:] == 2
    return replace(picture, keypoints=np.where(seen, picture.keypoints, 0.0))


def _kept(pictures: list[Picture], choose: Callable[[Picture], NDArray[np.bool_]]) -> tuple[Picture, ...]:
    """The pictures with chosen people who have keypoints; nobody else counts in them."""
    kept = []
    for picture in pictures:
        people = choose(picture)
        if (people & ~picture.ignored & picture.keypoints[..., 2].any(1)).any():
            kept.append(replace(picture, ignored=picture.ignored | ~people))
    return tuple(kept)
