"""How the frame ring lies in memory, byte by byte; `ring.py` says how it is used.

Little-endian. A header page: the geometry at 0, the writer's state at `STATE_AT`, the number of the latest frame at
`LATEST_AT`, the path of the site's pause at `PAUSE_AT`; then `slot_count` slots. Each slot begins with a header (a
sequence lock that is odd while the writer is at work, and checksums), the frame's description and its planes follow at
`SLOT_BODY_AT`.
"""

from __future__ import annotations

import os
import re
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.capture.source import StaleFrame

MAGIC = b"WARDRING"
VERSION = 3
SLOT_COUNT = 4
SLOT_BYTES = 48 << 20  # the largest Kinect frame (4096×3072 colour, depth, infrared); untouched pages cost nothing
SHARED_MEMORY = Path("/dev/shm")

# The writer gives a sign of life at least every BEAT_S; one that is silent for HUNG_S is dead, stopped or hangs.
BEAT_S = 0.2
HUNG_S = 0.7

HEADER = struct.Struct("<8sIIIQQI")  # magic, version, pid, slot_count, slot_bytes, epoch, crc of what stands before
STATE_AT, STATE_BYTES = 1024, 1024
STATE = struct.Struct("<II")  # length, crc of the JSON that follows
LATEST_AT = 2048
LATEST = struct.Struct("<QI")  # number of the latest frame (0: none yet), crc of it
PAUSE_AT, PAUSE_BYTES = 2560, 1536  # as the state: length, crc, and the path that follows; length 0 where none holds
SLOTS_AT = 4096
# lock, number, captured_ns, bytes and crc of the description, bytes and sum of the payload, crc of what stands before
SLOT = struct.Struct("<QQQIIQQI")
SLOT_BODY_AT = 64
LOCK = struct.Struct("<Q")

CaptureState = Literal["starting", "streaming", "stalled", "retrying", "paused", "stopped", "absent"]


class DamagedRing(StaleFrame):
    """The ring holds something that isn't a ring, or one of another version."""


@dataclass(frozen=True, slots=True)
class RingStatus:
    """What the writer says of itself. `heartbeat_s` is `time.monotonic()` of its last sign of life.

    States: starting (opening the source), streaming, stalled (open, but no frame comes), retrying (failed; will be
    opened again), paused (the camera is closed and the ring holds no picture), stopped (closed in good order), absent
    (no ring: nobody writes). origin: what the pictures are of, see `runtime.frames.Origin`.
    """

    state: CaptureState
    message: str = ""
    source: str = ""
    frames: int = 0
    restarts: int = 0
    frames_per_s: float = 0.0
    heartbeat_s: float = float("-inf")
    pid: int = 0
    origin: str = "unknown"

    @property
    def heartbeat_age_s(self) -> float:
        return time.monotonic() - self.heartbeat_s


def ring_path(name: str) -> Path:
    """Where the ring of that name lies in memory."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise WardposeError(
            f"{name!r} can't name a frame ring", mend="use letters, digits, dots and dashes, at most 64 of them"
        )
    return SHARED_MEMORY / f"wardpose-{name}"


def erase(fd: int) -> None:
    """Overwrite whatever the slots of a ring hold, header and pixels, with noughts. Safe beside its writer and readers:
    a frame that is only half there fails its checksum."""
    nothing = memoryview(bytes(1 << 20))
    at, end = SLOTS_AT, os.fstat(fd).st_size
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
            until = os.lseek(fd, at, os.SEEK_HOLE)
        except OSError:  # no data behind `at`
            return
        while at < until:
            at += os.pwrite(fd, nothing[: min(len(nothing), until - at)], at)


def same_file(fd: int, path: Path) -> bool:
    """Whether `path` still names the file that `fd` has open."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def payload_sum(payload: NDArray[np.uint8]) -> int:
    """Sum of the payload's 64-bit words: ten times cheaper than a CRC, and it catches any mixture of two frames."""
    whole = len(payload) & ~7
    words = int(np.add.reduce(payload[:whole].view("<u8"), dtype=np.uint64)) if whole else 0
    tail = int.from_bytes(payload[whole:].tobytes(), "little")
    return (words + tail) & 0xFFFF_FFFF_FFFF_FFFF


def sealed(layout: struct.Struct, *values: int | bytes) -> bytes:
    """Packs `values` with a CRC of themselves as the last field."""
    body = layout.pack(*values, 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def unseal(layout: struct.Struct, data: bytes) -> tuple[int, ...] | None:
    if len(data) != layout.size or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    return cast("tuple[int, ...]", layout.unpack(data)[:-1])
