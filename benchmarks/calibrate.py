"""How well each calibration method finds a camera whose place is known, and whether its posterior says so.

The pictures come from no renderer of ours: the sheet is ray-cast through the full lens model, beds in depth are
ray-cast from boxes and ellipsoids. The errors that a person makes (placement, printed scale, focal length, clicks, bed
size, tape measure) are drawn with the standard deviations that the methods assume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from benchmarks.calibration_traps import TRAPS, Trap
from benchmarks.calibration_trials import CONDITIONS, Condition
from calibration.errors import WardposeError
from calibration.estimate import turned_round
from calibration.posterior import pose_difference
from calibration.progress import Progress

INSIDE_95, INSIDE_999 = float(chi2.ppf(0.95, 6)), float(chi2.ppf(0.999, 6))


def run(
    trials: int = 30, *, seed: int = 0, methods: Sequence[str] = (), progress: Progress | None = None
) -> dict[str, Any]:
    """{"methods": {name: figures}, "conditions": {"method: condition": figures}, "traps", "trials", "seed"}.

    `methods` holds each method under all the errors that it assumes. figures: rotation_deg and camera_mm, medians;
    coverage95, the share of answered trials whose true pose lies inside the estimate's 95 % ellipsoid in all six
    dimensions (chi² of the pose error under its covariance); refused, trials that the method would not answer; wrong,
    answers beyond the 99.9 % ellipsoid; end_wrong, answers with head and foot exchanged, which are turned round before
    they are measured, as a person would; table, what an earlier study reached (degrees, millimetres), where it did.
    A method's false_accepts: of trap_inputs, which must not be trusted and are about half as many as trials, those
    that it answered where nothing was right, or beyond the 99.9 % ellipsoid. traps holds (accepted, inputs) by kind.
    methods: the ones to run, all by default.
    """
    if trials < 1:
        raise WardposeError(f"{trials} trials cannot be run", where="bench calibrate", mend="ask for one or more")
    chosen = [condition for condition in CONDITIONS if not methods or condition.method in methods]
    figures: dict[str, dict[str, Any]] = {}
    for place, condition in enumerate(chosen):
        figures[f"{condition.method}: {condition.name}"] = _measure(
            condition, trials, [seed, CONDITIONS.index(condition)], place, len(chosen), progress
        )
    traps = {
        f"{trap.method}: {trap.name}": falls_for(
            trap, max(1, -(-trials // (2 * len(kinds)))), [seed, TRAPS.index(trap)]
        )
        for method in dict.fromkeys(condition.method for condition in chosen)
        for kinds in [[trap for trap in TRAPS if trap.method == method]]
        for trap in kinds
    }
    headline = {condition.method: f"{condition.method}: {condition.name}" for condition in reversed(chosen)}
    headlines = {method: figures[headline[method]] | _of_all(method, traps) for method in reversed(headline)}
    return {"methods": headlines, "conditions": figures, "traps": traps, "trials": trials, "seed": seed}


def _measure(
    condition: Condition, trials: int, seed: list[int], place: int, places: int, progress: Progress | None
) -> dict[str, Any]:
    rotations, centres, distances = [], [], []
    refused = turned = 0
    for trial in range(trials):
        try:
            truth, estimate = condition.simulate(np.random.default_rng([*seed, trial]))
        except WardposeError:
            refused += 1
        else:
            if estimate.camera_from_bed[:3, 0] @ truth[:3, 0] < 0:
                estimate, turned = turned_round(estimate), turned + 1
            delta = pose_difference(truth, estimate.camera_from_bed)
            rotations.append(float(np.degrees(np.linalg.norm(delta[:3]))))
            centres.append(1e3 * float(np.linalg.norm(_centre(truth) - _centre(estimate.camera_from_bed))))
            distances.append(float(delta @ np.linalg.solve(estimate.covariance, delta)))
        if progress is not None:
            progress(place * trials + trial + 1, places * trials, f"{condition.method}: {condition.name}")
    answered = np.array(distances)
    figures = {
        "rotation_deg": float(np.median(rotations)) if rotations else None,
        "camera_mm": float(np.median(centres)) if centres else None,
        "coverage95": float((answered <= INSIDE_95).mean()) if rotations else None,
        "refused": refused,
        "wrong": int((answered > INSIDE_999).sum()),
        "end_wrong": turned,
    }
    return figures | ({"table": list(condition.table)} if condition.table else {})


def falls_for(trap: Trap, inputs: int, seed: list[int]) -> tuple[int, int]:
    """How many of `inputs` got a wrong answer, and how many there were."""
    wrong = 0
    for number in range(inputs):
        try:
            truth, estimate = trap.answer(np.random.default_rng([*seed, number, 1]))
        except WardposeError:
            continue
        if truth is not None:
            if estimate.camera_from_bed[:3, 0] @ truth[:3, 0] < 0:
                estimate = turned_round(estimate)
            delta = pose_difference(truth, estimate.camera_from_bed)
            if delta @ np.linalg.solve(estimate.covariance, delta) <= INSIDE_999:
                continue
        wrong += 1
    return wrong, inputs


def _of_all(method: str, traps: dict[str, tuple[int, int]]) -> dict[str, int]:
    """A method's traps of every kind together."""
    counts = [count for name, count in traps.items() if name.startswith(f"{method}: ")]
    return {"false_accepts": sum(wrong for wrong, _ in counts), "trap_inputs": sum(inputs for _, inputs in counts)}


def _centre(camera_from_bed: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-camera_from_bed[:3, :3].T @ camera_from_bed[:3, 3])
