"""Whether people keep their numbers: a simulated ward with truth, judged by motmetrics (IDF1, HOTA, id switches).

Clinicians walk about, cross each other, and stand before the bed for ten seconds so that the patient is wholly hidden;
some wear the same scrubs. Boxes are those of bodies in the bed's frame as a calibrated camera sees them, with jitter,
misses that rise as less of somebody is seen, and looks into which whoever stands before them is mixed. The former
tracker, by boxes alone and with a memory of a second, is judged on the same sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.progress import Progress
from calibration.viewpoint import Viewpoint
from runtime.appearance import BINS
from runtime.detections import Detections
from runtime.track import Tracker

_FPS = 15.0
_CAMERA = CameraModel(640, 360, 305, 305, 319.5, 179.5)
_STANDING, _LYING = np.array([0.5, 0.35, 1.7]), np.array([1.7, 0.5, 0.25])  # metres: length, width, height
_HIDDEN_S = 10.0
_SEEN = 0.25  # part of a box that must be free for somebody to count as there
_JITTER = 0.03
_APART_M = 0.55


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame. truth: ids and boxes of who is to be seen; found: the detections with whose they are (unknown to the
    tracker) and their looks."""

    time_s: float
    truth: tuple[NDArray[np.int64], NDArray[np.float64]]
    found: Detections
    looks: NDArray[np.float32]


