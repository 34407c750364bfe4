"""Small file systems of their own for tests, which can be full, without inodes, read-only or broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.faults import disks
from appliance.faults.disks import MIB
from appliance.faults.disks import SmallDisk as Disk

SIZE = 56 * MIB
INODES = 400

__all__ = ["Disk", "mounted"]


@contextlib.contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Disk]:
    """A `tmpfs`, or an `ext4` in a file; skips the test where this machine may not mount one."""
    with disks.mounted(kind, folder, size=SIZE, inodes=INODES) as disk:
        if disk is None:
            pytest.skip(f"this user or this machine may not mount a file system ({kind})")
        yield disk
