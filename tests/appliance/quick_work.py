"""The real kinds of jobs, with held-out sets small enough for a test."""

from __future__ import annotations

from appliance.jobs import datasets
from appliance.jobs.kinds import JOB_KINDS
from tuning.gate import guards

assert datasets.held_out.__kwdefaults__ is not None
datasets.held_out.__kwdefaults__["count"] = 4
guards.IMAGES = 3

__all__ = ["JOB_KINDS"]
