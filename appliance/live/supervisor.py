"""Keeps the live path's processes running where there is no systemd: capture, runtime and display.

Each process tells how it is through systemd's own protocol (`NOTIFY_SOCKET`, `READY=1`, `WATCHDOG=1`, `STATUS=…`), so
the same programs run under both. A process that ends is started again for ever, at once, and after failures that
follow each other after a pause that doubles up to half a minute; one that stays silent too long is killed and started
again. What it had to wait for the processor meanwhile is no silence: on a box that is busy a slow process is not a
hung one. None outlives the supervisor, not even one that is killed with -9.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance.site.folder import REPOSITORY, SiteFolder, open_log
from calibration.errors import WardposeError
from calibration.processes import busiest_s, busy_ns, die_with_parent, signal_group
from calibration.redaction import redacted

FIRST_PAUSE_SECONDS = 0.2
QUICK_RESTARTS = 3  # so often in a row, none of them steady; from then on each pause is twice the last
LONGEST_PAUSE_SECONDS = 30.0
# A process that ends after so long is started again at once: what worked for a while is no vain start, and whoever
# watches the bed would wait for nothing.
STEADY_SECONDS = 20.0
START_SECONDS = 120.0  # of a start that says nothing, however busy it is
FIRST_WORD_SECONDS = 10.0  # until a start's first word, besides working and waiting for the processor
SILENCE_SECONDS = 2.0  # between two WATCHDOG=1, besides waiting for the processor
LONGEST_SILENCE_SECONDS = 10.0  # with it
NOTICED_SILENCE_SECONDS = 0.5  # from which on the waiting is counted
TROUBLE_SECONDS = 1.0  # until what failed in looking after a process is tried again
MERCY_SECONDS = 5.0  # between SIGTERM and SIGKILL
HUNG_MERCY_SECONDS = 0.3  # of a process that has been silent for so long already


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running. notifies: it speaks the notify protocol, so silence means that it hangs. again: its
    command when it is started once more; None: the same."""

    name: str
    command: tuple[str, ...]
    notifies: bool = True
    again: Callable[[], tuple[str, ...]] | None = None


@dataclass(slots=True)
class ProcessState:
    """What is known of one process. state: `starting`, `running`, `waiting` (to be started again) or `stopped`."""

    name: str
    state: str = "stopped"
    pid: int | None = None
    restarts: int = 0
    up_s: float = 0.0
    status: str = ""
    last_end: str = ""


@dataclass(slots=True)
class _Watched:
    spec: ProcessSpec
    notify: socket.socket
    notify_path: Path
    state: ProcessState
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    heard_at: float = 0.0
    ready: bool = False
    patience: float = FIRST_WORD_SECONDS  # how long its silence is none
    start_again_at: float = 0.0
    failures: int = 0  # in a row
    busy_ns: dict[int, int] | None = None  # of each thread, when the silence was noticed
    trouble_until: float = 0.0
    log: Path = field(default_factory=Path)


