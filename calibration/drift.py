"""Watching a calibration: is the camera where it was, is the bed? One verdict from many looks.

A single look proves nothing: somebody may stand in the way, or have knocked the camera so that it still swings. A
change counts when several looks in a row agree on it, and it is over when several agree that it is gone.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_text
from calibration.bed import Bed
from calibration.bed_drift import BedPosition, BedReference, measure_bed, points_of, take_bed
from calibration.camera import CameraModel
from calibration.camera_drift import BackgroundReference, CameraTurn, measure_turn, take_background
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate, perturbed
from calibration.json_text import parse_json
from calibration.posterior import pose_difference

_FORMAT = 2  # 1 held pieces of the picture
_MEND = "calibrate again"

LOOK_EVERY_S = 2.0
_BED_EVERY = 4  # looks
_LOOKS = 3  # in a row that must agree
_WITHIN_S = 9.0  # for the camera
_CAMERA_DEG, _CAMERA_BACK_DEG, _CAMERA_ALIKE_DEG = 0.35, 0.25, 0.25
_RAISED_M, _SHIFTED_M, _YAW_DEG, _BACKREST_DEG = 0.015, 0.05, 2.0, 15.0
_ALIKE_M, _ALIKE_DEG = 0.03, 2.0
_MOST_RAILS = 4  # states of the side rails that are remembered
_BLIND_AFTER_S = 120.0
_INSIDE_POSTERIOR = 0.99

Moved = Literal["camera", "bed", "height", "backrest"]


@dataclass(frozen=True)
class DriftReference:
    """What is kept of the room and the bed to know them again. bed: None for a camera without depth, whose bed is not
    watched."""

    background: BackgroundReference
    bed: BedReference | None

    def save(self, path: Path) -> None:
        """Write it as one JSON file, for anybody to read what is kept; an older file stays until this one is whole."""
        spots = zip(self.background.points.tolist(), self.background.bright.tolist(), strict=True)
        values: dict[str, Any] = {
            "format": _FORMAT, "camera": self.background.camera.to_dict(),
            "spots": [[x, y, "bright" if bright else "dark"] for (x, y), bright in spots], "bed": None, "rim": None,
        }  # fmt: skip
        if self.bed is not None:
            rim = [[None if np.isnan(v) else v for v in piece] for piece in self.bed.pieces.tolist()]
            values |= {"bed": self.bed.bed.to_dict(), "rim": rim}
        write_text(path, json.dumps(values) + "\n")

    @classmethod
    def load(cls, path: Path) -> DriftReference:
        """Read what `save` wrote; raises WardposeError for anything else."""
        try:
            values = parse_json(path.read_text())
            if values["format"] != _FORMAT:
                raise ValueError(f"its format is {values['format']}, not {_FORMAT}")
            camera = CameraModel.from_dict(values["camera"])
            points = np.array([spot[:2] for spot in values["spots"]], np.float64)
            if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
                raise ValueError(f"its spots are {points.shape}")
            background = BackgroundReference(camera, points, np.array([s[2] == "bright" for s in values["spots"]]))
            bed = None
            if values["bed"] is not None:
                bed = BedReference(Bed(**values["bed"]), np.array(values["rim"], np.float64))  # null becomes NaN
        except FileNotFoundError:
            raise WardposeError("there is no reference to watch by", where=str(path), mend=_MEND) from None
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise WardposeError(f"is no reference to watch by: {error}", where=str(path), mend=_MEND) from None
        return cls(background, bed)


@dataclass(frozen=True)
class Look:
    """What is looked at: color (H, W, 3) uint8 RGB and, where the camera has it, depth (h, w) uint16 mm with the depth
    camera's lens and place."""

    color: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None = None
    depth_camera: CameraModel | None = None
    color_from_depth: NDArray[np.float64] | None = None

    def points(self, estimate: CalibrationEstimate) -> NDArray[np.float64] | None:
        """Points about the bed in its frame; None without depth."""
        if self.depth is None or self.depth_camera is None or self.color_from_depth is None:
            return None
        return points_of(self.depth, self.depth_camera, self.color_from_depth, estimate)


