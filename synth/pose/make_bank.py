"""Making a bank of settled poses: every in-bed class, adults and infants, dropped until enough come to rest."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.atomic import write_bytes
from calibration.progress import Progress
from synth.body.body_model import BodyModel, Pose, RestBody
from synth.pose.bank import VERSION
from synth.pose.clinical import Angles, relaxed_hands
from synth.pose.in_bed import hand_on_rail, sample_in_bed
from synth.pose.infant import sample_infant
from synth.pose.settle import Settler

_STEPS = 256  # a radian: angles are kept to a quarter of a degree, which packs far smaller
_TRIES = 6  # drops for each pose wanted, at most
_INFANT_AGES = (0.05, 0.4, 1.0)  # years
_COT = (1.25, 0.65)  # metres, length and width of its mattress


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the recipe: a class, the bed's backrest, its share of the bank, the share of the legs' weight that
    muscles carry, and whether a hand is held up at the rail."""

    posture: str
    backrest_deg: float
    share: float
    held: float
    infant: bool = False
    rail: bool = False

    @property
    def name(self) -> str:
        """The class' name in the bank."""
        return f"infant_{self.posture}" if self.infant else self.posture

    @property
    def arms_held(self) -> float | None:
        """The share of the arms' weight that is carried, None for the usual one: a rail carries it all."""
        return 1.0 if self.rail else None

    def target(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], Angles]:
        """A posture before physics: the root (3, 3) and joint angles in degrees."""
        if self.infant:
            return sample_infant(rng, self.posture)
        root, angles = sample_in_bed(rng, self.posture, self.backrest_deg)
        return root, hand_on_rail(rng, angles) if self.rail else angles


# Right laterals are mirror images of the left ones.
RECIPE = (
    Entry("supine", 0, 0.17, 0.8), Entry("lateral_left", 0, 0.18, 0.3), Entry("prone", 0, 0.08, 0.2),
    Entry("knees_bent", 0, 0.09, 0.9), Entry("arm_over_head", 0, 0.06, 0.7), Entry("fowler", 25, 0.06, 0.8),
    Entry("fowler", 40, 0.06, 0.8), Entry("fowler", 55, 0.06, 0.8), Entry("knees_bent", 40, 0.05, 0.9),
    Entry("arm_over_head", 40, 0.04, 0.7), Entry("supine", 0, 0.01, 0.8, rail=True),
    Entry("fowler", 40, 0.02, 0.8, rail=True), Entry("supine", 0, 0.06, 0.4, infant=True),
    Entry("lateral_left", 0, 0.03, 0.3, infant=True), Entry("prone", 0, 0.03, 0.2, infant=True),
)  # fmt: skip


def make_bank(
    body: BodyModel, average: RestBody, count: int, seed: int, progress: Progress | None = None,
    recipe: Sequence[Entry] = RECIPE,
) -> tuple[dict[str, NDArray[Any]], Counter[str]]:  # fmt: skip
    """About `count` settled poses as arrays (see `bank.PoseBank`), and how often each reason rejected one.

    average: the adult on whom poses are settled. Depends on body, count, seed and recipe alone; a row's poses depend on
    no other row.
    """

    @cache
    def settler(backrest_deg: float, held: float, arms_held: float | None, infant: int | None) -> Settler:
        if infant is None:
            return Settler(body, average, backrest_deg, held=held, arms_held=arms_held)
        shape = body.sample_shape(np.random.default_rng([seed, infant]), _INFANT_AGES[infant])
        return Settler(body, body.rest(shape), backrest_deg, held=held, length=_COT[0], width=_COT[1])

    rows: list[tuple[str, float, Pose]] = []
    rejected: Counter[str] = Counter()
    for entry in recipe:
        number = RECIPE.index(entry) if entry in RECIPE else len(RECIPE)
        wanted, kept = max(1, round(count * entry.share)), 0
        for attempt in range(wanted * _TRIES):
            rng = np.random.default_rng([seed, number, attempt])
            infant = attempt % len(_INFANT_AGES) if entry.infant else None
            drop = settler(entry.backrest_deg, entry.held, entry.arms_held, infant)
            settled = drop.settle(*entry.target(rng), relaxed_hands(rng))
            if settled.pose is None:
                rejected[f"{entry.name}: {settled.rejected}"] += 1
                continue
            rows.append((entry.name, entry.backrest_deg, settled.pose))
            kept += 1
            if progress:
                progress(len(rows), count, entry.name)
            if kept == wanted:
                break
    return bank_arrays(rows), rejected


def bank_arrays(rows: Sequence[tuple[str, float, Pose]]) -> dict[str, NDArray[Any]]:
    """Poses with their posture and backrest (degrees) as the arrays of a bank."""
    poses = [pose for _, _, pose in rows]
    return {
        "version": np.array(VERSION),
        "posture": np.array([posture for posture, _, _ in rows]),
        "backrest_deg": np.array([backrest for _, backrest, _ in rows], np.float32),
        "root": np.array([Rotation.from_matrix(pose.root).as_rotvec() for pose in poses], np.float32),
        "pelvis": np.array([pose.pelvis for pose in poses], np.float32),
        "joints": (np.round(np.array([pose.joints for pose in poses]) * _STEPS) / _STEPS).astype(np.float16),
    }


def write_bank(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the bank in one step; Raises WardposeError where it cannot be written."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    write_bytes(path, stream.getvalue(), mode=0o644)
