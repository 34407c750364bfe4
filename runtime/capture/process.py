"""The capture process: reads one source and writes its frames into a ring, whatever happens to the camera.

    python -m runtime.capture.process --source simulated --ring live

A camera that can't be opened, fails or falls silent is closed and opened again for ever, with pauses that double up to
ten seconds. The ring's state says what goes on; nothing but the ring and one line a change of state (standard error)
leaves this process. The thread that reads the camera gives the ring a sign of life at least every `BEAT_S`, so that a
driver that hangs shows within a second. While the site is paused the camera is closed and the ring holds no pixel of
it; a thread of its own blanks the ring, so that a driver that does not let go keeps no picture either.

It speaks systemd's notify protocol: READY once the first attempt to open has ended either way (a box must start without
its camera), then WATCHDOG with every sign of life. Opening may take two minutes where work is being done; a driver that
for four seconds neither comes back nor works hangs, and the signs of life end, so that whoever started this process
starts it again.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps
from calibration.process_list import hide_secrets_in_arguments
from calibration.processes import busiest_s, busy_ns
from calibration.redaction import redacted
from runtime.capture.ring import BEAT_S, CaptureState, RingWriter
from runtime.capture.secrets import use_file
from runtime.capture.source import CaptureSource, EndOfStream, StaleFrame, check_spec, make_source, origin_of
from runtime.capture.stream_clock import LATE_S
from runtime.notify import beating, notify, starting
from runtime.pause import Paused, PauseSwitch

_log = logging.getLogger("capture")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
STALLED_S = 0.6  # a live camera silent for so long is said to be stalled
SILENCE_S = 5.0  # and after so long it is closed and opened again
OPEN_PATIENCE_S = 120.0  # the simulated ward furnishes itself first
CLOSE_PATIENCE_S = 10.0
IDLE_S = 4.0  # what a driver may wait for its camera in between, where its source asks for no more
_AT_WORK = 0.1  # of a processor, from which on a driver that is waited for works
STEADY_S = 30.0  # after streaming for so long, a failure is a new one and the first pause is short again
_READ_S = BEAT_S / 2
_REPEAT_PAUSE_S = 0.2  # how long the last frame of a recording stands before the first one comes again


def waits_of(source: CaptureSource) -> float:
    """How long (s) its driver may wait for the camera without doing anything, before it hangs."""
    return float(getattr(source, "waits_s", IDLE_S))


class CaptureProcess:
    """Keeps one source flowing into one ring until `stop`. Runs in the thread that calls `run`."""

    def __init__(self, spec: str, ring: str, pause: PauseSwitch | None = None, *, repeat: bool = True) -> None:
        """pause: the site's. `repeat`: begin again where a recording or folder ends. Raises `WardposeError` where the
        spec is wrong or the ring is another writer's."""
        self.spec, self.repeat, self._switch = redacted(spec), repeat, pause
        self._full_spec = spec
        check_spec(spec)  # a wrong spec is the caller's mistake: no retry will mend it
        self._writer = RingWriter(ring, pause)
        self._stop = threading.Event()
        self._restarts = 0
        self._ready = False
        self._told = ""
        self._tell("starting", f"opening {self.spec}")

    def stop(self) -> None:
        """Ask `run` to return; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Capture until stopped, or until the end where `repeat` is off."""
        pause_s = FIRST_PAUSE_S
        if self._switch is not None:
            threading.Thread(target=self._keep_blank, args=(self._switch,), name="pause", daemon=True).start()
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    if self._stream():
                        return
                    pause_s = FIRST_PAUSE_S
                    self._wait(_REPEAT_PAUSE_S)
                    continue
                except Paused:
                    self._rest()
                    pause_s = FIRST_PAUSE_S
                    continue
                except Exception as error:  # a driver may raise anything: whatever it is, the camera is tried again
                    self._restarts += 1
                    self._fail(error)
                if time.monotonic() - started > STEADY_S:
                    pause_s = FIRST_PAUSE_S
                self._wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            notify("STOPPING=1")
            self._writer.close()

    def _stream(self) -> bool:
        """Open the source and pass its frames on; True where capture is over for good, False to begin again at once."""
        self._require_unpaused()
        if self._state != "streaming":  # a recording that begins again was streaming and still is
            self._writer.heartbeat(self._state)
        source = make_source(self._full_spec)
        try:
            with self._beating_for(OPEN_PATIENCE_S, waits_of(source)):
                source.open()
        except BaseException:
            self._make_ready()
            raise
        try:
            return self._pass_on(source)
        except Paused as error:
            self._writer.blank()
            self._tell("paused", f"{error.what}; the camera is being closed")
            raise
        except Exception as error:
            self._fail(error)  # before the driver is closed, which may take its time
            raise
        finally:
            with self._beating_for(CLOSE_PATIENCE_S, waits_of(source)):
                source.close()

    def _require_unpaused(self) -> None:
        if self._switch is not None:
            self._switch.require_off()

    def _rest(self) -> None:
        """Wait, with the camera closed and the ring blank, until the pause is lifted."""
        assert self._switch is not None
        self._writer.blank()
        self._make_ready()
        while not self._stop.is_set() and (held := self._switch.state()) is not None:
            self._tell("paused", f"{held.words()}; the camera is closed")
            self._stop.wait(BEAT_S / 2)

    def _keep_blank(self, switch: PauseSwitch) -> None:
        """Blank the ring when a pause begins, whatever the thread that reads the camera is held up with."""
        was = False
        while not self._stop.wait(BEAT_S / 2):
            now = switch.active
            if now and not was:
                self._writer.blank()
            was = now

    def _fail(self, error: Exception) -> None:
        """Tell what went wrong with the camera, in one line."""
        known = isinstance(error, WardposeError)
        self._tell("retrying", str(error) if known else f"{self.spec}: {type(error).__name__}: {redacted(str(error))}")

    def _beating_for(self, patience_s: float, idle_s: float) -> contextlib.AbstractContextManager[None]:
        """Signs of life from a thread while this one waits for a driver. They end when patience does, or when the
        driver has done nothing for `idle_s`, so that one that never returns is noticed. The ring's writer is this
        thread's again afterwards."""
        work, until = _Work(), time.monotonic() + patience_s

        def beat() -> bool:
            if time.monotonic() >= until or work.idle_s() >= idle_s:
                return False
            self._beat()
            return True

        return beating(beat, BEAT_S / 2)

    def _pass_on(self, source: CaptureSource) -> bool:
        last_frame_s = time.monotonic()
        rate = _Rate()
        delivered = False
        origin = origin_of(source)
        while not self._stop.is_set():
            self._require_unpaused()
            try:
                frame = source.read(timeout_s=_READ_S)
            except EndOfStream:
                if not delivered:
                    raise WardposeError("it holds no frame", where=source.name, mend="choose another file") from None
                if not self.repeat:
                    self._tell("stopped", f"{source.name} is at its end")
                return not self.repeat
            except StaleFrame as error:
                silent_s = time.monotonic() - last_frame_s
                if source.live and silent_s > SILENCE_S:
                    raise WardposeError(
                        f"no frame for {silent_s:.0f} s", where=source.name, mend="it will be opened again"
                    ) from None
                if source.live and silent_s > STALLED_S:  # a slow slide show is not a stalled camera
                    self._tell("stalled", f"no frame from {source.name}" + (f"; {error.mend}" if error.mend else ""))
                else:
                    self._beat()
                continue
            self._writer.write(replace(frame, origin=origin), live=source.live)
            last_frame_s = time.monotonic()
            delivered = True
            counted = rate.count()
            if source.live and last_frame_s - frame.timestamp_s > LATE_S:
                self._tell("stalled", f"{source.name} gives old pictures, more than {LATE_S:g} s behind")
            elif counted or self._state != "streaming":
                self._tell("streaming", "", frames_per_s=rate.per_s, origin=origin)
        return True

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(left, BEAT_S / 2)):
            self._beat()

    def _tell(self, state: CaptureState, message: str, *, frames_per_s: float = 0.0, origin: str | None = None) -> None:
        """Put the state into the ring, and on standard error where it is news."""
        self._state: CaptureState = state
        self._writer.heartbeat(
            state,
            message,
            source=self.spec,
            origin=origin,
            restarts=self._restarts,
            frames_per_s=round(frames_per_s, 2),
        )
        line = f"{state}: {message}" if message else f"{state} {self.spec}"
        if line != self._told:
            self._told = line
            _log.log(logging.WARNING if state in {"retrying", "stalled"} else logging.INFO, "%s", line)
            notify(f"STATUS={line}")
        if state == "streaming":
            self._make_ready()
        self._beat()

    def _make_ready(self) -> None:
        if not self._ready:
            self._ready = True
            notify("READY=1")

    def _beat(self) -> None:
        self._writer.heartbeat()
        if self._ready:
            notify("WATCHDOG=1")
        else:
            starting()


