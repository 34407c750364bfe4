"""The trial of the gate in small: no bad candidate passes, the truly better do. `wardpose bench gate` is the large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.gate_candidates import Boxes, Joints, Sets, everybody, nearer_boxes, worse_boxes, worse_joints
from benchmarks.gate_decided import Decided
from benchmarks.gate_models import broken_model
from benchmarks.gate_trial import DETECTORS, FRESH, POSES, TARGET, Trial
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from runtime.detections import Detections, iou_matrix
from runtime.engines.engine import open_engine
from runtime.skeleton import Skeletons
from tests.tuning.drawn import draw_people
from tests.tuning.drawn_graphs import YoloLike, draw_graph
from tuning.coco_folder import Picture, read_people
from tuning.gate.guards import EMPTY, FLOOR
from tuning.gate.probe import answers_finite
from tuning.import_model import import_model


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """Drawn people, of whom every third is of one group and every other is said to lie, and a room without anybody."""
    folder = tmp_path_factory.mktemp("trial")
    pictures = {
        name: [
            replace(picture, attributes=({"posture": "supine"}, {"posture": "standing"}))
            for picture in read_people(draw_people(folder / name, count, seed=seed, people=2) / "annotations.json")
        ]
        for seed, (name, count) in enumerate({TARGET: 60, FRESH: 50, FLOOR: 20}.items())
    }
    nobody = draw_people(folder / "empty", 10, seed=9, people=0)
    pictures[EMPTY] = read_people(nobody / "annotations.json")
    groups = {
        name: {"age: 65 and over": frozenset(int(i) for p in people for i in p.ids if i % 3 == 0)}
        for name, people in pictures.items()
    }
    return Sets(pictures, groups)


def found_in(picture: Picture, rng: np.random.Generator) -> Detections:
    """As a middling detector finds people: off by a twelfth of their size, one in six not at all."""
    size = np.tile(picture.boxes[:, 2:] - picture.boxes[:, :2], 2)
    boxes = picture.boxes + rng.normal(0, 0.06, picture.boxes.shape) * size
    kept = rng.random(len(boxes)) > 0.15
    return Detections(boxes[kept].astype(np.float32), np.full(int(kept.sum()), 0.7, np.float32))


def joints_of(picture: Picture, rng: np.random.Generator) -> Skeletons:
    off = rng.normal(0, 6, picture.keypoints[..., :2].shape)
    points: NDArray[np.float32] = (picture.keypoints[..., :2] + off).astype(np.float32)
    return Skeletons(points, np.full(points.shape[:2], 0.7, np.float32))


def all_joints(sets: Sets, rng: np.random.Generator) -> dict[str, dict[int, Skeletons]]:
    pictures = sets.without(EMPTY).pictures
    return {name: {p.id: joints_of(p, rng) for p in people} for name, people in pictures.items()}


def shown_on(sets: Sets) -> tuple[Boxes, Joints]:
    rng = np.random.default_rng(1)
    boxes = {name: {p.id: found_in(p, rng) for p in people} for name, people in sets.pictures.items()}
    return boxes, all_joints(sets, rng)


@pytest.fixture(scope="module")
def trial(sets: Sets) -> Trial:
    made = Trial(sets, *shown_on(sets), seed=2)
    made.perturbed(60)
    return made


def test_no_bad_candidate_passes_and_the_better_do(trial: Trial) -> None:
    found = trial.result()
    bad = sum(max(1, round(0.06 * count)) for count in (DETECTORS | POSES).values())
    assert (found["bad_passed"], found["bad_total"]) == (0, bad)
    assert found["good_passed"] == found["good_total"] == 6


def test_every_kind_has_been_tried(trial: Trial) -> None:
    kinds = {kind.removesuffix(", perturbed") for kind in trial.result()["kinds"]}
    assert kinds == {*DETECTORS, *POSES, "better", "better (pose)"}


def test_a_trial_that_is_ended_goes_on_and_comes_to_the_same(sets: Sets, tmp_path: Path) -> None:
    file, shown = tmp_path / "decided.jsonl", shown_on(sets)

    def end(done: int, total: int, note: str) -> None:
        if done == 6:
            raise KeyboardInterrupt

    def attempt(of: str, progress: Progress | None = None) -> tuple[int, dict[str, Any]]:
        """Candidates that were known before, and the result."""
        decided = Decided(file, of)
        known = len(file.read_text().splitlines()) - 1
        again = Trial(sets, *shown, seed=2, decided=decided)
        again.perturbed(1, progress)
        return known, again.result()

    whole = Trial(sets, *shown, seed=2)
    whole.perturbed(1)
    with pytest.raises(KeyboardInterrupt):
        attempt("a", end)
    with file.open("a") as lines:
        lines.write('{"candidate": "cut o')  # as a killed process leaves it
    assert attempt("a") == (6, whole.result())
    assert attempt("a") == (len(DETECTORS | POSES) + 2, whole.result())
    assert attempt("another gate")[0] == 0
    file.write_text("no line of ours\n")
    with pytest.raises(WardposeError, match="is damaged"):
        Decided(file, "a")


def test_candidates_are_as_bad_or_as_good_as_they_are_said_to_be(sets: Sets) -> None:
    rng = np.random.default_rng(3)
    seen = {name: {p.id: found_in(p, rng) for p in people} for name, people in sets.pictures.items()}

    def overlap(found: dict[str, dict[int, Detections]]) -> float:
        return float(np.mean([
            iou_matrix(p.boxes, found[TARGET][p.id].xyxy).max(1).mean()
            for p in sets.pictures[TARGET] if len(seen[TARGET][p.id])
        ]))  # fmt: skip

    better = nearer_boxes(rng, sets, seen, share=1.0, amount=0.8, add=1.0, who=everybody)
    noisy = worse_boxes(rng, sets, seen, noise=0.1)
    assert overlap(noisy) < overlap(seen) < overlap(better)
    joints = all_joints(sets, rng)
    picture = sets.pictures[TARGET][0]
    mirrored = worse_joints(rng, sets.without(EMPTY), joints, mirrored=1.0)[TARGET][picture.id]
    np.testing.assert_array_equal(mirrored.keypoints[:, 5], joints[TARGET][picture.id].keypoints[:, 6])


@pytest.mark.parametrize("kind", ["NaN", "truncated"])
def test_a_broken_file_is_noticed_by_its_answers(kind: str, sets: Sets, tmp_path: Path) -> None:
    import_model(draw_graph(tmp_path / "drawn.onnx", YoloLike(1)), tmp_path, "model")
    detector = tmp_path / "model" / "model.onnx"
    frames = [read_photograph(picture.path) for picture in sets.pictures[TARGET][:2]]
    assert answers_finite(open_engine(detector), frames)
    rng = np.random.default_rng(0)
    for _ in range(3):
        path = broken_model(tmp_path, detector, kind, rng)
        try:
            assert not answers_finite(open_engine(path), frames)
        except WardposeError:
            pass
