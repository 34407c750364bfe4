"""How well the gate tells good from bad: candidates of known worth, of which it may let no bad one through.

The sets are simulated once; the models in use are real ones of this box. Candidates are of two sorts, counted apart.
Real: files with NaN in their weights and files that are cut off; and detectors trained here: on noisy labels, on the
wrong pictures, on the held-out pictures themselves, stopped on weights that are half noise, and one trained well.
Perturbed: what the real models answered, made worse or better in a known way.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate_candidates import (
    Boxes,
    Joints,
    Sets,
    lying,
    members,
    nearer_boxes,
    nearer_joints,
    worse_boxes,
    worse_joints,
)
from benchmarks.gate_models import broken_models, trained_models
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from runtime.detect import LIVE_NMS_IOU, PersonDetector, non_maximum_suppression
from runtime.detections import Detections
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from runtime.skeleton import Skeletons
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import load_scenario
from tuning.coco_folder import Picture, read_people, scenes_of
from tuning.evaluate.coco import score_boxes
from tuning.evaluate.groups import brightness
from tuning.evaluate.keypoints import mean_confidence, summarise_keypoints
from tuning.evaluate.person_score import person_scores
from tuning.export import ExportReport
from tuning.gate.guards import EMPTY, SEED, guard_specs
from tuning.gate.judged import Judged, groups_of
from tuning.gate.verdict import Probed, judge

TARGET, FRESH = "this bedside", "drawn afresh"
TARGET_PICTURES, FRESH_PICTURES = 120, 100
GOOD_SHARE = 0.1  # as many truly better candidates as this share of the bad ones
_SCENES_SHOWN = 0.85  # of the target's scenes, drawn anew for each candidate
_MOST_BOXES = 20
_JITTER = 0.015  # of a box's size, by which two models that are as good differ
_ITSELF = ExportReport(
    path="", sha256="", layout="nanodet", width=416, height=416, pictures=0, inputs="", max_error=0.0, tolerance=1e-3
)
# Of a thousand bad candidates; the rest are files that are broken.
DETECTORS = {
    "label noise": 100, "wrong viewpoint": 100, "half trained": 100, "no better": 100, "a lost group": 100,
    "leaked frames": 100,
}  # fmt: skip
BROKEN = {"NaN": 60, "truncated": 60}
POSES = {"mirrored keypoints": 120, "label noise (pose)": 60, "no better (pose)": 50, "a lost group (pose)": 50}
POSES |= {"leaked frames (pose)": 50, "half trained (pose)": 50}
GOOD = {"better": 60, "better (pose)": 40}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One on trial: what it shows, against what, and what else is known of it."""

    found: Any
    against: Any
    leaked: int | None = 0
    also: tuple[str, ...] = ()


