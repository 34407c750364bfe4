"""How fast a job goes and how long it still takes, told by watching it; and a guess before it begins."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.jobs.store import Job

WATCHED_SECONDS = 60.0  # the stretch that a rate is taken over
LEAST_SECONDS = 5.0
# Where this box has done nothing of the kind yet: what the slowest machine it was measured on needed, a core.
IMAGE_CORE_SECONDS = 0.12
PASS_CORE_SECONDS = 0.5  # one image, once, forwards and backwards
JUDGED_CORE_SECONDS = 150.0  # two models on the held-out pictures, making which is part of the first time


@dataclass(slots=True)
class _Watched:
    total: int
    seen: deque[tuple[float, int]] = field(default_factory=deque)


class Paces:
    """Rates of the jobs that are watched. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}

    def look(self, jobs: Iterable[Job], now_s: float | None = None) -> None:
        """Take note of how far each running job is."""
        now = time.monotonic() if now_s is None else now_s
        running = {job.id: job for job in jobs if job.state == "running" and job.total > 0}
        for number, job in running.items():
            watched = self._watched.setdefault(number, _Watched(job.total))
            if watched.total != job.total or (watched.seen and job.done < watched.seen[-1][1]):
                watched.total = job.total  # another stage of the work has begun
                watched.seen.clear()
            watched.seen.append((now, job.done))
            while watched.seen[-1][0] - watched.seen[0][0] > WATCHED_SECONDS:
                watched.seen.popleft()
        for number in [number for number in self._watched if number not in running]:
            del self._watched[number]

    def rate(self, job: Job) -> float | None:
        """Steps a second; None until it has been watched for some seconds, or where it does not move."""
        watched = self._watched.get(job.id)
        if watched is None or len(watched.seen) < 2:
            return None
        (began, first), (ended, last) = watched.seen[0], watched.seen[-1]
        if ended - began < LEAST_SECONDS or last <= first:
            return None
        return (last - first) / (ended - began)

    def left_s(self, job: Job) -> float | None:
        """Seconds until the present stage of the job is done, at its present rate."""
        rate = self.rate(job)
        return None if rate is None else max(job.total - job.done, 0) / rate


@dataclass(frozen=True, slots=True)
class Guess:
    """How long something will take. measured: whether earlier jobs of this site say so."""

    seconds: float
    measured: bool

    def __add__(self, other: Guess) -> Guess:
        return Guess(self.seconds + other.seconds, self.measured and other.measured)


def guess_images(jobs: Sequence[Job], count: int) -> Guess:
    """For making `count` images."""
    done = [
        (float(job.result["seconds"]), int(job.result["images"]))
        for job in jobs
        if job.kind == "synth" and job.result and job.result.get("images") and job.result.get("seconds")
    ]
    if done:
        seconds, images = done[0]
        return Guess(count * seconds / images, True)
    return Guess(count * IMAGE_CORE_SECONDS / _cores() + 20, False)


def guess_tuning(jobs: Sequence[Job], task: str, images: int, epochs: int) -> Guess:
    """For tuning one model of that task."""
    for job in jobs:
        if job.kind == "tune" and job.result and job.result.get("task") == task and job.result.get("images"):
            passes = int(job.result["images"]) * int(job.parameters.get("epochs") or 1)
            return Guess(images * epochs * float(job.result["seconds"]) / passes, True)
    return Guess(images * epochs * PASS_CORE_SECONDS / _cores() + 10, False)


def guess_judging(jobs: Sequence[Job]) -> Guess:
    """For one model before the gate."""
    for job in jobs:
        if job.kind == "promote" and job.state == "done" and (seconds := seconds_of(job)):
            return Guess(seconds, True)
    return Guess(JUDGED_CORE_SECONDS / _cores(), False)


def seconds_of(job: Job) -> float | None:
    """How long a job ran, or has been running; None for one that has not begun."""
    if not job.started_at:
        return None
    began = datetime.fromisoformat(job.started_at)
    ended = datetime.fromisoformat(job.finished_at) if job.finished_at else datetime.now(UTC)
    aware = [at if at.tzinfo else at.replace(tzinfo=UTC) for at in (began, ended)]
    return max((aware[1] - aware[0]).total_seconds(), 0.0)


def _cores() -> int:
    return max(len(os.sched_getaffinity(0)), 1)
