"""The shared-memory frame ring: how frames cross from the capture process to everybody else.

One writer, any number of readers, the latest frame wins. The ring is a file in memory (tmpfs, mode 0600), read and
written by `pread`/`pwrite` rather than mapped: a full or a truncated `/dev/shm` is then an error code and not a SIGBUS,
and at 3.4 MB a frame both cost one copy. Nothing of it reaches a disk; it is unlinked when the writer closes.

Frame *n* lies in slot `n % slot_count`. A sequence lock and checksums see to it that a torn or half-written frame is
never handed out: not when the writer laps the reader, and not when it is killed half-way. A writer that starts always
makes a new file and puts it in the old one's place; readers see the inode change and follow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast, get_args

import numpy as np

from calibration.errors import WardposeError
from runtime.capture.frame_codec import decode_frame, encode_frame
from runtime.capture.ring_layout import (
    HEADER,
    LATEST,
    LATEST_AT,
    LOCK,
    MAGIC,
    SLOT,
    SLOT_BODY_AT,
    SLOT_BYTES,
    SLOT_COUNT,
    SLOTS_AT,
    STATE,
    STATE_AT,
    STATE_BYTES,
    VERSION,
    CaptureState,
    DamagedRing,
    RingStatus,
    payload_sum,
    ring_path,
    sealed,
    unseal,
)
from runtime.capture.source import StaleFrame
from runtime.frames import Frame

__all__ = ["CaptureState", "DamagedRing", "RingReader", "RingStatus", "RingWriter", "ring_path"]

_ATTEMPTS = 20  # a torn read needs the writer to lap the reader: twice in a row means something else is wrong


def _write_all(fd: int, blobs: list[memoryview], offset: int) -> None:
    blobs = [blob for blob in blobs if blob.nbytes]
    while blobs:
        written = os.pwritev(fd, blobs, offset)
        offset += written
        while blobs and written >= blobs[0].nbytes:
            written -= blobs.pop(0).nbytes
        if blobs and written:
            blobs[0] = blobs[0][written:]


class RingWriter:
    """The one writer of a ring. Belongs to one thread; nothing it does waits for a reader."""

    def __init__(self, name: str, *, slot_count: int = SLOT_COUNT, slot_bytes: int = SLOT_BYTES) -> None:
        """Take over the ring `name`, whatever an earlier writer left.

        Raises `WardposeError` where another writer is alive or shared memory can't be used.
        """
        if slot_count < 2:
            raise ValueError(f"a ring needs at least 2 slots, got {slot_count}")
        self.path = ring_path(name)
        self._slot_count, self._slot_bytes = slot_count, slot_bytes
        self._number = 0
        self._status = RingStatus("starting", pid=os.getpid())
        try:
            self._fd = self._create()
        except OSError as error:
            raise self._no_memory(error) from error

    def _create(self) -> int:
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fd = fd
            epoch = secrets.randbits(64)
            header = sealed(HEADER, MAGIC, VERSION, os.getpid(), self._slot_count, self._slot_bytes, epoch)
            _write_all(fd, [memoryview(header)], 0)
            self._publish_latest()
            self.heartbeat()
            self._take_place(temporary)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        return fd

    def _take_place(self, temporary: Path) -> None:
        """Put the new file in the old one's place unless the old one's writer is alive (it then holds its lock)."""
        while True:
            try:
                os.link(temporary, self.path)  # fails where a file is there, so two starting writers can't both win
                temporary.unlink()
                return
            except FileExistsError:
                pass
            try:
                old = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(old, self.path):
                    os.rename(temporary, self.path)
                    return
            except BlockingIOError:
                raise WardposeError(
                    "another capture process already writes this frame ring",
                    where=self.path.name,
                    mend="stop it first, or choose another --ring name",
                ) from None
            finally:
                os.close(old)

    def _no_memory(self, error: OSError) -> WardposeError:
        return WardposeError(
            f"shared memory can't hold the frame ring ({error.strerror})",
            where=str(self.path),
            mend="enlarge /dev/shm (mount -o remount,size=256m /dev/shm); this user must be able to write to it",
        )

    def write(self, frame: Frame, *, live: bool = True) -> int:
        """Publish a frame; returns its number, counted from 1.

        `live`: the frame's timestamp is monotonic time and its age counts from there; otherwise from now.
        Raises `WardposeError` where the frame is larger than a slot or shared memory is full.
        """
        captured_ns = round(frame.timestamp_s * 1e9) if live else time.monotonic_ns()
        description, blobs = encode_frame(frame)
        payload_bytes = sum(blob.nbytes for blob in blobs)
        if SLOT_BODY_AT + len(description) + payload_bytes > self._slot_bytes:
            raise WardposeError(
                f"a frame of {payload_bytes:,} bytes is larger than a slot of the ring ({self._slot_bytes:,})",
                where=frame.source,
                mend="choose a smaller resolution",
            )
        number = self._number + 1
        start = SLOTS_AT + (number % self._slot_count) * self._slot_bytes
        total = 0
        for blob in blobs:
            # Word sums add up only where each blob begins on a word; every other length is summed as a whole.
            if blob.nbytes % 8 and blob is not blobs[-1]:
                total = payload_sum(np.frombuffer(b"".join(blobs), dtype=np.uint8))
                break
            total = (total + payload_sum(np.frombuffer(blob, dtype=np.uint8))) & 0xFFFF_FFFF_FFFF_FFFF
        header = sealed(SLOT, 2 * number, number, max(captured_ns, 0), len(description), payload_bytes, total)
        try:
            os.pwrite(self._fd, LOCK.pack(2 * number - 1), start)
            _write_all(self._fd, [memoryview(description), *blobs], start + SLOT_BODY_AT)
            os.pwrite(self._fd, header, start)
        except OSError as error:
            raise self._no_memory(error) from error
        self._number = number
        self._publish_latest()
        return number

    def _publish_latest(self) -> None:
        os.pwrite(self._fd, sealed(LATEST, self._number), LATEST_AT)

    def heartbeat(
        self,
        state: CaptureState | None = None,
        message: str | None = None,
        *,
        source: str | None = None,
        restarts: int | None = None,
        frames_per_s: float | None = None,
    ) -> None:
        """A sign of life; what isn't given stays as it was."""
        changes = {
            "state": state, "message": None if message is None else message[:300],
            "source": None if source is None else source[:200], "restarts": restarts, "frames_per_s": frames_per_s,
        }  # fmt: skip
        self._status = replace(
            self._status,
            frames=self._number,
            heartbeat_s=time.monotonic(),
            **{name: value for name, value in changes.items() if value is not None},  # type: ignore[arg-type]
        )
        body = self._state_bytes()
        if len(body) > STATE_BYTES - STATE.size:  # letters may take four bytes each
            self._status = replace(self._status, message=self._status.message[:60], source=self._status.source[:60])
            body = self._state_bytes()
        os.pwrite(self._fd, STATE.pack(len(body), zlib.crc32(body)) + body, STATE_AT)

    def _state_bytes(self) -> bytes:
        return json.dumps(asdict(self._status), ensure_ascii=False).encode("utf-8", "replace")

    def close(self) -> None:
        """Say "stopped" to the readers that hold the ring and unlink it. Does nothing if closed already."""
        if self._fd < 0:
            return
        self.heartbeat("stopped")
        if _same_file(self._fd, self.path):
            self.path.unlink()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