def run(minutes: int = 5, *, seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """IDF1, HOTA (mean over thresholds), and id switches an hour, of this tracker and of boxes with a short memory."""
    moments = sequence(minutes * 60, seed)
    answer: dict[str, Any] = {"minutes": minutes, "people": len({int(i) for m in moments for i in m.truth[0]})}
    trackers = {"tracker": (Tracker(), True), "boxes_1s": (Tracker(forget_s=1.0), False)}
    for place, (name, (tracker, sees)) in enumerate(trackers.items()):
        if progress:
            progress(place, len(trackers), name)
        answer[name] = judged(moments, _following(tracker, sees))
    if progress:
        progress(len(trackers), len(trackers), "done")
    return answer


def _following(tracker: Tracker, sees: bool) -> Callable[[Moment], Detections]:
    return lambda moment: tracker.update(moment.found, moment.time_s, moment.looks if sees else None)


def judged(moments: list[Moment], track: Callable[[Moment], Detections]) -> dict[str, float]:
    """The figures of one tracker on a sequence. Raises WardposeError without motmetrics."""
    try:
        import motmetrics
    except ImportError as error:
        raise WardposeError("motmetrics is not installed", mend="pip install motmetrics") from error
    by_threshold = {alpha: motmetrics.MOTAccumulator(auto_id=True) for alpha in (0.25, 0.5, 0.75)}
    for moment in moments:
        tracked = track(moment)
        ids, boxes = moment.truth
        assert tracked.track_id is not None
        overlap = _iou(boxes, tracked.xyxy.astype(np.float64))
        for alpha, log in by_threshold.items():
            log.update(ids.tolist(), tracked.track_id.tolist(), np.where(overlap >= alpha, 1 - overlap, np.nan))
    host = motmetrics.metrics.create()
    figures = host.compute(by_threshold[0.5], metrics=["idf1", "num_switches", "mota"], name="a").iloc[0]
    hota = [_hota(log.mot_events) for log in by_threshold.values()]
    hours = len(moments) / _FPS / 3600
    return {
        "idf1": round(float(figures["idf1"]), 4), "hota": round(float(np.mean(hota)), 4),
        "switches_per_hour": round(float(figures["num_switches"]) / hours, 1), "mota": round(float(figures["mota"]), 4),
    }  # fmt: skip


def _hota(events: Any) -> float:
    """HOTA at one threshold (Luiten et al. 2021) from motmetrics' matches: root of detection × association accuracy."""
    real = events[events["Type"] != "RAW"]
    matched = real[real["Type"].isin(["MATCH", "SWITCH", "TRANSFER", "ASCEND", "MIGRATE"])]
    false = int((real["Type"] == "FP").sum() + (real["Type"] == "MISS").sum())
    if matched.empty:
        return 0.0
    pairs = matched.groupby(["OId", "HId"]).size()
    truth = real[real["OId"].notna()].groupby("OId").size()
    given = real[real["HId"].notna()].groupby("HId").size()
    association = sum(n * n / (truth[o] + given[h] - n) for (o, h), n in pairs.items()) / pairs.sum()
    return float(np.sqrt(pairs.sum() / (pairs.sum() + false) * association))


def sequence(seconds: float, seed: int) -> list[Moment]:
    """A ward for so long: a patient in bed and three clinicians, two of them in the same scrubs."""
    rng = np.random.default_rng(seed)
    bed = Bed()
    camera_from_bed = Viewpoint(azimuth_deg=65, elevation_deg=30, distance=3.4).camera_from_bed
    eye = -camera_from_bed[:3, :3].T @ camera_from_bed[:3, 3]
    scrubs = rng.dirichlet(np.full(BINS, 0.05))
    looks = np.stack([rng.dirichlet(np.full(BINS, 0.05)), scrubs, scrubs, rng.dirichlet(np.full(BINS, 0.05))])
    ways = _apart(np.stack([_way(rng, seconds, bed, eye, hides=person == 1) for person in (1, 2, 3)]))
    moments = []
    for step in range(int(seconds * _FPS)):
        bodies = [(np.array([0.0, 0.0, 0.12]), _LYING)] + [
            (np.array([*way[step], 0.85 - bed.height]), _STANDING) for way in ways
        ]
        moments.append(_moment(rng, step / _FPS, bodies, looks, camera_from_bed))
    return moments


def _way(
    rng: np.random.Generator, seconds: float, bed: Bed, eye: NDArray[np.float64], *, hides: bool
) -> NDArray[np.float64]:
    """(steps, 2) where somebody stands: from place to place around the bed at a walk, with stops; who hides the patient
    stands between bed and camera for ten seconds now and then."""
    steps, here = int(seconds * _FPS), rng.uniform([-1.5, 0.8], [1.5, 1.8])
    toward = eye[:2] / np.linalg.norm(eye[:2])
    found: list[NDArray[np.float64]] = []
    turn = 0
    while len(found) < steps:
        turn += 1
        hiding = hides and turn % 3 == 0
        side = rng.choice([-1.0, 1.0])
        there = toward * 0.95 if hiding else np.array([rng.uniform(-1.6, 1.6), side * rng.uniform(0.8, 1.6)])
        length = max(2, int(np.linalg.norm(there - here) / 1.0 * _FPS))
        found += list(here + (there - here) * np.linspace(0, 1, length)[:, None])
        found += [there] * int((_HIDDEN_S if hiding else rng.uniform(1, 5)) * _FPS)
        here = there
    return np.array(found[:steps])


def _apart(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    """(people, steps, 2) ways on which nobody walks through anybody: who comes too near is pushed aside."""
    for _ in range(5):
        for a in range(len(ways)):
            for b in range(a + 1, len(ways)):
                between = ways[b] - ways[a]
                far = np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-6)
                push = np.maximum(_APART_M - far, 0) / 2 * between / far
                ways[a], ways[b] = ways[a] - push, ways[b] + push
    return ways


def _moment(
    rng: np.random.Generator, time_s: float, bodies: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    looks: NDArray[np.float64], camera_from_bed: NDArray[np.float64],
) -> Moment:  # fmt: skip
    boxes, depth = zip(*(_seen(middle, size, camera_from_bed) for middle, size in bodies), strict=True)
    order = np.argsort(depth)
    free = np.ones(len(bodies))
    cover: dict[int, tuple[int, float]] = {}
    for place, person in enumerate(order):
        mask = np.zeros((90, 160), bool)  # a quarter of the picture's resolution
        for other in order[:place]:
            x1, y1, x2, y2 = (boxes[other] / 4).round().astype(int)
            mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
        x1, y1, x2, y2 = (np.clip(boxes[person], 0, [640, 360, 640, 360]) / 4).round().astype(int)
        own = mask[y1:y2, x1:x2]
        free[person] = 1 - own.mean() if own.size else 0.0
        if place and own.size:
            cover[int(person)] = (int(order[place - 1]), float(own.mean()))
    there = np.flatnonzero(free >= _SEEN)
    chance = np.clip(1.6 * free[there] + 0.05, 0, 0.98)
    found = there[rng.random(len(there)) < chance]
    size = np.stack([np.tile(boxes[p][2:] - boxes[p][:2], 2) for p in found]) if len(found) else np.empty((0, 4))
    noisy = np.array([boxes[p] for p in found]).reshape(-1, 4) + rng.normal(0, _JITTER, size.shape) * size
    noisy = np.concatenate([np.minimum(noisy[:, :2], noisy[:, 2:]), np.maximum(noisy[:, :2], noisy[:, 2:])], axis=1)
    seen_looks = []
    for person in found:
        other, share = cover.get(int(person), (int(person), 0.0))
        mixed = (1 - share) * looks[person] + share * looks[other]
        sampled = rng.multinomial(400, mixed / mixed.sum()) + 0.5  # as many pixels as `appearance` looks at
        seen_looks.append(sampled / sampled.sum())
    rows = np.array(seen_looks, np.float32).reshape(-1, BINS)
    detections = Detections(noisy.astype(np.float32), rng.uniform(0.4, 0.9, len(found)).astype(np.float32))
    truth = there.astype(np.int64), np.array([boxes[p] for p in there]).reshape(-1, 4)
    return Moment(time_s, truth, detections, rows)


def _seen(
    middle: NDArray[np.float64], size: NDArray[np.float64], camera_from_bed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The box (4,) of a body's corners in the picture, and its distance."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = (middle + signs * size / 2) @ camera_from_bed[:3, :3].T + camera_from_bed[:3, 3]
    pixels = _CAMERA.project(np.maximum(corners, [-1e3, -1e3, 0.2]))
    return np.concatenate([pixels.min(0), pixels.max(0)]), float(corners[:, 2].mean())


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    from runtime.detections import iou_matrix

    return iou_matrix(a, b) if len(a) and len(b) else np.zeros((len(a), len(b)))
