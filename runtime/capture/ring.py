"""The shared-memory frame ring: how frames cross from the capture process to everybody else.

One writer, any number of readers, the latest frame wins. The ring is a file in memory (tmpfs, mode 0600), read and
written by `pread`/`pwrite` rather than mapped: a full or a truncated `/dev/shm` is then an error code and not a SIGBUS,
and at 3.4 MB a frame both cost one copy. Nothing of it reaches a disk; it is unlinked when the writer closes.

Frame *n* lies in slot `n % slot_count`. A sequence lock and checksums see to it that a torn or half-written frame is
never handed out: not when the writer laps the reader, and not when it is killed half-way. A writer that starts always
makes a new file and puts it in the old one's place; readers see the inode change and follow.
"""

from __future__ import annotations

from runtime.capture.ring_layout import BEAT_S, HUNG_S, CaptureState, DamagedRing, RingStatus, ring_path
from runtime.capture.ring_reader import RingReader
from runtime.capture.ring_writer import RingWriter, blank_ring

__all__ = [
    "BEAT_S", "HUNG_S", "CaptureState", "DamagedRing", "RingReader", "RingStatus", "RingWriter", "blank_ring",
    "ring_path",
]  # fmt: skip
