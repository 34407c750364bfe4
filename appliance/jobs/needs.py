"""Which jobs use what other jobs make: images by a job's number or folder, models by their name."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.jobs.store import Job


def followers(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The later jobs that use what `job` makes, directly or through others, in the order they were asked for."""
    found = [job]
    for other in sorted(jobs, key=lambda other: other.id):
        if any(_uses(other, earlier) for earlier in found):
            found.append(other)
    return found[1:]


def needed_first(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The earlier jobs of `jobs` that have yet to end before `job` finds what it uses."""
    return [other for other in jobs if other.active and _uses(job, other)]


def _uses(job: Job, earlier: Job) -> bool:
    """Whether `job` was asked for after `earlier` and uses what that one makes."""
    uses = {str(job.parameters[key]) for key in ("data", "model") if job.parameters.get(key)}
    made = {str(earlier.parameters[key]) for key in ("out", "name") if earlier.parameters.get(key)}
    return job.id > earlier.id and bool(uses & made or job.parameters.get("data_of") == earlier.id)
