"""One live path a site: seen whoever started it, never two, paused and stopped from anywhere; outages are kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from appliance.client import ServiceClient
from appliance.live import outages, ownership, running
from appliance.live.plan import LivePlan, process_command
from appliance.live.status import live_words, look_once
from appliance.site import audit
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.people import current_user
from appliance.site.settings import set_value
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity

CGROUPS = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup")
PLAN = {"source": "simulated", "detector": "person-detector", "pose": None, "display": False}


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture
def client(site: SiteFolder) -> Iterator[ServiceClient]:
    client = ServiceClient.connect(site)
    identity = process_identity(client.status()["pid"])
    yield client
    client.stop_service()
    wait_for(lambda: not is_running(identity))
    client.close()


@pytest.fixture
def photographs(site: SiteFolder, tmp_path: Path) -> str:
    """The site's camera: pictures that come at once, so that nothing is waited for."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((96, 128, 3), 90 + number, np.uint8)).save(folder / f"{number}.png")
    source = f"video:{folder}#loop=true&photos_per_s=10"
    set_value(site, "camera", "source", source)
    return source


@pytest.fixture
def terminal_run(fetched: Path, site: SiteFolder, photographs: str) -> Iterator[subprocess.Popen[bytes]]:
    """`wardpose run` in somebody's terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "run", "--headless", "--home", str(site.root)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)


def command(site: SiteFolder, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", *words, "--home", str(site.root)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_off_is_said_where_no_process_exists(site: SiteFolder) -> None:
    assert live_words(look_once(site)) == ("OFF: no live picture, nothing runs", "off")
    assert running.stop(site) == ""


def test_what_runs_in_a_terminal_is_seen_shown_paused_and_stopped_by_the_service(
    site: SiteFolder, terminal_run: subprocess.Popen[bytes], photographs: str, client: ServiceClient
) -> None:
    live = wait_for(lambda: (live := client.status()["live"])["state"] == "live" and live)
    me = current_user()
    assert (live["owner"]["kind"], live["owner"]["who"], live["owner"]["pid"]) == ("foreground", me, terminal_run.pid)
    assert live["plan"]["source"] == photographs and not client.status()["own"]
    assert {process["name"] for process in client.status()["processes"]} == {"capture", "live"}

    # A second one is refused by whoever is asked, with the name of the first; both go on unharmed.
    first = {process["name"]: process["pid"] for process in client.status()["processes"]}
    refusal = (
        f"the live path already runs: {me} runs it in a terminal.*process {terminal_run.pid}, since .*wardpose stop"
    )
    with pytest.raises(WardposeError, match=refusal):
        client.start_live(reason="a test")
    second = command(site, "run", "--headless")
    assert second.returncode == 2 and f"process {terminal_run.pid}, since" in second.stderr
    only = command(site, "run", "--only", "capture")
    assert only.returncode == 2 and "already runs" in only.stderr
    assert {process["name"]: process["pid"] for process in client.status()["processes"]} == first

    told = wait_for(lambda: "RECORDING, NOT LIVE NOW" in (told := command(site, "status").stdout) and told)
    assert f"{me} runs it in a terminal" in told

    client.pause("visit")
    wait_for(lambda: client.status()["camera"]["state"] == "paused")
    assert live_words(client.status())[0].startswith(f"PAUSED by {me} since")
    client.resume("over")
    wait_for(lambda: client.status()["live"]["state"] == "live")

    assert client.stop_live("a test")["stopped"]
    assert terminal_run.wait(60) == 0
    assert live_words(client.status())[0] == "OFF: no live picture, nothing runs"
    deeds = [row.what for row in reversed(audit.rows(site)) if row.what.startswith("live.")]
    assert deeds[0] == "live.start" and {"live.pause", "live.resume", "live.stop"} <= set(deeds)


@pytest.fixture
def units(
    fetched: Path, site: SiteFolder, photographs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The live path as systemd keeps it: each unit's own command in a control group of the unit's name.

    `systemctl stop` is a stand-in that ends what is in the group.
    """
    slice_ = CGROUPS / f"test-{os.getpid()}.slice"
    groups = {unit: slice_ / f"wardpose-{unit}.service" for unit in ("capture", "runtime")}
    try:
        for group in groups.values():
            group.mkdir(parents=True)
    except OSError:
        pytest.skip("control groups can't be made here (needs root)")
    (tmp_path / "systemctl").write_text(
        f"#!/bin/sh\ncd {slice_}\n"
        'for unit in "$@"; do test -d "$unit" || continue; kill $(cat "$unit/cgroup.procs")\n'
        'while test -n "$(cat "$unit/cgroup.procs")"; do sleep 0.1; done; done\nexit 0\n'
    )
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("WARDPOSE_HOME", str(site.root))
    started = {}
    for unit, group in groups.items():
        line = re.search(r"^ExecStart=\S+python (.*)$", (REPOSITORY / f"systemd/{group.name}").read_text(), re.M)
        assert line is not None
        enter = f"echo $$ > {group}/cgroup.procs; exec {sys.executable} {line[1]}"
        started[unit] = subprocess.Popen(["sh", "-c", enter], cwd=REPOSITORY)
    yield started
    for process in started.values():
        process.kill()
        process.wait()
    for group in groups.values():
        wait_for(lambda group=group: not (group / "cgroup.procs").read_text(), 10)  # type: ignore[misc]
        group.rmdir()
    slice_.rmdir()


