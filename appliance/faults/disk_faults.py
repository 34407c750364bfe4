"""A disk that fills, runs out of inodes, turns read-only, breaks or may not be written, before each operation and in
the midst of it; and a power cut at an instant drawn by lot. Each cause is told by its own name in one line, nothing
that was done is lost, and all holds when the disk is well again. On small file systems, which only root may mount.
"""

from __future__ import annotations

import codecs
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from appliance.faults import kill_points
from appliance.faults.children import FINISHED, fresh_copy, in_child, start_again
from appliance.faults.disks import KINDS, MIB, SmallDisk, mounted
from appliance.faults.operations import OPERATIONS
from appliance.faults.random_kills import missing, until_killed
from appliance.live import reserve
from appliance.site.folder import SiteFolder
from calibration.disk import DiskError, behind
from calibration.errors import WardposeError
from calibration.json_text import parse_json

_SIZE, _INODES = 96 * MIB, 4000
CUTS = 60
_NOBODY = 65534
_MIDST = (0.35, 0.6, 0.85)  # after so much of an operation's calls that change something


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to a disk. said: words that its name must have, where an operation fails by it; the box's ballast
    may let it through. midst: it can come while files are open."""

    name: str
    kinds: tuple[str, ...]
    strike: Callable[[SmallDisk], None]
    said: str
    midst: bool = True


TROUBLES = (
    Trouble("full", KINDS, lambda disk: disk.fill(), "the disk is full"),
    Trouble("300 KiB left", KINDS, lambda disk: disk.fill(300 << 10), "the disk is full"),
    Trouble("without inodes", KINDS, lambda disk: disk.take_inodes(), "no inodes left"),
    Trouble("read-only", KINDS, lambda disk: disk.read_only(), "the disk is read-only", midst=False),
    Trouble("failed to read-only", ("ext4",), lambda disk: disk.fail_to_read_only(), "the disk is read-only"),
    Trouble("with I/O errors", ("ext4",), lambda disk: disk.break_down(), "an I/O error"),
)  # fmt: skip


def run(
    original: Path, work: Path, *, every: int = 1, cuts: int = CUTS, seed: int = 1, kinds: Sequence[str] = KINDS
) -> Iterator[dict[str, Any]]:
    """One row a file system and trouble, one for a site that may not be written, one for power cuts; none where this
    user may not mount. Each on copies in `work` of the site `original`. every: each so many of the operations."""
    operations = sorted(OPERATIONS)[::every]
    calls = {name: _calls(name, fresh_copy(original, work / "counted")) for name in operations}
    for kind in kinds:
        for trouble in TROUBLES:
            if kind in trouble.kinds:
                row = _row(f"{kind} {trouble.name}, before and amidst each operation")
                for name in operations:
                    points = [0] + [max(1, int(part * calls[name])) for part in _MIDST if trouble.midst]
                    for point in points:
                        with mounted(kind, work / "disk", size=_SIZE, inodes=_INODES) as disk:
                            if disk is None:
                                return
                            _try_one(row, disk, trouble, original, name, point)
                yield row
    yield _not_permitted(original, work, operations)
    yield _power_cuts(original, work, cuts, seed)


def _row(fault: str) -> dict[str, Any]:
    return {"fault": fault, "tried": 0, "lost": 0, "notes": []}


def _calls(name: str, root: Path) -> int:
    status, told = in_child(partial(kill_points.carry_out, name, root, 0))
    if status != FINISHED:
        raise RuntimeError(f"{name} failed by itself: {told}")
    return int(told)


def _try_one(row: dict[str, Any], disk: SmallDisk, trouble: Trouble, original: Path, name: str, point: int) -> None:
    root = fresh_copy(original, disk.folder / "site")
    in_child(partial(_in_use, root))
    os.sync()
    row["tried"] += 1
    began = time.monotonic()
    if point == 0:
        trouble.strike(disk)
    _, told = in_child(partial(_attempt, name, root, point, partial(trouble.strike, disk)))
    row["shown_s"] = max(row.get("shown_s", 0.0), round(time.monotonic() - began, 2))
    _mend(disk, trouble)
    status, found = in_child(partial(start_again, root))
    faults = parse_json(found)["faults"] if status == FINISHED else [found]
    if told != "done" and trouble.said not in told:
        faults.append(f"told as: {told}")
    row["lost"] += bool(faults)
    if faults:
        row["notes"].append(f"{name}, {f'at call {point}' if point else 'before it'}: {'; '.join(faults)}")


def _in_use(root: Path) -> str:
    """As housekeeping leaves a site."""
    reserve.keep(SiteFolder.open(root))
    return ""


def _attempt(name: str, root: Path, point: int, strike: Callable[[], None]) -> str:
    try:
        if point:
            kill_points.carry_out(name, root, point, strike)
        else:
            OPERATIONS[name](SiteFolder(root))
    except WardposeError as error:
        return error.what if isinstance(error, DiskError) else f"no fault of the disk: {error}"
    except Exception as error:
        told = behind(error)  # as the doors say it: command line, service, job
        return told.what if told is not None else f"a defect: {error!r}"
    return "done"


def _mend(disk: SmallDisk, trouble: Trouble) -> None:
    if disk.image is not None and trouble.kinds == ("ext4",):
        disk.mount_again()
        return
    disk.writable()
    disk.give_back()


def _not_permitted(original: Path, work: Path, operations: list[str]) -> dict[str, Any]:
    """A site whose owner may read it and not write it, worked on by that owner."""
    row = _row("no permission to write, at each operation")
    place = Path("/dev/shm") / f"wardpose-kill-{os.getpid()}"
    try:
        for name in operations:
            root = fresh_copy(original, place)
            for path in (root, *root.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
                if not path.is_symlink():
                    path.chmod(0o500 if path.is_dir() else 0o400)
            row["tried"] += 1
            _, told = in_child(partial(_attempt_as_nobody, name, root))
            if told != "done" and "may not write here" not in told:
                row["lost"] += 1
                row["notes"].append(f"{name}: told as: {told}")
            if told == "done" and name != "pause":
                row["notes"].append(f"{name}: done")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return row


def _attempt_as_nobody(name: str, root: Path) -> str:
    codecs.lookup("utf-8-sig")  # nobody may not read everybody's Python
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    return _attempt(name, root, 0, lambda: None)


def _power_cuts(original: Path, work: Path, cuts: int, seed: int) -> dict[str, Any]:
    """All operations in an order drawn by lot, on an ext4 that loses its power at an instant drawn by lot: what had not
    been made lasting is gone. Nothing that was said to be done may be."""
    row, rng = _row("power cut at a random instant (ext4, its journal not written)"), random.Random(seed)
    done = told = 0
    with mounted("ext4", work / "disk", size=_SIZE, inodes=_INODES) as disk:
        if disk is None:
            return row
        root = disk.folder / "site"
        began = time.monotonic()
        until_killed(fresh_copy(original, root), sorted(OPERATIONS), None)
        longest_s = time.monotonic() - began
        for number in range(cuts):
            order = rng.sample(sorted(OPERATIONS), len(OPERATIONS))
            fresh_copy(original, root)
            os.sync()
            _, said = until_killed(root, order, rng.uniform(0.0, longest_s), first=disk.break_down)
            disk.mount_again()
            row["tried"] += 1
            status, found = in_child(partial(start_again, root))
            answer = parse_json(found) if status == FINISHED else {"faults": [found], "told": []}
            faults = [*answer["faults"], *in_child(partial(missing, root, said))[1].splitlines()]
            done, told = done + len(said), told + bool(answer["told"])
            row["lost"] += bool(faults)
            if faults:
                row["notes"].append(f"cut {number}, after {len(said)} operations: {'; '.join(faults)}")
    row["notes"].append(f"{done} operations were said to be done before their cuts; {told} cuts were settled and told")
    return row
