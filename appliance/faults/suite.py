"""The fault suite: what is done to a site and what it does then, as one table. `wardpose bench faults` runs it.

Every row counts how many faults of a kind were tried, the longest time until the site showed it and until it was well
again, and how many lost something: a deed without its row, a file that can't be read, an answer that never came.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance.faults import hostile_faults, live_faults
from appliance.site.folder import REPOSITORY
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress


@dataclass(slots=True)
class Row:
    """One kind of fault. shown_s, recovered_s: the longest; None where nothing had to be shown or to recover."""

    fault: str
    tried: int = 0
    shown_s: float | None = None
    recovered_s: float | None = None
    lost: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


PARTS = ("kills", "pairs", "hostile", "disk", "live")


def run(parts: tuple[str, ...] = PARTS, *, every: int = 1, progress: Progress | None = None) -> list[Row]:
    """The rows of these parts. every: each so many of the kill points, and of the operations on a bad disk."""
    tell = progress or (lambda done, total, note: None)
    makers: dict[str, Callable[[Path], Iterator[Row]]] = {
        "kills": lambda work: _forked("--part=points", "--part=random", f"--every={every}"),
        "pairs": lambda work: _forked("--part=pairs"),
        "disk": lambda work: _forked("--part=disk", f"--operations={every}"),
        "hostile": lambda work: (Row(**values) for values in hostile_faults.run(work)),
        "live": lambda work: (Row(**values) for values in live_faults.run(work)),
    }  # fmt: skip
    rows: list[Row] = []
    for place, part in enumerate(parts):
        with tempfile.TemporaryDirectory(prefix="wardpose-kill-") as folder:
            for row in makers[part](Path(folder)):
                rows.append(row)
                tell(place, len(parts), f"{row.fault}: {row.tried} tried, {row.lost} lost")
    tell(len(parts), len(parts), "done")
    return rows


def _forked(*options: str) -> Iterator[Row]:
    with subprocess.Popen(
        [sys.executable, "-m", "appliance.faults", *options], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as forking:  # fmt: skip
        assert forking.stdout is not None
        for line in forking.stdout:
            yield _row(parse_json(line))
    if forking.returncode not in (0, 1):
        raise WardposeError("the fault suite broke off", where="bench faults", mend="see what it says above")


def _row(said: dict[str, Any]) -> Row:
    part = said.pop("part")
    if part == "disk":
        return Row(**said)
    if part == "points":
        told = f"{said['done']} done, {said['undone']} undone, {said['told']} settled and told"
        return Row(f"killed: {said['operation']}", said["tried"], None, None, said["lost"], [told, *said["faults"]])
    if part == "pairs":
        told = f"both done {said['both']} times"
        told += f"; else the other is told: {said['refused']}" if said["refused"] else ""
        return Row(f"two at once: {said['deed']}", said["tried"], None, None, said["lost"], [told, *said["faults"]])
    told = f"{said['amidst']} with operations still to do; {said['done']} operations had been said to be done"
    notes = [f"{told}; {said['told']} starts settled something and told it", *said["faults"]]
    return Row("killed: any operation, at a random instant", said["tried"], None, None, said["lost"], notes)
