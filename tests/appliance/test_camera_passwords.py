"""A camera's password stands in one file that its owner alone can read, and nowhere else: not in what is printed, in no
log, not in the database, not in the process list."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from textual.widgets import Input

from appliance.client import ServiceClient
from appliance.site import audit
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.settings import load_settings, password_in_file, read_settings, set_value
from calibration.errors import WardposeError
from calibration.redaction import redacted
from runtime.capture.secrets import filled, keep
from runtime.capture.source import make_source
from runtime.capture.video import VideoSource
from tests.appliance.test_tui import on_screen, terminal, until

PASSWORD = "s3cret-w0rd"
# Nobody listens at port 1.
SPECS = (
    f"video:rtsp://admin:{PASSWORD}@127.0.0.1:1/a",
    f"video:rtsp://127.0.0.1:1/user=admin&password={PASSWORD}&channel=1&stream=0.sdp",
    f"video:rtsp://admin:{PASSWORD}/part2#x[1]@127.0.0.1:1/stream1",
)
SITE_WORDS = [sys.executable, "-m", "appliance"]


def run(site: SiteFolder, *words: str) -> str:
    """Everything that a command prints, and every word of the process list while it runs."""
    child = subprocess.Popen(
        [*SITE_WORDS, *words, "--home", str(site.root)], cwd=REPOSITORY, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    said, _ = child.communicate(timeout=120)
    return said


def command_lines(of: psutil.Process) -> str:
    """The command lines of a process and of all that it started, as anybody on the box can read them."""
    found = []
    for process in (of, *of.children(recursive=True)):
        try:
            found.append(Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def leaks(site: SiteFolder) -> list[str]:
    """The files of a site in which the password stands."""
    return sorted(
        path.name for path in site.root.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()
    )


def wait_for(condition: Callable[[], object], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("spec", SPECS[1:], ids=("query", "letters"))  # pytest puts them into the environment
def test_the_live_path_of_a_dead_camera_tells_nobody_its_password(site: SiteFolder, spec: str) -> None:
    child = subprocess.Popen(
        [*SITE_WORDS, "run", "--headless", "--source", spec, "--home", str(site.root)], cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    process, log = psutil.Process(child.pid), site.logs / "capture.log"
    try:
        wait_for(lambda: PASSWORD not in command_lines(process))  # once Python has begun to work
        wait_for(lambda: log.exists() and "retrying" in log.read_text())
        shown = command_lines(process)
        assert "runtime.capture.process" in shown and redacted(spec) in shown
        assert PASSWORD not in shown
        environment = [p.environ() for p in (process, *process.children(recursive=True))]
        assert PASSWORD not in repr(environment)
        time.sleep(1)
    finally:
        child.terminate()
        said, _ = child.communicate(timeout=60)
    assert PASSWORD not in said and redacted(spec) in said
    assert leaks(site) == ["secrets.json"]
    assert stat.S_IMODE(site.secrets_file.stat().st_mode) == 0o600


def test_no_command_tells_the_password_of_the_sites_camera(site: SiteFolder) -> None:
    set_value(site, "camera", "source", SPECS[1])
    for words in (
        ["camera", "list"], ["camera", "list", "--json"], ["camera", "probe"], ["camera", "probe", "--json"],
        ["status"], ["status", "--json"], ["audit"], ["audit", "--json"], ["audit", "--csv"], ["doctor", "--json"],
        ["calibrate", "tags"], ["camera", "probe", SPECS[2]],
        ["camera", "record", "--out", str(site.root / "x.mkv"), "--seconds", "1", "--reason", "to see the light",
         "--expires", "1d", "--json"],
    ):  # fmt: skip
        said = run(site, *words)
        assert said and PASSWORD not in said, words
    assert leaks(site) == ["secrets.json"]


def test_an_address_that_makes_no_sense_is_no_defect_and_tells_nothing(site: SiteFolder) -> None:
    for spec in (
        f"video:rtsp://admin:{PASSWORD}[1]@127.0.0.1:1/a",
        f"video:rtsp://admin:{PASSWORD}@",
        f"eye:a:{PASSWORD}@b",
    ):
        said = run(site, "camera", "probe", spec)
        assert "defect" not in said and PASSWORD not in said


def test_a_password_with_a_slash_does_not_make_the_host_another(site: SiteFolder) -> None:
    source = make_source(SPECS[2])
    assert source.name == "video:rtsp://***@127.0.0.1:1/stream1"
    with pytest.raises(WardposeError, match=r"rtsp://\*\*\*@10\.1\.2\.3:554/stream1: this camera is on the network"):
        make_source(f"video:rtsp://admin:{PASSWORD}/part2@10.1.2.3:554/stream1")
    for sly in ("127.0.0.1:1@10.1.2.3", "localhost@10.1.2.3", "a:b@127.0.0.1\\@10.1.2.3"):
        with pytest.raises(WardposeError, match="on the network"):
            make_source(f"video:rtsp://{sly}/x")


async def test_no_screen_of_the_terminal_ui_shows_the_password(site: SiteFolder) -> None:
    set_value(site, "camera", "source", SPECS[0])
    try:
        async with terminal(site) as pilot:
            for key in "1234567":
                await pilot.press(key)
                await pilot.pause(0.3)
                assert PASSWORD not in on_screen(pilot)
            await pilot.press("2")
            await until(
                pilot, lambda: pilot.app.screen.query("#source") and pilot.app.screen.query_one("#source", Input).value
            )
            field = pilot.app.screen.query_one("#source", Input)
            assert field.value == redacted(SPECS[0])
            field.value = SPECS[1]
            await pilot.press("y")
            await until(pilot, lambda: load_settings(site).camera.source == redacted(SPECS[1]))
            await until(pilot, lambda: PASSWORD not in on_screen(pilot))
            assert "camera" in on_screen(pilot)
    finally:
        with ServiceClient(site) as client:
            if client.answers():
                client.stop_service()
    assert leaks(site) == ["secrets.json"]
    assert filled(redacted(SPECS[1])) == SPECS[1]


def test_a_password_that_a_person_wrote_into_the_settings_works_and_is_moved(site: SiteFolder) -> None:
    site.settings_file.write_text(
        f"# ours\n[camera]\nsource = {json.dumps(SPECS[0])}  # by the door\n[bed]\nwidth = 1.0\n"
    )
    site.settings_file.chmod(0o644)
    assert password_in_file(site)
    assert load_settings(site).camera.source == redacted(SPECS[0])
    assert not password_in_file(site)
    assert site.settings_file.read_text() == (
        f'# ours\n[camera]\nsource = "{redacted(SPECS[0])}"  # by the door\n[bed]\nwidth = 1.0\n'
    )
    assert stat.S_IMODE(site.settings_file.stat().st_mode) == 0o600
    source = make_source(load_settings(site).camera.source)
    assert isinstance(source, VideoSource) and source.config.path == SPECS[0].removeprefix("video:")
    assert leaks(site) == ["secrets.json"]
    assert read_settings(site.settings_file).bed.width == 1.0


def test_a_cameras_other_stream_has_its_password_and_another_camera_has_not(site: SiteFolder) -> None:
    keep(site.secrets_file, SPECS[0])
    assert (
        filled("video:rtsp://***@127.0.0.1:1/b#loop=true") == f"video:rtsp://admin:{PASSWORD}@127.0.0.1:1/b#loop=true"
    )
    for other in (
        "video:rtsp://***@127.0.0.1:2/a",
        "video:rtsp://***@127.0.0.2:1/a",
        "video:rtsps://***@127.0.0.1:1/a",
    ):
        with pytest.raises(WardposeError, match="not known on this site"):
            filled(other)


def test_the_password_given_last_for_a_camera_counts(site: SiteFolder) -> None:
    keep(site.secrets_file, SPECS[0])
    keep(site.secrets_file, SPECS[0].replace(PASSWORD, "another"))
    assert "another" in filled(redacted(SPECS[0]))


def test_a_password_is_deleted_when_asked_and_it_is_written_down(site: SiteFolder) -> None:
    keep(site.secrets_file, SPECS[0])
    assert f"its password is kept: {redacted(SPECS[0])}" in run(site, "camera", "list")
    assert "deleted" in run(site, "camera", "forget", redacted(SPECS[0]))
    assert "no password of this camera is kept" in run(site, "camera", "forget", redacted(SPECS[0]))
    assert leaks(site) == []
    assert audit.rows(site)[0].what == "camera.forget"


def test_a_damaged_file_of_passwords_is_told_in_one_line(site: SiteFolder) -> None:
    for content in ("{", "[]", '{"a": 3}', '{"a": [3]}'):
        site.secrets_file.write_text(content)
        with pytest.raises(WardposeError, match=r"secrets\.json: the file of passwords is damaged"):
            filled(redacted(SPECS[0]))