class Supervisor:
    """Runs some processes until `stop`. A thread of its own starts them and watches them."""

    def __init__(
        self, site: SiteFolder, specs: Sequence[ProcessSpec], *,
        start_seconds: float = START_SECONDS, silence_seconds: float = SILENCE_SECONDS,
        on_restart: Callable[[str, str], None] = lambda name, why: None,
    ) -> None:  # fmt: skip
        """on_restart: told the name of a process that has ended or was killed, and why, on this supervisor's thread."""
        self._on_restart = on_restart
        self.site, self.start_seconds, self.silence_seconds = site, start_seconds, silence_seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._watched = [self._watch(spec) for spec in specs]
        # The kernel ends the children with the thread that started them, so one thread does it all its life.
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every process, the last one first, and wait until all are gone."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def states(self) -> list[ProcessState]:
        """How each process is, in the order of the specs."""
        with self._lock:
            for watched in self._watched:
                watched.state.up_s = time.monotonic() - watched.started_at if watched.child is not None else 0.0
            return [ProcessState(**asdict(watched.state)) for watched in self._watched]

    def _watch(self, spec: ProcessSpec) -> _Watched:
        path = self.site.sockets / f"notify-{spec.name}.sock"
        path.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        notify.bind(str(path))
        path.chmod(0o600)
        watched = _Watched(spec, notify, path, ProcessState(spec.name), log=self.site.logs / f"{spec.name}.log")
        self._selector.register(notify, selectors.EVENT_READ, watched)
        return watched

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for watched in self._watched:
                    self._whatever_happens(watched, self._look_after)
                for key, _ in self._selector.select(timeout=0.1):
                    self._whatever_happens(key.data, self._listen)
        finally:
            for watched in reversed(self._watched):
                self._end(watched, "stopped")
                with self._lock:
                    watched.state.state = "stopped"
                watched.notify.close()
                watched.notify_path.unlink(missing_ok=True)
            self._selector.close()

    def _whatever_happens(self, watched: _Watched, deed: Callable[[_Watched], None]) -> None:
        """A defect in looking after one process is shown with it and tried again; nothing ends this thread."""
        if time.monotonic() < watched.trouble_until:
            return
        try:
            deed(watched)
        except Exception as error:
            told = redacted(f"can't be looked after: {type(error).__name__}: {error}")[:300]
            sys.stderr.write(f"{watched.spec.name}: {told}\n")
            watched.trouble_until = time.monotonic() + TROUBLE_SECONDS
            with self._lock:
                watched.state.last_end = told
                if watched.child is None:
                    watched.state.state = "waiting"

    def _look_after(self, watched: _Watched) -> None:
        now = time.monotonic()
        if watched.child is None:
            if now >= watched.start_again_at:
                self._start(watched)
            return
        code = watched.child.poll()
        if code is not None:
            self._plan_restart(watched, f"ended with code {code}" if code >= 0 else f"killed by signal {-code}")
            return
        if watched.spec.notifies and self._is_hung(watched):
            why = "hung" if watched.ready else "did not get ready"
            silence = time.monotonic() - watched.heard_at
            self._end(watched, why, HUNG_MERCY_SECONDS)
            self._plan_restart(watched, f"{why}: silent for {silence:.0f} s")

    def _is_hung(self, watched: _Watched) -> bool:
        """Whether it is silent for longer than it may be, less what it waited for the processor. One that starts may
        also be too busy to speak: what compiles is not hung. But neither is so for ever."""
        longest = LONGEST_SILENCE_SECONDS if watched.ready else self.start_seconds
        if time.monotonic() - watched.heard_at < NOTICED_SILENCE_SECONDS:
            watched.busy_ns = None
            return False
        self._listen(watched)  # this thread may have been the one that slept
        silence = time.monotonic() - watched.heard_at
        if silence < NOTICED_SILENCE_SECONDS or watched.child is None:
            return False
        now = busy_ns(watched.child.pid, running=not watched.ready)
        if watched.busy_ns is None:
            watched.busy_ns = now
        return silence > longest or silence - busiest_s(watched.busy_ns, now) > watched.patience

    def _start(self, watched: _Watched) -> None:
        environment = dict(os.environ, NOTIFY_SOCKET=str(watched.notify_path), PYTHONUNBUFFERED="1")
        environment["WATCHDOG_USEC"] = str(int(self.silence_seconds * 1e6))
        environment.pop("WATCHDOG_PID", None)
        _keep_short(watched.log)
        try:
            with open_log(watched.log) as log:
                child = subprocess.Popen(
                    _command(watched), cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, start_new_session=True, preexec_fn=die_with_parent(signal.SIGKILL),
                )  # fmt: skip
        except (OSError, ValueError, subprocess.SubprocessError) as error:  # ValueError: a nought within a word
            self._plan_restart(watched, f"can't be started: {getattr(error, 'strerror', None) or error}")
            return
        with self._lock:
            watched.child, watched.ready = child, not watched.spec.notifies
            watched.started_at = watched.heard_at = time.monotonic()
            watched.busy_ns = None
            watched.patience = min(FIRST_WORD_SECONDS, self.start_seconds)
            watched.state.pid, watched.state.status = child.pid, ""
            watched.state.state = "running" if watched.ready else "starting"

    def _listen(self, watched: _Watched) -> None:
        while True:
            try:
                message = watched.notify.recv(65536).decode(errors="replace")
            except BlockingIOError:
                return
            with self._lock:
                for line in message.split("\n"):
                    key, _, value = line.partition("=")
                    if key in ("READY", "WATCHDOG", "EXTEND_TIMEOUT_USEC"):
                        watched.heard_at = time.monotonic()
                    if key == "READY":
                        watched.ready, watched.patience = True, self.silence_seconds
                        watched.state.state = "running"
                    elif key == "EXTEND_TIMEOUT_USEC" and not watched.ready and value.isdecimal():
                        watched.patience = max(self.silence_seconds, min(int(value) / 1e6, self.start_seconds))
                    elif key == "STATUS":
                        watched.state.status = value[:300]

    def _plan_restart(self, watched: _Watched, why: str) -> None:
        if watched.child is not None:
            signal_group(watched.child.pid, signal.SIGKILL)  # what it may have left in its session
        steady = watched.started_at and time.monotonic() - watched.started_at > STEADY_SECONDS
        watched.failures = 1 if steady else watched.failures + 1
        pause = pause_after(watched.failures)
        last_words = _last_line(watched.log)
        with self._lock:
            watched.child, watched.start_again_at = None, time.monotonic() + pause
            watched.state.state, watched.state.pid = "waiting", None
            watched.state.restarts += 1
            watched.state.last_end = f"{why}{f' ({last_words})' if last_words else ''}"
        try:
            self._on_restart(watched.spec.name, watched.state.last_end)
        except Exception as error:  # such as a full disk: what was to be noted is lost, the process must not be
            sys.stderr.write(f"{watched.spec.name}: a restart could not be noted: {error}\n")

    def _end(self, watched: _Watched, why: str, mercy_seconds: float = MERCY_SECONDS) -> None:
        child = watched.child
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
            child.send_signal(signal.SIGCONT)  # a stopped process does not see SIGTERM
        try:
            child.wait(mercy_seconds)
        except subprocess.TimeoutExpired:
            pass
        signal_group(child.pid, signal.SIGKILL)
        child.wait()
        with self._lock:
            watched.child, watched.state.pid, watched.state.last_end = None, None, why

    def to_dict(self) -> list[dict[str, Any]]:
        """`states` for JSON."""
        return [asdict(state) for state in self.states()]


def pause_after(failures: int) -> float:
    """How long (s) a process waits to be started again that has failed so often in a row."""
    doubled = min(max(0, failures - QUICK_RESTARTS), 16)
    return min(FIRST_PAUSE_SECONDS * 2.0**doubled, LONGEST_PAUSE_SECONDS)


def _command(watched: _Watched) -> tuple[str, ...]:
    spec = watched.spec
    if spec.again is None or not watched.state.restarts:
        return spec.command
    try:
        return spec.again()
    except WardposeError as error:  # such as a model that was removed: what ran before runs again
        sys.stderr.write(f"{spec.name}: {error}\n")
        return spec.command


def _keep_short(log: Path, most: int = 5_000_000) -> None:
    """One old log of each process is kept."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > most:
            os.replace(log, log.with_suffix(".log.1"))


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4000))
            lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return redacted(lines[-1].strip())[:200] if lines else ""
