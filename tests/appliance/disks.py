"""Small file systems of their own for tests, which can be full, without inodes, or read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20
SIZE = 56 * MIB
INODES = 400


class Disk:
    """A mounted file system. Everything is done by the real thing: files that fill it, and mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fillers = folder / "fillers"

    def fill(self, *, leave: int = 0) -> None:
        """Write until no byte fits, then give back `leave`."""
        self._fillers.mkdir(exist_ok=True)
        big, left = self._fillers / "big", self._fillers / "left"
        with contextlib.suppress(OSError):
            left.write_bytes(bytes(leave))
        self._until_full(big)
        left.unlink()
        if leave == 0:
            self._until_full(self._fillers / "rest")
        self._sync()

    def take_inodes(self) -> None:
        """Make empty files until no further one can be made."""
        self._fillers.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            for number in range(100_000):
                (self._fillers / f"{number:06d}").touch()

    def give_back(self) -> None:
        for path in self._fillers.iterdir():
            path.unlink()
        self._sync()

    def read_only(self) -> None:
        """Refused while a file is open for writing, so tried until it isn't."""
        for _ in range(500):
            if _try("mount", "-o", "remount,ro", str(self.folder)):
                return
            time.sleep(0.01)
        raise TimeoutError("something always writes there")

    def writable(self) -> None:
        _mount("-o", "remount,rw", str(self.folder))

    def _until_full(self, path: Path) -> None:
        with path.open("ab", buffering=0) as stream:
            for piece in (MIB, 4096, 512):
                with contextlib.suppress(OSError):
                    while stream.write(bytes(piece)) == piece:
                        pass
            with contextlib.suppress(OSError):
                os.fsync(stream.fileno())

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Disk]:
    """A `tmpfs`, or an `ext4` in a file; skips the test where this machine may not mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder.mkdir()
    if kind == "tmpfs":
        done = _try("mount", "-t", "tmpfs", "-o", f"size={SIZE},nr_inodes={INODES},mode=0700", "wardpose", str(folder))
    else:
        image = folder.with_suffix(".img")
        with image.open("wb") as stream:
            stream.truncate(SIZE + 8 * MIB)
        done = _try("mkfs.ext4", "-q", "-m", "0", "-N", str(INODES), str(image))
        done = done and _try("mount", "-o", "loop", str(image), str(folder))
    if not done:
        pytest.skip(f"this machine may not mount a file system ({kind})")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _try(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