def run(
    candidates: int = 1000, *, detector: Path, pose: Path | None = None, seed: int = 0, work: Path | None = None,
    train: bool = True, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Put `candidates` bad ones and a tenth as many good ones through the gate.

    detector, pose: ONNX files of the models in use. work: a folder that keeps the pictures and trained models; what it
    holds is not made again. train: train real candidates too. Returns `bad_passed`, `bad_total`, `good_passed`,
    `good_total`, and the same by kind and sort.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-gate-") as once:
        folder = work or Path(once)
        trial = _Trial(folder, detector, pose, np.random.default_rng(seed), progress)
        return trial.run(candidates, train=train)


class _Trial:
    def __init__(
        self, folder: Path, detector: Path, pose: Path | None, rng: np.random.Generator, progress: Progress | None
    ) -> None:
        self._folder, self._in_use, self._rng, self._progress = folder, detector, rng, progress
        self._files = _pictures(folder, progress)
        pictures = {name: read_people(file, keypoints=True) for name, file in self._files.items()}
        groups = {name: groups_of(people, brightness(people)) for name, people in pictures.items()}
        self._sets = Sets(pictures, groups)
        self._boxes = self._seen(detector)
        self._pose_sets = Sets({n: p for n, p in pictures.items() if n != EMPTY}, groups)
        self._joints = None if pose is None else _skeletons(pose, self._pose_sets)
        self._passed: Counter[tuple[str, str]] = Counter()
        self._total: Counter[tuple[str, str]] = Counter()
        self._why: dict[str, str] = {}

    def run(self, candidates: int, *, train: bool) -> dict[str, Any]:
        parts = candidates / 1000
        wanted = {kind: max(1, round(parts * count)) for kind, count in (DETECTORS | POSES | GOOD).items()}
        done, total = 0, sum(wanted.values())
        for kind, count in wanted.items():
            if kind in POSES or kind == "better (pose)":
                if self._joints is None:
                    continue
                trial: Callable[[str], None] = self._try_pose
            else:
                trial = self._try_detector
            for _ in range(count):
                trial(kind)
                done += 1
                if self._progress:
                    self._progress(done, total, kind)
        for kind, count in BROKEN.items():
            self._broken(kind, max(1, round(parts * count)))
        if train:
            for kind, onnx, leaked in trained_models(self._folder, self._in_use, self._files, self._progress):
                self._judge_detector(kind, "real", Candidate(self._seen(onnx), self._boxes, leaked))
        return self._result()

    def _try_detector(self, kind: str) -> None:
        self._judge_detector(kind, "perturbed", self._detector(kind))

    def _try_pose(self, kind: str) -> None:
        self._judge_pose(kind, self._pose(kind))

    def _detector(self, kind: str) -> Candidate:
        rng, sets, seen = self._rng, self._sets, self._boxes
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
            lost = members(sets.group(rng, 30, [name for name in sets.pictures if name != FRESH]))
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
        rng, sets, seen = self._rng, self._pose_sets, self._joints
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
            lost = members(sets.group(rng, 30, [name for name in sets.pictures if name != FRESH]))
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

    def _judge_detector(self, kind: str, sort: str, candidate: Candidate) -> None:
        kept = self._scenes()
        new, old = (
            {
                name: _detector_on(people, found[name], self._sets.groups[name], name in (TARGET, FRESH), kept)
                for name, people in self._sets.pictures.items()
                if name != FRESH or candidate.also
            }
            for found in (candidate.found, candidate.against)
        )
        self._judge(kind, sort, new, old, candidate)

    def _judge_pose(self, kind: str, candidate: Candidate) -> None:
        kept = self._scenes()
        new, old = (
            {
                name: _pose_on(people, found[name], self._sets.groups[name], name in (TARGET, FRESH), kept)
                for name, people in self._pose_sets.pictures.items()
                if name != FRESH or candidate.also
            }
            for found in (candidate.found, candidate.against)
        )
        self._judge(kind, "perturbed", new, old, candidate)

    def _judge(
        self, kind: str, sort: str, new: Mapping[str, Judged], old: Mapping[str, Judged], candidate: Candidate
    ) -> None:
        verdict = judge(new, old, _ITSELF, target=TARGET, also=candidate.also, probed=Probed(leaked=candidate.leaked))
        self._count(kind, sort, verdict.passed, [reason for reason in verdict.reasons if reason.startswith("failed")])

    def _count(self, kind: str, sort: str, passed: bool, failed: list[str]) -> None:
        self._total[kind, sort] += 1
        self._passed[kind, sort] += passed
        if passed != kind.startswith("better"):
            self._why.setdefault(f"{kind}, {sort}", failed[0] if failed else "it passed")

    def _broken(self, kind: str, count: int) -> None:
        """Files that are no models any more: whoever lets them through must be told so by their numbers."""
        for path in broken_models(self._folder, self._in_use, kind, count, self._rng):
            try:
                found = self._seen(path)
            except (WardposeError, ValueError) as error:  # an answer that is not finite
                self._count(kind, "real", False, [str(error)])
            else:
                self._judge_detector(kind, "real", Candidate(found, self._boxes))

    def _scenes(self) -> frozenset[Any]:
        """The target's scenes that this candidate is shown: each is the first tried on a set of its own."""
        scenes = sorted({scenes_of([p]).get(int(i)) for p in self._sets.pictures[TARGET] for i in p.ids}, key=str)
        return frozenset(scene for scene in scenes if self._rng.random() < _SCENES_SHOWN)

    def _seen(self, onnx: Path) -> Boxes:
        finder = PersonDetector(open_engine(onnx, threads=1), confidence=0.01, nms_iou=0.65, max_people=_MOST_BOXES)
        return {
            name: {picture.id: finder.detect(read_photograph(picture.path)) for picture in pictures}
            for name, pictures in self._sets.pictures.items()
        }

    def _result(self) -> dict[str, Any]:
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


def _detector_on(
    pictures: Sequence[Picture], found: Mapping[int, Detections], groups: Mapping[str, frozenset[int]], target: bool,
    scenes: frozenset[Any],
) -> Judged:  # fmt: skip
    where = scenes_of(pictures)
    scores: dict[int, float] = {}
    alarms = 0
    for picture in pictures:
        counted = ~picture.ignored
        each = person_scores(picture.boxes[counted], found[picture.id])
        scores |= zip(picture.ids[counted].tolist(), each.tolist(), strict=True)
        alarms += _false(picture, found[picture.id])
    if target:
        scores = {person: score for person, score in scores.items() if where[person] in scenes or not scenes}
    guarded = 0.0 if target else score_boxes(pictures, found).AP50
    return Judged("person score", scores, "AP50", guarded, where, len(pictures), alarms / len(pictures), groups)


def _false(picture: Picture, boxes: Detections) -> int:
    from runtime.detections import iou_matrix

    shown = boxes[boxes.score >= 0.25]
    shown = shown[non_maximum_suppression(shown.xyxy, shown.score, LIVE_NMS_IOU)]
    if not len(picture.ids) or not len(shown):
        return len(shown)
    return int((iou_matrix(picture.boxes, shown.xyxy) < 0.3).all(0).sum())


def _pose_on(
    pictures: Sequence[Picture], found: Mapping[int, Skeletons], groups: Mapping[str, frozenset[int]], target: bool,
    scenes: frozenset[Any],
) -> Judged:  # fmt: skip
    shown = [picture for picture in pictures if picture.id in found]
    people = {picture.id: _labelled(picture) for picture in shown}
    ranks = {id: mean_confidence(skeletons) for id, skeletons in found.items()}
    figures = summarise_keypoints(shown, found, people, ranks)
    where, scores = scenes_of(pictures), dict(figures.seen)
    if target:
        scores = {person: score for person, score in scores.items() if where[person] in scenes or not scenes}
    return Judged(
        "similarity of visible joints", scores, "mean similarity", figures.mean_oks_visible or 0.0, where,
        len(pictures), None, groups,
    )  # fmt: skip


def _labelled(picture: Picture) -> Detections:
    boxes = picture.boxes[~picture.ignored & (picture.keypoints[..., 2] > 0).any(1)].astype(np.float32)
    return Detections(boxes, np.ones(len(boxes), np.float32))


def _skeletons(pose: Path, sets: Sets) -> Joints:
    estimator = PoseEstimator(open_engine(pose, threads=1))
    found: Joints = {}
    for name, pictures in sets.pictures.items():
        found[name] = {}
        for picture in pictures:
            boxes = _labelled(picture)
            color = read_photograph(picture.path)
            found[name][picture.id] = estimator.estimate(color, boxes) if len(boxes) else Skeletons.empty()
    return found


def _pictures(folder: Path, progress: Progress | None) -> dict[str, Path]:
    """The annotations of every set, made once."""
    bedside = load_scenario("C")
    specs = {
        TARGET: DatasetSpec(scenario=bedside, count=TARGET_PICTURES, seed=SEED),
        FRESH: DatasetSpec(scenario=bedside, count=FRESH_PICTURES, seed=SEED + 1),
    } | guard_specs()
    made = {}
    for name, spec in specs.items():
        out = folder / name.replace(" ", "-")
        make_dataset(spec, out, resume=out.exists(), progress=progress)
        made[name] = out / "annotations.json"
    return made