def test_what_units_run_is_seen_shown_paused_and_stopped_by_the_service(
    site: SiteFolder, units: dict[str, subprocess.Popen[bytes]], photographs: str, client: ServiceClient
) -> None:
    wait_for(lambda: client.status()["live"]["state"] == "live")
    status = client.status()
    owner = status["live"]["owner"]
    assert (owner["kind"], owner["who"], status["own"]) == ("systemd", "systemd", False)
    assert owner["words"].startswith("systemd runs it (wardpose-capture, wardpose-runtime), since ")
    assert {one["name"]: one["pid"] for one in owner["processes"]} == {
        "capture": units["capture"].pid,
        "live": units["runtime"].pid,
    }
    assert status["live"]["plan"]["source"] == photographs and status["live"]["plan"]["detector"]
    wait_for(lambda: "RECORDING, NOT LIVE NOW" in live_words(client.status())[0])
    assert "systemd runs it" in command(site, "status").stdout

    with pytest.raises(WardposeError, match="already runs: systemd runs it"):
        client.start_live(reason="a test")
    assert command(site, "run", "--headless").returncode == 2

    client.pause("visit")
    wait_for(lambda: client.status()["camera"]["state"] == "paused")
    client.resume("over")
    wait_for(lambda: client.status()["live"]["state"] == "live")

    stopped = client.stop_live("a test")
    assert stopped["stopped"] and stopped["whose"] == owner["words"]
    assert all(process.wait(20) is not None for process in units.values())
    assert live_words(client.status())[0] == "OFF: no live picture, nothing runs"


def test_restarts_and_outages_are_counted_with_their_causes(
    site: SiteFolder, terminal_run: subprocess.Popen[bytes]
) -> None:
    wait_for(lambda: look_once(site)["live"]["state"] == "live")

    def lost_while_each_hangs() -> bool:
        """One that hangs is killed within seconds, so soon that nobody may have missed a picture: the next one too."""
        for process in running.look(site).processes:
            if process.name == "capture" and look_once(site)["live"]["state"] == "live":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGSTOP)
        return any(event.what == "lost" for event in outages.events(site))

    wait_for(lost_while_each_hangs)
    wait_for(lambda: any(event.what == "back" for event in outages.events(site)))
    told = outages.tally(site)
    assert told["restarts"] >= 1 and told["outages"] >= 1 and told["seconds"] > 2
    restart = [event for event in outages.events(site) if event.what == "restart"][-1]
    assert restart.process == "capture" and "hung: silent for" in restart.why
    status = json.loads(command(site, "status", "--json").stdout)["outages"]
    assert any("capture started again: hung" in event["words"] for event in status["recent"])
    assert "in 24 h" in command(site, "status").stdout


def test_the_service_goes_on_after_a_kill_although_the_earlier_ones_processes_are_only_just_ending(
    fetched: Path, site: SiteFolder, photographs: str
) -> None:
    with ServiceClient.connect(site) as first:
        first.start_live(reason="a test", display=False)
        identity = process_identity(first.status()["pid"])
        os.kill(first.status()["pid"], signal.SIGKILL)
        wait_for(lambda: not is_running(identity))
    with ServiceClient.connect(site) as second:
        wait_for(lambda: second.status()["live"]["state"] == "live")
        assert second.status()["own"]
        second.stop_service()


def test_a_process_that_somebody_started_by_hand_is_seen_and_can_be_stopped(site: SiteFolder, photographs: str) -> None:
    started = subprocess.Popen(process_command(site, "capture", LivePlan(photographs, "", None)), cwd=REPOSITORY)
    try:
        wait_for(lambda: look_once(site)["camera"]["state"] == "streaming")
        status = look_once(site)
        assert status["live"]["runs"] and status["live"]["owner"]["kind"] == "by hand"
        assert not live_words(status)[0].startswith("OFF")
        with pytest.raises(WardposeError, match=f"already runs: .* started capture .process {started.pid}. by hand"):
            running.begin(site, "service", PLAN)
        ended = command(site, "stop", "--json")
        assert json.loads(ended.stdout)["stopped"]
        assert started.wait(20) == 0
    finally:
        started.kill()
        started.wait()


