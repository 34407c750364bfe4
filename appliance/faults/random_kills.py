"""A site whose programs are killed at instants that nobody chose.

One forked child after the other does all operations of the suite on a copy of a small site, in an order drawn by lot,
and says of each that it is done; at an instant drawn by lot it is killed. Another child then starts on what is left, as
the box would. Nothing may be corrupt, and of what was said to be done nothing may be missing.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from appliance.faults.children import FINISHED, fresh_copy, in_child, start_again
from appliance.faults.operations import OPERATIONS
from appliance.site import audit
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.json_text import parse_json

KILLS = 243


@dataclass(slots=True)
class Killed:
    """What came of it. amidst: killed with operations still to do; done: operations that were said to be done; told:
    the next start completed or withdrew something; lost: what does not hold afterwards is in `faults`."""

    tried: int = 0
    amidst: int = 0
    done: int = 0
    told: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)


def kill_at_random(original: Path, work: Path, *, kills: int, seed: int) -> Killed:
    """Kill as often, each time on a fresh copy at `work` of the site `original`. For a process with one thread."""
    rng = random.Random(seed)
    killed = Killed()
    began = time.monotonic()
    _, first = until_killed(fresh_copy(original, work), sorted(OPERATIONS), None)
    longest_s = time.monotonic() - began
    if len(first) < len(OPERATIONS) // 2:
        raise RuntimeError(f"by themselves only these operations succeed: {first}")
    for number in range(kills):
        order = rng.sample(sorted(OPERATIONS), len(OPERATIONS))
        site = fresh_copy(original, work)
        amidst, acknowledged = until_killed(site, order, rng.uniform(0.0, longest_s))
        killed.tried += 1
        killed.amidst += amidst
        killed.done += len(acknowledged)
        status, told = in_child(partial(start_again, site))
        found = parse_json(told) if status == FINISHED else {"faults": [told], "told": []}
        faults = [*found["faults"], *in_child(partial(missing, site, acknowledged))[1].splitlines()]
        killed.told += bool(found["told"])
        killed.lost += bool(faults)
        killed.faults += [f"kill {number}, after {len(acknowledged)} operations: {fault}" for fault in faults]
    return killed


def until_killed(
    root: Path, order: Sequence[str], after_s: float | None, *, first: Callable[[], None] = lambda: None
) -> tuple[bool, list[str]]:
    """Whether the child that did these operations was killed before it had done all, and what it said was done: name of
    the operation, number and hash of the audit trail's newest row then. after_s: None lets it do all. first: what
    happens to its disk before it is killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            carry_out(root, order, writer)
        finally:
            os._exit(0)
    os.close(writer)
    if after_s is not None:
        time.sleep(after_s)
        first()
        os.kill(child, signal.SIGKILL)  # not reaped yet, so its number is nobody else's
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ended < 0, said.splitlines()[: said.count("\n")]


def carry_out(root: Path, order: Sequence[str], said: int) -> None:
    site = SiteFolder(root)
    for name in order:
        try:
            OPERATIONS[name](site)
        except WardposeError:  # one that another has left nothing to do
            continue
        head = audit.verify(site).head
        os.write(said, f"{name}|{head.row}|{head.hash}\n".encode())


def missing(root: Path, acknowledged: Sequence[str]) -> str:
    """What of it the audit trail no longer has, a line each."""
    site = SiteFolder.open(root)
    with site.database.transaction() as db:
        hashes = {int(row["id"]): str(row["hash"]) for row in db.execute("SELECT id, hash FROM audit")}
    lost = []
    for line in acknowledged:
        name, row, digest = line.split("|")
        if hashes.get(int(row)) != digest:
            lost.append(f"{name} was acknowledged, and its audit row is gone")
    return "\n".join(lost)
