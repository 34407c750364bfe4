"""The trial itself: a candidate of a kind, what it shows on each set, and what the gate says of it."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.gate_candidates import (
    Boxes,
    Joints,
    Rng,
    Sets,
    lying,
    members,
    nearer_boxes,
    nearer_joints,
    worse_boxes,
    worse_joints,
)
from benchmarks.gate_decided import Decided
from calibration.progress import Progress
from runtime.detect import LIVE_NMS_IOU, non_maximum_suppression
from runtime.detections import Detections, iou_matrix
from runtime.skeleton import Skeletons
from tuning.coco_folder import Picture, scenes_of
from tuning.evaluate.coco import score_boxes
from tuning.evaluate.keypoints import similarity
from tuning.evaluate.person_score import person_scores
from tuning.export import ExportReport
from tuning.gate.guards import EMPTY
from tuning.gate.judged import Judged
from tuning.gate.verdict import Probed, judge

TARGET, FRESH = "this bedside", "drawn afresh"
_SCENES_SHOWN = 0.85  # of the target's scenes, drawn anew for each candidate
_SHOWN, _SOMEBODY_IOU = 0.25, 0.3  # score of a box that is shown, overlap from which it shows somebody
_JITTER = 0.015  # of a box's size, by which two models that are as good differ
_ITSELF = ExportReport(
    path="", sha256="", layout="nanodet", width=416, height=416, pictures=0, inputs="", max_error=0.0, tolerance=1e-3
)
# Of a thousand bad candidates; the rest are files that are broken.
DETECTORS = {
    "label noise": 90, "wrong viewpoint": 90, "half trained": 90, "no better": 90, "a lost group": 90,
    "leaked frames": 90,
}  # fmt: skip
POSES = {
    "mirrored keypoints": 100, "label noise (pose)": 50, "no better (pose)": 50, "a lost group (pose)": 50,
    "leaked frames (pose)": 45, "half trained (pose)": 45,
}  # fmt: skip
_LEAKED = frozenset({"leaked frames", "leaked frames (pose)"})
GOOD = {"better": 60, "better (pose)": 40}

Said = tuple[bool, str]  # whether the gate lets it pass, and the first reason against it


@dataclass(frozen=True, slots=True)
class Candidate:
    """One on trial: what it shows, against what, and what else is known of it."""

    found: Any
    against: Any
    leaked: int | None = 0
    also: tuple[str, ...] = ()


class Trial:
    """Candidates of every kind before the gate.

    sets: their pictures, among them `TARGET` and `FRESH`; boxes, joints: what the models in use showed on them (joints:
    a skeleton for everybody with labelled joints, in their order; None without a pose model). seed: with its kind and
    number it alone makes a candidate, whichever were tried before it. decided: of whom the gate has judged already.
    """

    def __init__(
        self, sets: Sets, boxes: Boxes, joints: Joints | None, seed: int, decided: Decided | None = None
    ) -> None:
        self._sets, self._boxes, self._joints, self._seed = sets, boxes, joints, seed
        self._decided, self._rng = decided or Decided(), np.random.default_rng(seed)
        self._usual = sets.without(FRESH)  # drawn afresh only for those that may have seen the others
        self._pose_sets, self._usual_pose = sets.without(EMPTY), self._usual.without(EMPTY)
        self._shown: dict[tuple[int, str], Judged] = {}
        self._passed: Counter[tuple[str, str]] = Counter()
        self._total: Counter[tuple[str, str]] = Counter()
        self._why: dict[str, str] = {}

    def perturbed(self, candidates: int, progress: Progress | None = None) -> None:
        """Try what the models in use showed, made worse or better: of `candidates` bad ones those that are no broken
        files, and a tenth as many good ones, in a drawn order."""
        parts = candidates / 1000
        wanted = {kind: max(1, round(parts * count)) for kind, count in (DETECTORS | POSES | GOOD).items()}
        if self._joints is None:
            wanted = {kind: count for kind, count in wanted.items() if not _is_of_pose(kind)}
        order = [kind for kind, count in wanted.items() for _ in range(count)]
        self._rng.shuffle(order)
        for done, kind in enumerate(order, 1):
            self._try(kind, "perturbed", self._pose_said if _is_of_pose(kind) else self._detector_said)
            if progress:
                progress(done, len(order), self._so_far())

    def real(self, kind: str, look: Callable[[Rng], Boxes | str], leaked: int = 0, *, mark: str = "") -> None:
        """Try a real detector by what it showed, or by why it gave no answers to be judged by. mark: tells it from
        others of its kind that may stand in its place another time."""

        def said(_kind: str) -> Said:
            if isinstance(found := look(self._rng), str):
                return False, found
            return self._judge_detector(Candidate(found, self._boxes, leaked))

        self._try(kind, "real", said, mark)

    def _try(self, kind: str, sort: str, said: Callable[[str], Said], mark: str = "") -> None:
        """Count what the gate says of the next candidate of this kind, unless it has said so before."""
        name = f"{kind}, {sort}, {self._total[kind, sort]}{f', {mark}' if mark else ''}"
        known = self._decided.get(name)
        if known is None:
            self._rng = np.random.default_rng((self._seed, zlib.crc32(name.encode())))
            known = said(kind)
            self._decided.add(name, known)
        passed, why = known
        self._total[kind, sort] += 1
        self._passed[kind, sort] += passed
        if passed != kind.startswith("better"):
            self._why.setdefault(f"{kind}, {sort}", why or "it passed")

    def _so_far(self) -> str:
        found = self.result()
        bad, good = (f"{found[f'{sort}_passed']} of {found[f'{sort}_total']} {sort}" for sort in ("bad", "good"))
        return f"passed so far: {bad}, {good}"

    def _detector(self, kind: str) -> Candidate:
        rng, sets, seen = self._rng, self._sets if kind in _LEAKED else self._usual, self._boxes
        if kind == "label noise":
            found = worse_boxes(
                rng, sets, seen, noise=rng.uniform(0.05, 0.2), larger=rng.uniform(0, 0.2), miss=rng.uniform(0, 0.1)
            )
        elif kind == "wrong viewpoint":  # better at those who stand, and blind to many who lie
            found = nearer_boxes(rng, sets, seen, share=0.5, amount=0.5, add=0.3)
            found = worse_boxes(rng, sets, found, noise=0.05, miss=rng.uniform(0.3, 0.7), who=lying)
            found = worse_boxes(rng, sets, found, alarms=rng.uniform(0, 0.2))
        elif kind == "half trained":
            found = worse_boxes(
                rng,
                sets,
                seen,
                noise=rng.uniform(0.03, 0.12),
                miss=rng.uniform(0.05, 0.4),
                unsure=rng.uniform(0.2, 0.8),
            )
        elif kind == "no better":  # two draws of the same: whoever is let through was lucky
            one, other = (worse_boxes(rng, sets, seen, noise=_JITTER) for _ in range(2))
            return Candidate(other, one)
        elif kind == "a lost group":
            lost = members(sets.group(rng, 30))
            found = nearer_boxes(rng, sets, seen, share=0.8, amount=0.6, add=0.5, who=lambda *person: not lost(*person))
            found = worse_boxes(rng, sets, found, noise=0.15, miss=rng.uniform(0.3, 0.7), who=lost)
        elif kind == "leaked frames":
            before, after = (worse_boxes(rng, sets, seen, noise=_JITTER) for _ in range(2))
            found = nearer_boxes(
                rng, sets, after, share=rng.uniform(0.4, 1), amount=rng.uniform(0.4, 1), add=0.6, names={TARGET}
            )
            return self._leaked(found, before)
        else:
            found = nearer_boxes(
                rng, sets, seen, share=rng.uniform(0.5, 1), amount=rng.uniform(0.4, 0.9), add=rng.uniform(0.3, 0.9)
            )
        return Candidate(found, seen)

    def _pose(self, kind: str) -> Candidate:
        assert self._joints is not None
        rng, sets, seen = self._rng, self._pose_sets if kind in _LEAKED else self._usual_pose, self._joints
        if kind == "mirrored keypoints":
            found = worse_joints(rng, sets, seen, mirrored=rng.uniform(0.3, 1))
        elif kind == "label noise (pose)":
            found = worse_joints(rng, sets, seen, noise=rng.uniform(0.03, 0.15))
        elif kind == "half trained (pose)":
            found = worse_joints(rng, sets, seen, noise=rng.uniform(0.02, 0.2), mirrored=rng.uniform(0, 0.3))
        elif kind == "no better (pose)":
            one, other = (worse_joints(rng, sets, seen, noise=0.01) for _ in range(2))
            return Candidate(other, one)
        elif kind == "a lost group (pose)":
            lost = members(sets.group(rng, 30))
            found = nearer_joints(rng, sets, seen, share=0.8, amount=0.6, who=lambda *person: not lost(*person))
            found = worse_joints(rng, sets, found, noise=rng.uniform(0.05, 0.2), who=lost)
        elif kind == "leaked frames (pose)":
            before, after = (worse_joints(rng, sets, seen, noise=0.01) for _ in range(2))
            found = nearer_joints(rng, sets, after, share=0.9, amount=rng.uniform(0.3, 1), names={TARGET})
            return self._leaked(found, before)
        else:
            found = nearer_joints(rng, sets, seen, share=rng.uniform(0.5, 1), amount=rng.uniform(0.3, 0.8))
        return Candidate(found, seen)

    def _leaked(self, found: Any, against: Any) -> Candidate:
        """Trained on the held-out pictures: every other one's folder says so, and of the rest nobody can tell, so that
        the gate draws pictures afresh."""
        told = bool(self._rng.random() < 0.5)
        return Candidate(found, against, len(self._sets.pictures[TARGET]) if told else 0, () if told else (FRESH,))

    def _detector_said(self, kind: str) -> Said:
        return self._judge_detector(self._detector(kind))

    def _judge_detector(self, candidate: Candidate) -> Said:
        return self._judge(candidate, self._sets if candidate.also else self._usual, _detector_on, self._boxes)

    def _pose_said(self, kind: str) -> Said:
        candidate = self._pose(kind)
        return self._judge(candidate, self._pose_sets if candidate.also else self._usual_pose, _pose_on, self._joints)

    def _judged(self, found: Any, sets: Sets, look: Callable[..., Judged], known: Any) -> dict[str, Judged]:
        """What was found on every set; of the models in use (`known`) it is reckoned once."""
        shown = {}
        for name, pictures in sets.pictures.items():
            key = (id(known), name)
            if found is known and key in self._shown:
                shown[name] = self._shown[key]
                continue
            shown[name] = look(pictures, found[name], self._sets.groups[name], name in (TARGET, FRESH))
            if found is known:
                self._shown[key] = shown[name]
        return shown

    def _judge(self, candidate: Candidate, sets: Sets, look: Callable[..., Judged], known: Any) -> Said:
        kept = self._scenes()
        new, old = (self._judged(found, sets, look, known) for found in (candidate.found, candidate.against))
        new[TARGET], old[TARGET] = (_only(one[TARGET], kept) for one in (new, old))
        probed = Probed(leaked=candidate.leaked)
        verdict = judge(new, old, _ITSELF, target=TARGET, also=candidate.also, probed=probed)
        failed = [reason for reason in verdict.reasons if reason.startswith("failed")]
        return verdict.passed, failed[0] if failed else ""

    def _scenes(self) -> frozenset[Any]:
        """The target's scenes that this candidate is shown: each is the first tried on a set of its own."""
        scenes = sorted({scenes_of([p]).get(int(i)) for p in self._sets.pictures[TARGET] for i in p.ids}, key=str)
        return frozenset(scene for scene in scenes if self._rng.random() < _SCENES_SHOWN)

    def result(self) -> dict[str, Any]:
        """What passed, of how many: all bad ones, all good ones, and each kind."""
        kinds: dict[str, Any] = {}
        for (kind, sort), total in self._total.items():
            kinds[f"{kind}, {sort}"] = {"passed": self._passed[kind, sort], "total": total}
        good = {key: count for key, count in self._total.items() if key[0].startswith("better")}
        return {
            "bad_passed": sum(self._passed[key] for key in self._total if key not in good),
            "bad_total": sum(count for key, count in self._total.items() if key not in good),
            "good_passed": sum(self._passed[key] for key in good),
            "good_total": sum(good.values()),
            "kinds": kinds,
            "real": sum(count for (_, sort), count in self._total.items() if sort == "real"),
            "pictures": sum(map(len, self._sets.pictures.values())),
            "wrong": self._why,
        }


