"""Whoever looks through a camera, or touches what is live, has said why to the service, which wrote it down first."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import wire
from appliance.api import CALLS
from appliance.client import ServiceClient
from appliance.live import ownership, pauses
from appliance.live.addresses import page_key_file, service_socket
from appliance.site import audit, calibrations
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.people import current_user
from appliance.site.requests import Why
from calibration.errors import WardposeError
from calibration.processes import process_identity
from runtime.display.pausing import PRESSED, WHO, PagePause
from runtime.display.service import DisplayServer
from tests.appliance.test_live_path import command, photographs, terminal_run, wait_for  # noqa: F401
from tests.appliance.test_one_door import EXAMPLES
from tests.appliance.test_plates import plate_of
from tests.runtime.page_client import press, watching
from tuning.base_options import add_options, options_from

SAY_WHY = {
    "live.start", "live.stop", "live.began", "live.ended", "live.resume", "models.rollback", "calibrations.confirm",
    "roles.assign", "roles.remove", "models.remove", "datasets.remove", "station.switch",
    "station.certificate",
    "plates.keep", "plates.look", "plates.remove", "camera.look", "camera.record", "skeletons.record",
    "skeletons.export", "skeletons.delete",
}  # fmt: skip
BY_TAPE = ("calibrate", "manual", "--azimuth", "25", "--elevation", "40", "--distance", "2.8", "--confirm", "yes")
Row = tuple[str, str, str]


@pytest.fixture
def client(site: SiteFolder) -> Iterator[ServiceClient]:
    with ServiceClient.connect(site) as client:
        yield client


def rows(site: SiteFolder) -> list[Row]:
    """What, who and why, the oldest first."""
    return [(row.what, row.who, row.reason) for row in reversed(audit.rows(site))]


def test_what_touches_pixels_or_what_is_live_is_refused_without_a_reason() -> None:
    asked = {name for name, call in CALLS.items() if isinstance(call.request, type) and issubclass(call.request, Why)}
    assert asked == SAY_WHY
    for name in SAY_WHY:
        without = {key: value for key, value in EXAMPLES[name].items() if key != "reason"}
        for parameters in (without, without | {"reason": " "}):
            with pytest.raises(WardposeError, match=f"^{name}: it needs a reason; say why"):
                wire.understood(name, parameters)
    with pytest.raises(WardposeError, match="needs a reason"):
        wire.understood("jobs.submit", {"kind": "promote", "parameters": {"model": "mine"}})


def test_a_command_that_calibrates_says_so_before_it_looks(site: SiteFolder) -> None:
    assert command(site, *BY_TAPE, "--reason", "the bed was moved").returncode == 0
    me = current_user()
    assert rows(site) == [
        ("camera.look", me, "to calibrate: manual: the bed was moved"),
        ("calibration.keep", me, "not yet confirmed"),
        ("calibration.keep", me, "confirmed: the bed was moved"),
    ]
    assert (site.logs / "service.log").exists()  # it was asked, and started for that


def test_whoever_gives_a_command_without_a_reason_is_written_down_with_that(site: SiteFolder) -> None:
    assert command(site, *BY_TAPE).returncode == 0
    assert rows(site)[0][2] == "to calibrate: manual: by command"


def test_a_look_is_refused_while_the_site_is_paused(client: ServiceClient, site: SiteFolder, tmp_path: Path) -> None:
    client.pause("washing")
    for name in ("camera.look", "camera.record"):
        asked = EXAMPLES[name] | ({"file": str(tmp_path / "a.mkv")} if name == "camera.record" else {})
        with pytest.raises(WardposeError, match=r"paused by .*washing"):
            client.call(name, **asked)
    assert [what for what, _, _ in rows(site)] == ["live.pause"]


def test_a_look_at_a_plate_and_its_end_are_written_down(client: ServiceClient, calibrated: SiteFolder) -> None:
    from appliance.bedside import plates

    plates.keep(calibrated, plate_of(calibrated), "monday")
    assert command(calibrated, "plates", "show", "monday", "--reason", "is it still the room?").returncode == 0
    assert command(calibrated, "plates", "remove", "monday", "--reason", "it was painted").returncode == 0
    assert [(what, why) for what, _, why in rows(calibrated)[-2:]] == [
        ("plate.look", "is it still the room?"),
        ("plate.remove", "it was painted"),
    ]
    with pytest.raises(WardposeError, match="there is no plate monday"):
        client.call("plates.look", name="monday", reason="to see it")


def test_a_recording_has_its_beginning_and_its_end_from_the_service(
    client: ServiceClient, site: SiteFolder, tmp_path: Path
) -> None:
    from appliance.bedside.recordings import record

    why = "a fall in the night, for the review"
    with pytest.raises(WardposeError, match="nowhere"):
        record(site, tmp_path / "a.mkv", client.call, seconds=1, reason=why, expires="1d", source="video:/nowhere")
    assert [(what, why) for what, _, why in rows(site)] == [
        ("camera.record", why),
        ("recording.abandon", "nothing was kept"),
    ]


def test_the_page_pauses_by_the_service_which_has_written_it_down_when_it_answers(
    client: ServiceClient, site: SiteFolder, tmp_path: Path
) -> None:
    service = service_socket(site)
    with (
        DisplayServer(tmp_path / "s", pauses.switch(site), page_key_file(site), service=service, port=0) as shown,
        watching(shown) as page,
    ):
        assert press(page, "pause")["ok"]
        assert client.status()["pause"]["by"] == WHO
        assert [(what, who) for what, who, _ in rows(site)] == [("live.pause", WHO)]
        assert press(page, "resume")["ok"]
        assert not pauses.switch(site).active
    (what, who, why) = rows(site)[-1]
    assert (what, who) == ("live.resume", WHO) and PRESSED in why
    assert not pauses.switch(site).owes


def test_a_service_that_hangs_keeps_no_page_from_pausing(client: ServiceClient, site: SiteFolder) -> None:
    pid = client.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        PagePause(pauses.switch(site), service_socket(site)).set()
        assert pauses.switch(site).active
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: ("live.pause", WHO) in [(what, who) for what, who, _ in rows(site)])


def test_a_page_without_a_service_pauses_by_itself(site: SiteFolder) -> None:
    page = PagePause(pauses.switch(site), service_socket(site))
    page.set()
    assert page.active
    page.lift()
    assert not page.active
    pauses.catch_up(site.root)
    assert [(what, who) for what, who, _ in rows(site)] == [("live.pause", WHO), ("live.resume", WHO)]


def test_what_runs_in_a_terminal_is_told_to_the_service_at_its_beginning_and_its_end(
    site: SiteFolder,
    terminal_run: subprocess.Popen[bytes],  # noqa: F811
) -> None:
    wait_for(lambda: rows(site) and rows(site)[-1][0] == "live.start")
    assert rows(site)[-1][1] == current_user() and rows(site)[-1][2].endswith("; in a terminal: by command")
    assert command(site, "stop", "--reason", "the bed is empty").returncode == 0
    assert terminal_run.wait(60) == 0
    ends = [why for what, _, why in rows(site) if what == "live.stop"]
    assert any("in a terminal" in why for why in ends) and any(why.startswith("the bed is empty") for why in ends)


def test_the_service_writes_down_the_end_of_what_was_killed_in_its_terminal(
    site: SiteFolder,
    terminal_run: subprocess.Popen[bytes],  # noqa: F811
) -> None:
    wait_for(lambda: rows(site) and rows(site)[-1][0] == "live.start")
    terminal_run.kill()
    wait_for(lambda: rows(site)[-1][0] == "live.stop")
    assert "ended without a word" in rows(site)[-1][2] and rows(site)[-1][1] == current_user()


def test_only_whoever_holds_the_live_path_can_say_that_it_began(client: ServiceClient, site: SiteFolder) -> None:
    me = process_identity(os.getpid())
    with pytest.raises(WardposeError, match="does not keep the live path running"):
        client.call("live.began", process=me, reason="by command")
    plan = {"source": "simulated", "detector": "person-detector", "pose": None}
    held = ownership.LiveLock.take(site, "foreground", plan)
    with pytest.raises(WardposeError, match="runs it in a terminal"):
        client.call("live.began", process="another process", reason="by command")
    client.call("live.began", process=me, reason="by command")
    client.call("live.ended", process=me, reason="Ctrl-C")
    held.release()
    threading.Event().wait(1.2)  # the service looks twice meanwhile
    assert [what for what, _, _ in rows(site)] == ["live.start", "live.stop"]


def test_a_live_path_that_was_stopped_without_a_service_does_not_come_back_with_one(site: SiteFolder) -> None:
    plan = {"source": "simulated", "detector": "person-detector", "pose": None, "display": False, "engine": None}
    (site.root / "live.json").write_text(json.dumps(plan))
    assert command(site, "stop").returncode == 0
    assert not service_socket(site).exists() and not (site.root / "live.json").exists()


def test_mending_and_what_was_installed_go_by_a_service_that_runs(client: ServiceClient, site: SiteFolder) -> None:
    (site.root / "site.db").chmod(0o644)
    told = json.loads(command(site, "doctor", "--mend", "--json").stdout)
    assert f"{site.root / 'site.db'}: 0644 → 0600" in told["mended"]
    # SQLite gives the files it makes beside the database its rights, should one be made just then.
    assert all(line.startswith(str(site.root / "site.db")) for line in told["mended"])
    assert client.call("box.installed", names=["EGL", "Xvfb"]) == {"ok": True}
    assert [what for what, _, _ in rows(site)] == ["site.close", "box.setup"]


def test_a_base_model_and_a_preview_are_jobs(client: ServiceClient, site: SiteFolder, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(WardposeError, match="a model is already here"):
        client.carry_out("base", {"task": "detector", "data": str(tmp_path), "out": str(tmp_path / "there")})
    with pytest.raises(WardposeError, match="nowhere"):
        client.carry_out("preview", {"place": str(tmp_path / "nowhere")})
    assert [(job["kind"], job["state"]) for job in client.jobs()] == [("preview", "failed"), ("base", "failed")]


@pytest.mark.parametrize(
    "typed", [["pose"], ["detector", "--epochs", "3", "--data", "/a", "--score", "x=/b", "--bfloat16"]]
)
def test_options_given_to_a_job_are_those_that_would_be_typed(typed: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args(typed)
    given: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()
    }
    assert options_from(given) == options


def test_what_is_in_use_is_calibrated_by_somebody(site: SiteFolder) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "appliance", "calibrate", "confirm", "--home", str(site.root)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2 and "no calibration to confirm" in ended.stderr
    assert calibrations.rows(site) == [] and rows(site) == []