class RingReader:
    """One reader of a ring; it may start before the writer and outlives any number of them.

    Belongs to one thread. `read_latest` and `status` never block; `read_next` blocks for at most its `timeout_s`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ring_path(name)
        self._fd = -1
        self._slot_count = self._slot_bytes = 0
        self._pid = 0
        self._seen = 0
        self.writers_seen = 0
        """How many writers this reader has met: it grows when the capture process was restarted."""

    def read_latest(self, max_age_ms: float = 500.0) -> Frame:
        """The newest frame, its `timestamp_s` in this machine's monotonic time whatever the source's clock.

        Raises `StaleFrame` where there is none, or the newest is older than `max_age_ms`.
        """
        self._attach()
        number, captured_ns, frame = self._newest()
        age_ms = (time.monotonic_ns() - captured_ns) / 1e6
        if age_ms > max_age_ms:
            raise StaleFrame(
                f"the newest frame is {_duration(age_ms)} old, at most {_duration(max_age_ms)} is allowed",
                where=f"ring {self.name}",
                mend=self._advice(),
            )
        self._seen = number
        return replace(frame, timestamp_s=captured_ns / 1e9)

    def read_next(self, timeout_s: float = 1.0, max_age_ms: float = 500.0) -> Frame:
        """The newest frame that this reader hasn't had yet, waiting for it for at most `timeout_s`.

        Raises `StaleFrame` where none came.
        """
        until = time.monotonic() + timeout_s
        while True:
            stale: StaleFrame | None = None
            try:
                self._attach()
                if self._latest_number() > self._seen:
                    return self.read_latest(max_age_ms)
            except StaleFrame as error:
                stale = error
            left = until - time.monotonic()
            if left <= 0:
                raise stale or StaleFrame(
                    f"no new frame within {_duration(timeout_s * 1e3)}", where=f"ring {self.name}", mend=self._advice()
                )
            time.sleep(min(left, 0.002))  # a frame lasts 33 ms: this adds 1 ms on average and no load to speak of

    def status(self) -> RingStatus:
        """What the writer last said of itself; state "absent" where there is no ring."""
        try:
            self._attach()
        except StaleFrame as error:
            return RingStatus("absent", error.what)
        for _ in range(_ATTEMPTS):
            data = os.pread(self._fd, STATE_BYTES, STATE_AT)
            if len(data) >= STATE.size:
                length, crc = STATE.unpack_from(data)
                body = data[STATE.size : STATE.size + length]
                if zlib.crc32(body) == crc and len(body) == length > 0:
                    status = RingStatus(**json.loads(body))
                    if status.state in get_args(CaptureState):
                        return status
        return RingStatus("absent", "the frame ring's state is damaged")

    def _advice(self) -> str:
        status = self.status()
        if status.state == "absent":
            return "start the capture process"
        if status.heartbeat_age_s > 10.0:
            return f"the capture process (pid {status.pid}) is dead or hangs: restart it"
        return f"capture is {status.state}" + (f": {status.message}" if status.message else "")

    def _attach(self) -> None:
        """Open the ring, or the new one where a new writer has replaced it."""
        if self._fd >= 0:
            if _same_file(self._fd, self.path):
                return
            self.close()
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise StaleFrame(
                "no capture process writes this ring", where=f"ring {self.name}", mend="start the capture process"
            ) from None
        except OSError as error:
            raise DamagedRing(
                f"the ring can't be opened ({error.strerror})",
                where=str(self.path),
                mend="run as the same user as the capture process",
            ) from None
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode) or (facts.st_uid != os.geteuid() and os.geteuid() != 0):
                raise self._damaged("it belongs to another user")
            header = unseal(HEADER, os.pread(fd, HEADER.size, 0))
            if header is None or cast("bytes", header[0]) != MAGIC:
                raise self._damaged("its header is damaged")
            _, version, self._pid, self._slot_count, self._slot_bytes, _ = header
            if version != VERSION:
                raise self._damaged(f"it has version {version}, this program reads version {VERSION}")
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._seen = fd, 0
        self.writers_seen += 1

    def _damaged(self, why: str) -> DamagedRing:
        what = f"the frame ring is unusable: {why}"
        return DamagedRing(what, where=str(self.path), mend="restart the capture process")

    def _latest_number(self) -> int:
        for _ in range(_ATTEMPTS):
            latest = unseal(LATEST, os.pread(self._fd, LATEST.size, LATEST_AT))
            if latest is not None:
                return latest[0]
        raise self._damaged("its frame counter is damaged")

    def _newest(self) -> tuple[int, int, Frame]:
        for _ in range(_ATTEMPTS):
            number = self._latest_number()
            if number == 0:
                raise StaleFrame("no frame yet", where=f"ring {self.name}", mend=self._advice())
            found = self._read_slot(number)
            if found is not None:
                return number, *found
        raise self._damaged("its frames fail their checksum")

    def _read_slot(self, number: int) -> tuple[int, Frame] | None:
        """The captured time (ns) and frame of that number; None where the writer came between."""
        start = SLOTS_AT + (number % self._slot_count) * self._slot_bytes
        before = os.pread(self._fd, SLOT.size, start)
        header = unseal(SLOT, before)
        if header is None:
            return None
        lock, found, captured_ns, description_bytes, payload_bytes, total = header
        if lock != 2 * number or found != number:
            return None
        if SLOT_BODY_AT + description_bytes + payload_bytes > self._slot_bytes:
            return None
        description = bytearray(description_bytes)
        payload = np.empty(payload_bytes, dtype=np.uint8)
        parts = [memoryview(description), memoryview(payload.data)]
        if os.preadv(self._fd, [part for part in parts if part.nbytes], start + SLOT_BODY_AT) != (
            description_bytes + payload_bytes
        ):
            return None
        if os.pread(self._fd, SLOT.size, start) != before or payload_sum(payload) != total:
            return None
        try:
            return captured_ns, decode_frame(bytes(description), payload)
        except ValueError:
            return None

    def close(self) -> None:
        """Let go of the ring. Reading again attaches again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
