"""The parts of the fault suite that fork, on a small site of their own: `python -m appliance.faults`.

A process of its own, with one thread. Prints one line of JSON a row as it is done, each with the `part` it belongs to.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance import program
from appliance.faults import disk_faults, kill_points, pairs, random_kills
from appliance.faults.children import FINISHED, in_child
from appliance.faults.disks import KINDS
from appliance.faults.operations import OPERATIONS
from appliance.faults.small_site import prepare

PARTS = ("points", "random", "pairs", "disk")


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m appliance.faults", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--every", type=int, default=1, help="each so many of the kill points")
    parser.add_argument("--kills", type=int, default=random_kills.KILLS, help="at random instants")
    parser.add_argument("--rounds", type=int, default=pairs.ROUNDS, help="of each deed that two do at once")
    parser.add_argument("--operations", type=int, default=1, help="each so many of the operations on a bad disk")
    parser.add_argument("--cuts", type=int, default=disk_faults.CUTS, help="of the power, at random instants")
    parser.add_argument("--disk", action="append", choices=KINDS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    program.prepare()
    lost = 0
    with tempfile.TemporaryDirectory(prefix="wardpose-kill-") as folder:
        original = Path(folder) / "original"
        made, told = in_child(lambda: str(prepare(original).root))  # in its own: what renders has threads
        if made != FINISHED:
            raise RuntimeError(told)
        for part in options.part or PARTS:
            for row in _rows(part, original, Path(folder), options):
                print(json.dumps({"part": part} | row), flush=True)
                lost += row["lost"]
    return 1 if lost else 0


def _rows(part: str, original: Path, work: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if part == "points":
        for operation in sorted(OPERATIONS):
            yield asdict(kill_points.sweep(operation, original, work / "copy", every=options.every))
    elif part == "random":
        yield asdict(random_kills.kill_at_random(original, work / "copy", kills=options.kills, seed=options.seed))
    elif part == "pairs":
        for name in sorted(pairs.PAIRS):
            yield asdict(pairs.meet(name, original, work / "copy", rounds=options.rounds))
    else:
        yield from disk_faults.run(
            original, work, every=options.operations, cuts=options.cuts, seed=options.seed, kinds=options.disk or KINDS
        )


if __name__ == "__main__":
    sys.exit(main())
