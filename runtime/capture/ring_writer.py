"""The writing end of the frame ring; see `ring.py`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import threading
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from calibration.errors import WardposeError
from runtime.capture.frame_codec import encode_frame
from runtime.capture.ring_layout import (
    HEADER,
    LATEST,
    LATEST_AT,
    LOCK,
    MAGIC,
    PAUSE_AT,
    PAUSE_BYTES,
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
    RingStatus,
    erase,
    payload_sum,
    ring_path,
    same_file,
    sealed,
)
from runtime.frames import Frame
from runtime.pause import PauseSwitch


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
    """The one writer of a ring. Frames come from one thread; `blank` may come from another. Nothing waits for a reader.

    While the site is paused it takes no frame. Its readers learn from the ring itself where the pause stands, so none
    can forget to ask.
    """

    def __init__(
        self, name: str, pause: PauseSwitch | None = None, *, slot_count: int = SLOT_COUNT, slot_bytes: int = SLOT_BYTES
    ) -> None:
        """Take over the ring `name`, whatever an earlier writer left. pause: the site's; None for a ring of no site.

        Raises `WardposeError` where another writer is alive or shared memory can't be used.
        """
        if slot_count < 2:
            raise ValueError(f"a ring needs at least 2 slots, got {slot_count}")
        self.path = ring_path(name)
        self._pause = pause
        self._pause_path = b"" if pause is None else os.fsencode(pause.path.absolute())
        if len(self._pause_path) > PAUSE_BYTES - STATE.size:
            raise WardposeError(
                "its path is too long", where=str(pause and pause.path), mend="use a shorter site folder"
            )
        self._alone = threading.RLock()
        self._slot_count, self._slot_bytes = slot_count, slot_bytes
        self._number = self._latest = 0
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
            self._header = sealed(HEADER, MAGIC, VERSION, os.getpid(), self._slot_count, self._slot_bytes, epoch)
            _write_all(fd, [memoryview(self._header)], 0)
            path = self._pause_path
            os.pwrite(fd, STATE.pack(len(path), zlib.crc32(path)) + path, PAUSE_AT)
            self._latest = 0  # the new file holds no frame yet
            self._publish_latest()
            self._publish_state()
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
                if same_file(old, self.path):
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
        Raises `Paused` while the site is paused, `WardposeError` where the frame is larger than a slot or shared memory
        is full.
        """
        with self._alone:
            if self._pause is not None:
                self._pause.require_off()
            return self._write(frame, live=live)

    def blank(self) -> None:
        """Overwrite every picture in the ring; the next frame written goes on with the numbers. From any thread."""
        with self._alone:
            if self._fd < 0:
                return
            self._latest = 0
            self._publish_latest()
            erase(self._fd)

    def _write(self, frame: Frame, *, live: bool) -> int:
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
        header = sealed(
            SLOT,
            2 * number,
            number,
            max(captured_ns, 0),
            len(description),
            zlib.crc32(description),
            payload_bytes,
            total,
        )
        try:
            os.pwrite(self._fd, LOCK.pack(2 * number - 1), start)
            _write_all(self._fd, [memoryview(description), *blobs], start + SLOT_BODY_AT)
            os.pwrite(self._fd, header, start)
        except OSError as error:
            raise self._no_memory(error) from error
        self._number = self._latest = number
        self._publish_latest()
        self.heartbeat()
        return number

    def _publish_latest(self) -> None:
        os.pwrite(self._fd, sealed(LATEST, self._latest), LATEST_AT)

    def heartbeat(
        self,
        state: CaptureState | None = None,
        message: str | None = None,
        *,
        source: str | None = None,
        origin: str | None = None,
        restarts: int | None = None,
        frames_per_s: float | None = None,
    ) -> None:
        """A sign of life, due every `BEAT_S`; what isn't given stays as it was.

        A ring that somebody has removed, replaced or overwritten meanwhile is made anew: readers follow.
        """
        changes = {
            "state": state, "message": None if message is None else message[:300],
            "source": None if source is None else source[:200], "origin": origin, "restarts": restarts,
            "frames_per_s": frames_per_s,
        }  # fmt: skip
        with self._alone:
            self._beat(changes)

    def _beat(self, changes: dict[str, Any]) -> None:
        self._status = replace(
            self._status,
            frames=self._number,
            heartbeat_s=time.monotonic(),
            **{name: value for name, value in changes.items() if value is not None},
        )
        if not self._intact():
            os.close(self._fd)
            try:
                self._fd = self._create()
            except OSError as error:
                self._fd = -1
                raise self._no_memory(error) from error
        self._publish_state()

    def _intact(self) -> bool:
        return same_file(self._fd, self.path) and os.pread(self._fd, HEADER.size, 0) == self._header

    def _publish_state(self) -> None:
        body = self._state_bytes()
        if len(body) > STATE_BYTES - STATE.size:  # letters may take four bytes each
            self._status = replace(self._status, message=self._status.message[:60], source=self._status.source[:60])
            body = self._state_bytes()
        os.pwrite(self._fd, STATE.pack(len(body), zlib.crc32(body)) + body, STATE_AT)

    def _state_bytes(self) -> bytes:
        return json.dumps(asdict(self._status), ensure_ascii=False).encode("utf-8", "replace")

    def close(self) -> None:
        """Say "stopped" to the readers that hold the ring and unlink it. Does nothing if closed already."""
        with self._alone:
            self._close()

    def _close(self) -> None:
        if self._fd < 0:
            return
        self._status = replace(self._status, state="stopped", heartbeat_s=time.monotonic())
        self._publish_state()
        if same_file(self._fd, self.path):
            self.path.unlink()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def blank_ring(name: str) -> None:
    """Overwrite every picture in the ring `name`, whether its writer is alive, hangs or was killed; none is no error.

    For whoever pauses a site: the writer does it as well, but need not be able to.
    """
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(ring_path(name), os.O_RDWR | os.O_NOFOLLOW)
        try:
            erase(fd)
        finally:
            os.close(fd)
