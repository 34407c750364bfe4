"""The supervisor starts again what ends or hangs, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.live import supervisor as supervisor_module
from appliance.live.supervisor import LONGEST_PAUSE_SECONDS, QUICK_RESTARTS, ProcessSpec, Supervisor, pause_after
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity

# A program that speaks the notify protocol as the live processes do.
TALKER = """
import os, socket, sys, time
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
notify.send(b"READY=1\\nSTATUS=well")
while True:
    notify.send(b"WATCHDOG=1")
    time.sleep(0.05)
"""

# Gets ready and says nothing more.
SILENT = TALKER.replace('notify.send(b"WATCHDOG=1")', "pass")


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def program(name: str, code: str, *, notifies: bool = True) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), notifies)


def test_a_process_is_running_once_it_says_so_and_gone_after_stop(site: SiteFolder) -> None:
    supervisor = Supervisor(site, [program("talker", TALKER)])
    supervisor.start()
    wait_for(lambda: supervisor.states()[0].state == "running")
    state = supervisor.states()[0]
    assert state.status == "well" and state.pid is not None
    identity = process_identity(state.pid)
    supervisor.stop()
    assert not is_running(identity)
    assert supervisor.states()[0].state == "stopped"
    assert not list(site.sockets.iterdir())


def test_a_killed_process_is_started_again(site: SiteFolder) -> None:
    supervisor = Supervisor(site, [program("talker", TALKER)])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].state == "running")
        first = supervisor.states()[0].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: supervisor.states()[0].state == "running" and supervisor.states()[0].pid != first)
        assert supervisor.states()[0].restarts == 1
        assert "signal 9" in supervisor.states()[0].last_end
    finally:
        supervisor.stop()


def test_a_process_that_asks_for_time_to_start_gets_it(site: SiteFolder) -> None:
    asking = 'for _ in range(12):\n    notify.send(b"EXTEND_TIMEOUT_USEC=1000000")\n    time.sleep(0.1)\n'
    slow = TALKER.replace('notify.send(b"READY=1', asking + 'notify.send(b"READY=1')
    supervisor = Supervisor(site, [program("slow", slow)], start_seconds=0.8)
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].state == "running")
        assert supervisor.states()[0].restarts == 0
    finally:
        supervisor.stop()


def test_a_hung_process_is_killed_and_started_again(site: SiteFolder) -> None:
    supervisor = Supervisor(site, [program("talker", TALKER)], silence_seconds=0.7)
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].state == "running")
        first = supervisor.states()[0].pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: supervisor.states()[0].pid not in (first, None))
        assert "hung" in supervisor.states()[0].last_end
    finally:
        supervisor.stop()


def test_a_process_that_never_gets_ready_is_not_waited_for_for_ever(site: SiteFolder) -> None:
    supervisor = Supervisor(site, [program("mute", "import time; time.sleep(60)")], start_seconds=0.3)
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].restarts >= 1)
        assert "did not get ready" in supervisor.states()[0].last_end
    finally:
        supervisor.stop()


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "waiting for ever"])
def test_a_process_that_hangs_while_it_starts_is_not_given_the_whole_time_of_a_start(
    site: SiteFolder, frozen: bool
) -> None:
    """It said that its next word would come within a second. `start_seconds` are two minutes."""
    code = TALKER.replace('notify.send(b"READY=1', 'notify.send(b"EXTEND_TIMEOUT_USEC=1000000")\ntime.sleep(600)\n#')
    supervisor = Supervisor(site, [program("opening", code)], silence_seconds=0.7)
    supervisor.start()
    try:
        wait_for(lambda: supervisor._watched[0].patience == 1.0)
        first = supervisor.states()[0].pid
        assert first is not None
        if frozen:
            os.kill(first, signal.SIGSTOP)
        wait_for(lambda: supervisor.states()[0].pid not in (first, None))
        assert "did not get ready: silent for" in supervisor.states()[0].last_end
    finally:
        supervisor.stop()


def test_a_start_that_computes_and_cannot_speak_meanwhile_is_not_hung(site: SiteFolder) -> None:
    busy = 'notify.send(b"EXTEND_TIMEOUT_USEC=700000")\nwhile time.process_time() < 3.0:\n    pass\n'
    supervisor = Supervisor(
        site, [program("compiling", TALKER.replace('notify.send(b"READY=1', busy + 'notify.send(b"READY=1'))],
        silence_seconds=0.7,
    )  # fmt: skip
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].state == "running", 60)
        assert supervisor.states()[0].restarts == 0
    finally:
        supervisor.stop()


def test_a_command_that_no_system_can_start_is_told_and_the_others_are_looked_after(site: SiteFolder) -> None:
    supervisor = Supervisor(site, [program("broken", "a\0b"), program("talker", TALKER)])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].restarts >= 2 and supervisor.states()[1].state == "running")
        assert supervisor.states()[0].state == "waiting" and "null byte" in supervisor.states()[0].last_end
    finally:
        supervisor.stop()


def test_a_restart_that_cannot_be_noted_is_no_reason_to_stop_looking(
    site: SiteFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    def note(name: str, why: str) -> None:
        raise WardposeError("no space left on the disk")

    supervisor = Supervisor(site, [program("failing", "import sys; sys.exit(1)")], on_restart=note)
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].restarts >= 2)
        assert "no space left" in capsys.readouterr().err
    finally:
        supervisor.stop()


def test_a_process_that_fails_tells_its_last_words_and_is_tried_more_and_more_seldom(site: SiteFolder) -> None:
    supervisor = Supervisor(site, [program("failing", "import sys; sys.exit('no camera')")])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].restarts >= 2)
        assert "ended with code 1 (no camera)" in supervisor.states()[0].last_end
    finally:
        supervisor.stop()
    pauses = [pause_after(failures) for failures in range(1, 40)]
    assert len(set(pauses[:QUICK_RESTARTS])) == 1 and pauses == sorted(pauses) and pauses[-1] == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(("steady_s", "sooner"), [(0.0, True), (60.0, False)])
def test_what_had_worked_for_a_while_is_started_again_at_once_however_often_it_ended(
    site: SiteFolder, monkeypatch: pytest.MonkeyPatch, steady_s: float, sooner: bool
) -> None:
    monkeypatch.setattr(supervisor_module, "STEADY_SECONDS", steady_s)
    monkeypatch.setattr(supervisor_module, "pause_after", lambda failures: 0.01 if failures <= 3 else 600.0)
    supervisor = Supervisor(site, [program("brief", "pass", notifies=False)])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[0].restarts >= 3)
        until = time.monotonic() + 2.0
        while time.monotonic() < until and supervisor.states()[0].restarts < 6:
            time.sleep(0.02)
        assert (supervisor.states()[0].restarts >= 6) == sooner
    finally:
        supervisor.stop()


def test_whatever_goes_wrong_in_looking_after_a_process_is_shown_and_tried_again(
    site: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = threading.Event()
    fails.set()
    start = Supervisor._start

    def breaks(supervisor: Supervisor, watched: Any) -> None:
        if fails.is_set() and watched.spec.name == "first":
            raise ZeroDivisionError("nobody thought of it")
        start(supervisor, watched)

    monkeypatch.setattr(Supervisor, "_start", breaks)
    supervisor = Supervisor(site, [program("first", TALKER), program("second", TALKER)])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.states()[1].state == "running" and supervisor.states()[0].last_end)
        assert "ZeroDivisionError: nobody thought of it" in supervisor.states()[0].last_end
        fails.clear()
        wait_for(lambda: supervisor.states()[0].state == "running")
    finally:
        supervisor.stop()


def test_a_process_that_waits_for_the_processor_is_not_taken_for_a_hung_one(
    site: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads could run and were not let: the kernel counts that. One that sleeps has no such excuse."""
    waited = iter(range(0, 10**18, 10**10))
    monkeypatch.setattr(supervisor_module, "busy_ns", lambda pid, *, running: {pid: next(waited)})
    monkeypatch.setattr(supervisor_module, "LONGEST_SILENCE_SECONDS", 3.0)
    starved = Supervisor(site, [program("slow", SILENT)], silence_seconds=0.6)
    starved.start()
    try:
        wait_for(lambda: starved.states()[0].state == "running")
        wait_for(lambda: starved._watched[0].busy_ns is not None)
        assert starved.states()[0].restarts == 0
        wait_for(lambda: starved.states()[0].restarts == 1)  # in the end it is
        assert int(starved.states()[0].last_end.split("silent for ")[1].split()[0]) >= 3
    finally:
        starved.stop()


def test_no_process_outlives_a_killed_supervisor(site: SiteFolder, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom appliance.site.folder import SiteFolder\n"
        "from appliance.live.supervisor import ProcessSpec, Supervisor\n"
        "s = Supervisor(SiteFolder.open(sys.argv[1]), [ProcessSpec('talker', (sys.executable, '-c', sys.argv[2]))])\n"
        "s.start()\n"
        "while s.states()[0].state != 'running':\n    time.sleep(0.02)\n"
        "print(s.states()[0].pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(site.root), TALKER], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    identity = process_identity(int(parent.stdout.readline()))
    assert is_running(identity)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not is_running(identity))