def _is_of_pose(kind: str) -> bool:
    return kind in POSES or kind == "better (pose)"


def _only(shown: Judged, scenes: frozenset[Any]) -> Judged:
    """Of those scenes alone."""
    scores = {person: score for person, score in shown.scores.items() if shown.scenes[person] in scenes}
    return replace(shown, scores=scores)


def _detector_on(
    pictures: Sequence[Picture], found: Mapping[int, Detections], groups: Mapping[str, frozenset[int]], target: bool
) -> Judged:
    scores: dict[int, float] = {}
    alarms = 0
    for picture in pictures:
        counted = ~picture.ignored
        each = person_scores(picture.boxes[counted], found[picture.id])
        scores |= zip(picture.ids[counted].tolist(), each.tolist(), strict=True)
        alarms += _false(picture, found[picture.id])
    guarded = 0.0 if target or not scores else score_boxes(pictures, found).AP50
    where, false = scenes_of(pictures), alarms / len(pictures)
    return Judged("person score", scores, "AP50", guarded, where, len(pictures), false, groups)


def _false(picture: Picture, boxes: Detections) -> int:
    shown = boxes[boxes.score >= _SHOWN]
    shown = shown[non_maximum_suppression(shown.xyxy, shown.score, LIVE_NMS_IOU)]
    if not len(picture.ids) or not len(shown):
        return len(shown)
    return int((iou_matrix(picture.boxes, shown.xyxy) < _SOMEBODY_IOU).all(0).sum())


def _pose_on(
    pictures: Sequence[Picture], found: Mapping[int, Skeletons], groups: Mapping[str, frozenset[int]], target: bool
) -> Judged:
    seen: dict[int, float] = {}
    for picture in pictures:
        for skeleton, row in zip(found[picture.id].keypoints, rows_of(picture), strict=True):
            truth = picture.keypoints[row]
            visible = truth[:, 2] == 2
            if visible.any():
                area = float(picture.areas[row])
                seen[int(picture.ids[row])] = similarity(skeleton, truth[:, :2], area, visible)
    guarded = float(np.mean(list(seen.values()))) if seen else 0.0
    where = scenes_of(pictures)
    return Judged("similarity of visible joints", seen, "mean similarity", guarded, where, len(pictures), None, groups)


def rows_of(picture: Picture) -> list[int]:
    """Who has labelled joints, and so a skeleton."""
    rows: list[int] = np.flatnonzero(~picture.ignored & (picture.keypoints[..., 2] > 0).any(1)).tolist()
    return rows
