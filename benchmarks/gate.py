"""How well the gate tells good from bad: candidates of known worth, of which it may let no bad one through.

The sets are simulated once; the models in use are real ones of this box. Candidates are of two sorts, counted apart.
Real: files with NaN in their weights and files that are cut off; and detectors trained here: on noisy labels, on the
wrong pictures, on the held-out pictures themselves, stopped on weights that are half noise, and one trained well.
Perturbed: what the real models answered, made worse or better in a known way.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate_candidates import Boxes, Joints, Rng, Sets
from benchmarks.gate_decided import Decided, everything_judged_by
from benchmarks.gate_models import broken_model, trained_models
from benchmarks.gate_trial import FRESH, TARGET, Trial, rows_of
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from runtime.skeleton import Skeletons
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import load_scenario
from tuning.coco_folder import Picture, read_people
from tuning.evaluate.groups import brightness
from tuning.gate.guards import EMPTY, SEED, guard_specs
from tuning.gate.judged import groups_of
from tuning.gate.probe import PROBE_FRAMES, answers_finite

TARGET_PICTURES, FRESH_PICTURES = 120, 100
BROKEN = {"NaN": 60, "truncated": 60}  # of a thousand bad candidates
_MOST_BOXES = 20


def run(
    candidates: int = 1000, *, detector: Path, pose: Path | None = None, seed: int = 0, work: Path | None = None,
    train: bool = True, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Put `candidates` bad ones and a tenth as many good ones through the gate.

    detector, pose: ONNX files of the models in use. work: a folder that keeps the pictures, the trained models and what
    the gate said of each candidate; what it holds is not done again. train: train real candidates too. Returns
    `bad_passed`, `bad_total`, `good_passed`, `good_total`, and the same by kind and sort.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-gate-") as once:
        folder = work or Path(once)
        files = _pictures(folder, progress)
        pictures = {name: read_people(file, keypoints=True) for name, file in files.items()}
        groups = {name: groups_of(people, brightness(people)) for name, people in pictures.items()}
        sets = Sets(pictures, groups)
        joints = None if pose is None else _skeletons(pose, sets.without(EMPTY))
        of = everything_judged_by(seed, [detector, *([pose] if pose else []), *files.values()])
        trial = Trial(sets, _seen(detector, sets), joints, seed, Decided(folder / "decided.jsonl", of))
        trial.perturbed(candidates, progress)
        for kind, count in BROKEN.items():
            for _ in range(max(1, round(candidates * count / 1000))):
                trial.real(kind, partial(_broken, folder, detector, kind, sets))
        if train:
            for kind, onnx, leaked in trained_models(folder, detector, files, progress):
                trial.real(kind, partial(_trained, onnx, sets), leaked, mark=sha256_of(onnx))
        return trial.result() | {"pictures": sum(map(len, pictures.values()))}


def _broken(folder: Path, detector: Path, kind: str, sets: Sets, rng: Rng) -> Boxes | str:
    """What a broken file shows; why it is no model any more, if it can't be opened or its answers are no numbers."""
    path = broken_model(folder, detector, kind, rng)
    try:
        engine = open_engine(path, threads=1)
    except WardposeError as error:
        return str(error)
    frames = [read_photograph(picture.path) for picture in sets.pictures[TARGET][:PROBE_FRAMES]]
    return _seen(path, sets.without(FRESH)) if answers_finite(engine, frames) else "its answers are no numbers"


def _trained(onnx: Path, sets: Sets, _rng: Rng) -> Boxes:
    return _seen(onnx, sets.without(FRESH))


def _seen(onnx: Path, sets: Sets) -> Boxes:
    finder = PersonDetector(open_engine(onnx, threads=1), confidence=0.01, nms_iou=0.65, max_people=_MOST_BOXES)
    return {
        name: {picture.id: finder.detect(read_photograph(picture.path)) for picture in pictures}
        for name, pictures in sets.pictures.items()
    }


def _labelled(picture: Picture) -> Detections:
    boxes = picture.boxes[rows_of(picture)].astype(np.float32)
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