def take_reference(
    looks: Sequence[Look], estimate: CalibrationEstimate, people: NDArray[np.float64] | None = None
) -> DriftReference:
    """The reference from a few looks of the camera where it was calibrated, the bed standing right.

    people: their boxes (K, 4) in all the looks, pixels; no spot is kept in one, nor near one. Raises WardposeError
    where too little of the room can be recognised again.
    """
    clouds = [points for look in looks if (points := look.points(estimate)) is not None]
    bed = take_bed(clouds, estimate.bed) if clouds else None
    return DriftReference(take_background([look.color for look in looks], estimate, people), bed)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is no longer where it was calibrated: what, by how much, in words."""

    what: Moved
    amount: float
    text: str


@dataclass(frozen=True)
class Verdict:
    """What is known after a look.

    changes: nothing for a calibration that still holds. blind: nothing of the room was recognised for so long that the
    watch means nothing. camera_deg: the last measured turn. camera_from_bed: the pose now, as far as the measures tell.
    leaves_posterior: whether that pose lies outside what the data sets were sampled from, so that tuning again pays.
    """

    changes: tuple[Change, ...]
    blind: bool
    camera_deg: float | None
    camera_from_bed: NDArray[np.float64]
    leaves_posterior: bool


class DriftMonitor:
    """Remembers the last looks. Call `look` every `LOOK_EVERY_S`."""

    def __init__(self, reference: DriftReference, estimate: CalibrationEstimate) -> None:
        self._reference, self._estimate = reference, estimate
        self._turns: deque[tuple[float, CameraTurn]] = deque(maxlen=_LOOKS)
        self._beds = [] if reference.bed is None else [reference.bed]
        self._positions: deque[tuple[BedPosition, NDArray[np.float64]]] = deque(maxlen=_LOOKS)
        self._turn: NDArray[np.float64] | None = None  # (3,) degrees, while the camera counts as bumped
        self._moved: BedPosition | None = None
        self._count = 0
        self._last_seen_s: float | None = None

    def look(self, look: Look, now_s: float) -> Verdict:
        """Take one look at time now_s (seconds, rising) and say what holds."""
        if self._last_seen_s is None:
            self._last_seen_s = now_s
        guess = self._turns[-1][1].now_from_then if self._turns else None
        turn = measure_turn(self._reference.background, look.color, expected=guess)
        if turn is not None:
            self._last_seen_s = now_s
            self._turns.append((now_s, turn))
        self._judge_camera(now_s)
        if self._beds and self._count % _BED_EVERY == 0:
            self._look_at_bed(look, turn)
        self._count += 1
        pose = self._pose()
        return Verdict(
            changes=tuple(self._changes()),
            blind=now_s - self._last_seen_s > _BLIND_AFTER_S,
            camera_deg=None if turn is None else turn.degrees,
            camera_from_bed=pose,
            leaves_posterior=leaves_posterior(self._estimate, pose),
        )

    def _judge_camera(self, now_s: float) -> None:
        recent = [turn.rotation_vector_deg for seen_s, turn in self._turns if now_s - seen_s < _WITHIN_S]
        if len(recent) < _LOOKS:
            return
        vectors = np.array(recent)
        middle = vectors.mean(axis=0)
        if np.linalg.norm(vectors - middle, axis=1).max() > _CAMERA_ALIKE_DEG:
            return
        angle = float(np.linalg.norm(middle))
        if angle > _CAMERA_DEG or (self._turn is not None and angle > _CAMERA_BACK_DEG):
            self._turn = middle
        else:
            self._turn = None

    def _look_at_bed(self, look: Look, turn: CameraTurn | None) -> None:
        if turn is None:
            return  # without knowing where the camera is, the bed's place means nothing
        points = look.points(replace(self._estimate, camera_from_bed=self._turned(turn.rotation_vector_deg)))
        position = None if points is None else measure_bed(points, self._beds)
        if points is None or position is None:
            return
        self._positions.append((position, points))
        if len(self._positions) == _LOOKS:
            self._judge_bed()

    def _judge_bed(self) -> None:
        seen = [position for position, _ in self._positions]
        raised, foot, left, yaw, backrest = np.median(
            [(p.raised_m, p.toward_foot_m, p.toward_left_m, p.yaw_deg, p.backrest_deg) for p in seen], axis=0
        )
        alike = all(
            abs(p.raised_m - raised) < _ALIKE_M
            and np.hypot(p.toward_foot_m - foot, p.toward_left_m - left) < _ALIKE_M
            and abs(p.yaw_deg - yaw) < _ALIKE_DEG
            for p in seen
        )
        if not alike:
            return
        self._moved = BedPosition(float(raised), float(foot), float(left), float(yaw), float(backrest))
        if all(p.other_rails for p in seen) and len(self._beds) < _MOST_RAILS:
            self._learn_rails()

    def _learn_rails(self) -> None:
        """The bed is at home with other rails: remember it so, or a later move could hide behind them."""
        found = take_bed([points for _, points in self._positions], self._estimate.bed)
        if found is not None:
            self._beds.append(found)
        self._positions.clear()

    def _changes(self) -> list[Change]:
        changes = []
        if self._turn is not None:
            angle = float(np.linalg.norm(self._turn))
            changes.append(Change("camera", angle, f"the camera was turned by {angle:.1f}°"))
        moved = self._moved
        if moved is None:
            return changes
        shift = float(np.hypot(moved.toward_foot_m, moved.toward_left_m))
        if shift > _SHIFTED_M or abs(moved.yaw_deg) > _YAW_DEG:
            by = f"{100 * shift:.0f} cm" + (f" and turned by {moved.yaw_deg:.0f}°" if abs(moved.yaw_deg) > 1 else "")
            changes.append(Change("bed", shift, f"the bed was moved by {by}"))
        if abs(moved.raised_m) > _RAISED_M:
            how = "raised" if moved.raised_m > 0 else "lowered"
            changes.append(Change("height", moved.raised_m, f"the bed was {how} by {100 * abs(moved.raised_m):.0f} cm"))
        then = self._estimate.bed.backrest_deg
        if abs(moved.backrest_deg - then) > _BACKREST_DEG:
            text = f"the backrest is at about {moved.backrest_deg:.0f}°, it was at {then:.0f}°"
            changes.append(Change("backrest", moved.backrest_deg - then, text))
        return changes

    def _turned(self, rotation_vector_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        return perturbed(self._estimate.camera_from_bed, np.concatenate([np.radians(rotation_vector_deg), np.zeros(3)]))

    def _pose(self) -> NDArray[np.float64]:
        """Camera from the bed as it stands now; what lies within the noise of the measures counts as unmoved."""
        pose = self._estimate.camera_from_bed if self._turn is None else self._turned(self._turn)
        if self._moved is None or not {"bed", "height"} & {change.what for change in self._changes()}:
            return pose
        then_from_now = perturbed(np.eye(4), np.array([0.0, 0.0, np.radians(self._moved.yaw_deg), 0.0, 0.0, 0.0]))
        then_from_now[:3, 3] = self._moved.toward_foot_m, self._moved.toward_left_m, self._moved.raised_m
        return np.asarray(pose @ then_from_now)


def leaves_posterior(estimate: CalibrationEstimate, camera_from_bed: NDArray[np.float64]) -> bool:
    """Whether a pose lies outside the 99 % region of the posterior that the site's images were sampled from."""
    from scipy.stats import chi2

    delta = pose_difference(camera_from_bed, estimate.camera_from_bed)
    # A pseudo-inverse: the posterior of a simulated truth has next to no extent.
    distance = float(delta @ np.linalg.pinv(estimate.covariance, hermitian=True) @ delta)
    return distance > float(chi2.ppf(_INSIDE_POSTERIOR, 6))
