"""Small file systems of their own, which fill up, run out of inodes, turn read-only, break or lose their power.

Everything is done by the real thing: files that fill it, mount, and what ext4 itself offers for its own tests: an error
after which it is read-only as after a failed write to the medium (`trigger_fs_error`), and a shutdown after which every
call is an I/O error, as with a disk that was pulled out (`EXT4_IOC_SHUTDOWN`). Without its journal written, that is a
power cut: what is there when it is mounted again is what had been made lasting. Only root may mount.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20
KINDS = ("tmpfs", "ext4")
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_WITHOUT_JOURNAL = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH


class SmallDisk:
    """A mounted file system. Make it with `mounted`."""

    def __init__(self, folder: Path, image: Path | None = None) -> None:
        self.folder, self.image = folder, image
        self._fillers = folder / "fillers"

    def fill(self, leave: int = 0) -> None:
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
        """Delete what filled it."""
        if self._fillers.is_dir():
            for path in self._fillers.iterdir():
                path.unlink()
            self._sync()

    def read_only(self) -> None:
        """Refused while a file is open for writing, so tried until it isn't."""
        for _ in range(500):
            if _run("mount", "-o", "remount,ro", str(self.folder)):
                return
            time.sleep(0.01)
        raise TimeoutError("something always writes there")

    def writable(self) -> None:
        _require("mount", "-o", "remount,rw", str(self.folder))

    def fail_to_read_only(self) -> None:
        """Of an ext4: an error is found, and it takes no more writes, whatever is open. Ends with `mount_again`."""
        device = os.stat(self.folder).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")

    def break_down(self) -> None:
        """Of an ext4: every further call fails with an I/O error, and what was not made lasting is lost, as in a power
        cut. Ends with `mount_again`."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_JOURNAL))
        finally:
            os.close(descriptor)

    def mount_again(self) -> None:
        """Of an ext4: as a box does that starts."""
        assert self.image is not None
        self._unmount()
        _run("fsck.ext4", "-p", str(self.image))  # 1: it mended something
        _require("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.folder))

    def _unmount(self) -> None:
        for _ in range(200):
            if _run("umount", str(self.folder)):
                return
            time.sleep(0.01)
        _run("umount", "--lazy", str(self.folder))

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
def mounted(kind: str, folder: Path, *, size: int, inodes: int) -> Iterator[SmallDisk | None]:
    """A `tmpfs`, or an `ext4` in a file beside `folder`; None where this user or this machine may not mount one."""
    folder.mkdir(exist_ok=True)
    image = None
    if os.geteuid() != 0:
        done = False
    elif kind == "tmpfs":
        done = _run("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes},mode=0700", "wardpose", str(folder))
    else:
        # One of its own each time: an earlier one may still be let go of.
        descriptor, name = tempfile.mkstemp(prefix=f"{folder.name}-", suffix=".img", dir=folder.parent)
        os.truncate(descriptor, size + 8 * MIB)
        os.close(descriptor)
        image = Path(name)
        made = _run("mkfs.ext4", "-q", "-m", "0", "-N", str(inodes), str(image))
        done = made and _run("mount", "-o", "loop,errors=remount-ro", str(image), str(folder))
    try:
        yield SmallDisk(folder, image) if done else None
    finally:
        if done:
            _run("umount", "--lazy", str(folder))
        if image is not None:
            image.unlink(missing_ok=True)


def _require(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
