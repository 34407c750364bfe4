"""The reading end of the frame ring; see `ring.py`."""

from __future__ import annotations

import os
import stat
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self, cast, get_args

import numpy as np

from calibration.json_text import parse_json
from runtime.capture.frame_codec import decode_frame
from runtime.capture.ring_layout import (
    HEADER,
    HUNG_S,
    LATEST,
    LATEST_AT,
    MAGIC,
    PAUSE_AT,
    PAUSE_BYTES,
    SLOT,
    SLOT_BODY_AT,
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
    same_file,
    unseal,
)
from runtime.capture.source import StaleFrame
from runtime.frames import Frame
from runtime.pause import PauseSwitch
from runtime.state import STALE_S

_ATTEMPTS = 20  # a torn read needs the writer to lap the reader: twice in a row means something else is wrong


class RingReader:
    """One reader of a ring; it may start before the writer and outlives any number of them.

    Belongs to one thread. `read_latest` and `status` never block; `read_next` blocks for at most its `timeout_s`. While
    the ring's site is paused both raise `Paused`, whatever the writer does: the ring says where the pause stands.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ring_path(name)
        self._fd = -1
        self._slot_count = self._slot_bytes = 0
        self._pid = 0
        self._pause: PauseSwitch | None = None
        self._seen = 0
        self.writers_seen = 0
        """How many writers this reader has met: it grows when the capture process was restarted."""

    def read_latest(self, max_age_ms: float = STALE_S * 1e3) -> Frame:
        """The newest frame, its `timestamp_s` in this machine's monotonic time whatever the source's clock.

        Raises `StaleFrame` where there is none, or the newest is older than `max_age_ms`; `Paused` while that holds.
        """
        self._attach()
        self._require_unpaused()
        number, captured_ns, frame = self._newest()
        age_ms = (time.monotonic_ns() - captured_ns) / 1e6
        if age_ms > max_age_ms:
            raise StaleFrame(
                f"the newest frame is {_duration(age_ms)} old, at most {_duration(max_age_ms)} is allowed",
                where=f"ring {self.name}",
                mend=self._advice(),
            )
        self._require_unpaused()  # the pause may have come since the frame was read
        self._seen = number
        return frame.at(captured_ns / 1e9)

    def read_next(self, timeout_s: float = 1.0, max_age_ms: float = STALE_S * 1e3) -> Frame:
        """The newest frame that this reader hasn't had yet, waiting for it for at most `timeout_s`.

        Raises `StaleFrame` where none came, `Paused` while that holds.
        """
        until = time.monotonic() + timeout_s
        while True:
            stale: StaleFrame | None = None
            try:
                self._attach()
                self._require_unpaused()
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
                    status = RingStatus(**parse_json(body))
                    if status.state in get_args(CaptureState):
                        return status
        return RingStatus("absent", "the frame ring's state is damaged")

    def trouble(self) -> str:
        """Why the newest frame can't be trusted to be what the camera sees now; "" where nothing speaks against it.

        It tells at once what a frame's age tells only later: that the camera fell silent, failed or is being opened
        again, and that the capture process is dead, stopped or hangs (within `HUNG_S`).
        """
        status = self.status()
        if status.state == "absent":
            return status.message
        if status.heartbeat_age_s > HUNG_S:
            age = _duration(status.heartbeat_age_s * 1e3)
            return f"the capture process (pid {status.pid}) is dead or hangs: no sign of life for {age}"
        if status.state in ("streaming", "starting"):
            return ""
        if status.state == "paused":
            return status.message
        return f"capture is {status.state}" + (f": {status.message}" if status.message else "")

    def _advice(self) -> str:
        return self.trouble() or f"capture is {self.status().state}"

    def _attach(self) -> None:
        """Open the ring, or the new one where a new writer has replaced it."""
        if self._fd >= 0:
            if same_file(self._fd, self.path):
                return
            self.close()
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise StaleFrame(
                "no capture process runs", where=f"ring {self.name}", mend="start the capture process"
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
            pause = self._pause_of(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._seen, self._pause = fd, 0, pause
        self.writers_seen += 1

    def _require_unpaused(self) -> None:
        if self._pause is not None:
            self._pause.require_off()

    def _pause_of(self, fd: int) -> PauseSwitch | None:
        """The pause of the site that the ring belongs to; None for a ring of no site."""
        data = os.pread(fd, PAUSE_BYTES, PAUSE_AT)
        length, crc = STATE.unpack_from(data) if len(data) >= STATE.size else (-1, 0)
        path = data[STATE.size : STATE.size + length]
        if len(path) != length or zlib.crc32(path) != crc:
            raise self._damaged("where its pause stands is damaged")
        return PauseSwitch(Path(os.fsdecode(path))) if path else None

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
        lock, found, captured_ns, description_bytes, description_crc, payload_bytes, total = header
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
        if os.pread(self._fd, SLOT.size, start) != before:
            return None
        if payload_sum(payload) != total or zlib.crc32(description) != description_crc:
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
