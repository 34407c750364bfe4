"""A disk that fills or turns read-only under each operation: told in one line, nothing lost, and all holds when there
is room again. On a small file system in memory, which only root may mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance import cut_off
from appliance.faults.operations import OPERATIONS, holds, prepare
from appliance.live import reserve
from appliance.site.folder import SiteFolder
from calibration.disk import DiskError
from calibration.errors import WardposeError

_MIB = 1 << 20
_SIZE = 96 * _MIB


def run(work: Path) -> Iterator[dict[str, Any]]:
    """One row a cause; none where this user may not mount."""
    if os.geteuid() != 0:
        return
    causes: dict[str, Callable[[Path], None]] = {
        "full": lambda disk: _fill(disk), "300 KiB left": lambda disk: _fill(disk, 300 << 10),
        "read-only": lambda disk: _mount("-o", "remount,ro", str(disk)),
    }  # fmt: skip
    for cause, break_it in causes.items():
        disk, row = work / "disk", {"fault": f"disk {cause}, at each operation", "tried": 0, "lost": 0, "notes": []}
        for operation in sorted(OPERATIONS):
            disk.mkdir(exist_ok=True)
            if not _try_mount(disk):
                return
            try:
                _try_one(row, operation, disk, break_it)
            finally:
                subprocess.run(["umount", "--lazy", str(disk)], check=False, capture_output=True)
        yield row


def _try_one(row: dict[str, Any], operation: str, disk: Path, break_it: Callable[[Path], None]) -> None:
    site = prepare(disk / "site")
    reserve.keep(site)  # as housekeeping does
    break_it(disk)
    row["tried"] += 1
    told = "done"
    try:
        OPERATIONS[operation](SiteFolder(site.root))
    except DiskError as error:
        told = error.what
    except WardposeError as error:
        told, row["lost"] = str(error), row["lost"] + 1
    except OSError as error:
        told, row["lost"] = f"no one line: {error!r}", row["lost"] + 1
    _mount("-o", "remount,rw", str(disk))
    (disk / "filler").unlink(missing_ok=True)
    site = SiteFolder.open(site.root)
    cut_off.settle(site)
    faults = holds(site)
    row["lost"] += bool(faults)
    row["notes"].append(f"{operation}: {told}{f'; LOST: {faults}' if faults else ''}")


def _fill(disk: Path, leave: int = 0) -> None:
    with (disk / "filler").open("wb", buffering=0) as stream:
        for piece in (_MIB, 4096, 512):
            with contextlib.suppress(OSError):
                while stream.write(bytes(piece)) == piece:
                    pass
        if leave:
            stream.truncate(max(0, stream.tell() - leave))


def _try_mount(disk: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "wardpose", str(disk)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