class _Work:
    """Whether this process has something to do, or waits for a processor to do it."""

    def __init__(self) -> None:
        self._since_s = self._worked_s = time.monotonic()
        self._before = busy_ns(os.getpid())

    def idle_s(self) -> float:
        """For how long it has had nothing to do; 0 where the kernel does not count."""
        now_s = time.monotonic()
        if now_s - self._since_s >= 0.5:
            now = busy_ns(os.getpid())
            if not now or busiest_s(self._before, now) > _AT_WORK * (now_s - self._since_s):
                self._worked_s = now_s
            self._since_s, self._before = now_s, now
        return now_s - self._worked_s


class _Rate:
    """Frames a second over the last half second or more."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._since_s, self._frames = time.monotonic(), 0

    def count(self) -> bool:
        """Count a frame; True where `per_s` is new."""
        self._frames += 1
        elapsed = time.monotonic() - self._since_s
        if elapsed < 0.5:
            return False
        self.per_s = self._frames / elapsed
        self._since_s, self._frames = time.monotonic(), 0
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 stopped in good order, 2 a mistake in the arguments."""
    hide_secrets_in_arguments()
    parser = argparse.ArgumentParser(prog="python -m runtime.capture.process", description="capture frames into a ring")
    parser.add_argument("--source", required=True, metavar="SPEC", help="kind or kind:argument, e.g. simulated")
    parser.add_argument("--secrets", type=Path, metavar="FILE", help="where a password that the spec hides is kept")
    parser.add_argument("--ring", required=True, metavar="NAME", help="name of the frame ring to write")
    parser.add_argument("--pause-file", type=Path, metavar="PATH", help="the site's pause: no frame while it stands")
    parser.add_argument(
        "--at-end", choices=("repeat", "stop"), default="repeat", help="what to do where a recording ends"
    )
    options = parser.parse_args(arguments)
    if options.secrets is not None:
        use_file(options.secrets)
    keep_out_of_dumps()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    try:
        pause = None if options.pause_file is None else PauseSwitch(options.pause_file)
        process = CaptureProcess(options.source, options.ring, pause, repeat=options.at_end == "repeat")
    except WardposeError as error:
        _log.error("%s", error)
        return error.exit_code

    def on_signal(number: int, frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        process.run()
    except WardposeError as error:  # the ring itself can't be kept up: whoever started this starts it again
        _log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
