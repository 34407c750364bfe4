"""Carrying a study out so that it can be stopped at any instant, kill -9 and power cuts included.

    plan.json         the study as it was last asked for
    cells/NAME.json   what a cell came to, with its fingerprint; written last, so its presence means the cell is done
    made/NAME-…/      pictures and models

A cell of the same fingerprint is done once, whichever plan asks for it: a small study grows into a large one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.atomic import disk_error, write_bytes
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from tuning.study.cells import Cell, Plan

PLAN_FILE, CELLS, MADE = "plan.json", "cells", "made"
Results = Mapping[str, Mapping[str, Any]]
# What a cell comes to: from the cell, the results so far by name, a folder of its own and a way to tell progress.
Work = Callable[[Cell, Results, Path, Progress], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Study:
    """What a study came to. results: by cell; seconds, cpu_s: of each, spent in the run that finished it."""

    plan: Plan
    results: Results
    seconds: Mapping[str, float]
    cpu_s: Mapping[str, float]


def carry_out(plan: Plan, folder: Path, work: Work, *, resume: bool = False, progress: Progress | None = None) -> Study:
    """Do every cell of `plan` that is not done in `folder`, in order. Whatever ends it, what is done is kept.

    resume: go on in a folder that already holds a study. Raises WardposeError where the folder holds something else or
    another run works in it.
    """
    with _alone(folder, resume):
        write_bytes(folder / PLAN_FILE, plan.model_dump_json(indent=1).encode() + b"\n")
        marks = plan.fingerprints()
        kept: dict[str, dict[str, Any]] = {}
        results: dict[str, Mapping[str, Any]] = {}
        for number, cell in enumerate(plan.cells):
            path = folder / CELLS / f"{cell.name}.json"
            row = _kept(path, marks[cell.name])
            if row is None:
                tell = _within(progress, number, len(plan.cells), cell.name)
                tell(0, 0, "")
                began, spent = time.monotonic(), _cpu_s()
                made = folder / MADE / f"{cell.name}-{marks[cell.name]}"
                found = {
                    "fingerprint": marks[cell.name],
                    "result": work(cell, results, made, tell),
                    "seconds": round(time.monotonic() - began, 2),
                    "cpu_s": round(_cpu_s() - spent, 2),
                }
                written = json.dumps(found, ensure_ascii=False).encode() + b"\n"
                write_bytes(path, written)
                row = parse_json(written)  # as whoever goes on from the file reads it
            kept[cell.name], results[cell.name] = row, row["result"]
        if progress:
            progress(len(plan.cells), len(plan.cells), "")
    seconds, cpu_s = ({name: float(row[key]) for name, row in kept.items()} for key in ("seconds", "cpu_s"))
    return Study(plan, results, seconds, cpu_s)


def _kept(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """What a cell came to, where it was done just as it is now asked for."""
    try:
        row = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise WardposeError("is damaged", where=str(path), mend="delete it, then go on with --resume") from None
    return row if isinstance(row, dict) and row.get("fingerprint") == fingerprint else None


@contextlib.contextmanager
def _alone(folder: Path, resume: bool) -> Iterator[None]:
    """The folder, for this run alone."""
    try:
        there = folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())
        if there and not (folder / PLAN_FILE).is_file():
            raise WardposeError(
                "is not empty and holds no study", where=str(folder), mend="give an empty or new folder"
            )
        if there and not resume:
            raise WardposeError("holds a study", where=str(folder), mend="go on with --resume, or give another folder")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WardposeError("another run works on this study", where=str(folder), mend="wait for it") from None
            for place in (folder, folder / CELLS):
                for left in place.glob(".*.part"):  # by a run that was killed while writing
                    left.unlink(missing_ok=True)
            yield
    except OSError as error:
        raise disk_error(error, error.filename or folder) from error


def _within(progress: Progress | None, number: int, cells: int, name: str) -> Progress:
    """Tells the progress of one cell as part of the study's."""

    def tell(done: int, total: int, note: str) -> None:
        if progress:
            share = f" {done} of {total}" if total else ""
            progress(number, cells, f"{name}{share}{f', {note}' if note else ''}")

    return tell


def _cpu_s() -> float:
    """Processor seconds of this process and of those it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