@pytest.mark.parametrize("home", ["option", "variable"])
def test_a_watch_that_runs_by_itself_is_seen(site: SiteFolder, tmp_path: Path, home: str) -> None:
    (tmp_path / "appliance.py").write_text("import time; time.sleep(60)")  # only its command line counts here
    words, variables = ["run", "--only", "drift"], dict(os.environ, PYTHONPATH=str(tmp_path))
    words += ["--home", str(site.root)] if home == "option" else []
    variables |= {"WARDPOSE_HOME": str(site.root)} if home == "variable" else {}
    started = subprocess.Popen([sys.executable, "-m", "appliance", *words], cwd=tmp_path, env=variables)
    try:
        wait_for(lambda: [process.name for process in running.look(site).processes] == ["drift"], 20)
        assert running.look(SiteFolder.open(tmp_path / "another")).processes == ()
    finally:
        started.kill()
        started.wait()


def test_a_page_alone_is_told_of_and_is_no_live_path(site: SiteFolder) -> None:
    set_value(site, "display", "port", 18765 + os.getpid() % 1000)
    page = subprocess.Popen(process_command(site, "display", LivePlan("simulated", "", None)), cwd=REPOSITORY)
    try:
        status = wait_for(lambda: (status := look_once(site))["live"]["runs"] and status)
        words, mark = live_words(status)
        assert words.startswith("OFF: no live picture; ") and f"display (process {page.pid})" in words and mark == "off"
        running.begin(site, "service", PLAN).release()
    finally:
        page.kill()
        page.wait()


def test_one_lock_a_site_that_ends_with_its_holder(site: SiteFolder) -> None:
    lock = ownership.LiveLock.take(site, "service", PLAN)
    held = ownership.owner(site)
    assert held is not None and held.pid == os.getpid() and held.plan == PLAN
    with pytest.raises(WardposeError, match="already runs"):
        ownership.LiveLock.take(site, "foreground", PLAN)
    lock.release()
    assert ownership.owner(site) is None
    script = (
        "import os, sys\nfrom appliance.live.ownership import LiveLock\nfrom appliance.site.folder import SiteFolder\n"
        "LiveLock.take(SiteFolder.open(sys.argv[1]), 'foreground', {})\nos.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(site.root)], cwd=REPOSITORY, check=False)
    assert ownership.owner(site) is None


def test_processes_that_systemd_keeps_running_share_the_lock_and_keep_others_out(site: SiteFolder) -> None:
    script = (
        "import sys, time\nfrom appliance.live import ownership\nfrom appliance.site.folder import SiteFolder\n"
        "ownership.share(SiteFolder.open(sys.argv[1]))\nprint('held', flush=True)\nimport os\n"
        "os.execv(sys.executable, [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'])\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(site.root)], cwd=REPOSITORY, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert (process.stdout.readline(), process.stdout.readline()) == (b"held\n", b"1\n")
        with pytest.raises(WardposeError, match="already runs"):
            ownership.LiveLock.take(site, "service", PLAN)
    finally:
        for process in started:
            process.kill()
            process.communicate()
    ownership.LiveLock.take(site, "service", PLAN).release()


def test_a_child_of_whoever_supervises_needs_no_lock_of_its_own(site: SiteFolder) -> None:
    lock = ownership.LiveLock.take(site, "service", PLAN)
    script = (
        "import sys\nfrom appliance.live import ownership\nfrom appliance.site.folder import SiteFolder\n"
        "ownership.share(SiteFolder.open(sys.argv[1]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(site.root)], cwd=REPOSITORY, check=False)
    lock.release()
    assert ended.returncode == 0


def test_a_pid_that_another_process_was_given_is_left_alone(site: SiteFolder) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        boot, pid, start = process_identity(bystander.pid).split(":")
        running._ask_to_end(f"{boot}:{pid}:{int(start) - 1}", "a process that is gone")
        time.sleep(0.2)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_where_systemctl_refuses_the_line_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit 1\n')
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    units = ["wardpose-capture.service", "wardpose-runtime.service"]
    with pytest.raises(WardposeError, match=r"type: sudo systemctl stop wardpose-capture\.service wardpose-runtime"):
        running._stop_units(units)
    assert (tmp_path / "asked").read_text().split()[-3:] == ["stop", *units]


def test_the_file_of_outages_stays_short_and_bears_damage(site: SiteFolder) -> None:
    outages.note(site, "start", why="by the service")
    with (site.root / "outages.jsonl").open("a") as stream:
        stream.write('{"at": \n["no event"]\n')
    for number in range(3000):
        outages.note(site, "restart", "capture", f"{number} " + "x" * 200)
    assert (site.root / "outages.jsonl").stat().st_size < outages.LARGEST_BYTES + 1000
    assert outages.events(site, 1)[0].why.startswith("2999 ")


def test_a_pause_is_no_outage(site: SiteFolder) -> None:
    watch = outages.PictureWatch(site)
    for state in ("live", "paused", "starting", "no-signal", "live"):
        watch.look({"state": state, "message": ""})
    assert outages.events(site) == []
