"""What the command line does for somebody who types: versions, near misses, examples, completion, jobs; and what it
does when there is no terminal, or the terminal UI is killed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance.cli.examples import EXAMPLES
from appliance.cli.main import build_parser, main
from appliance.jobs.store import JobStore
from appliance.site.folder import SiteFolder

PATIENCE_S = 120.0


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("wardpose ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["stauts"], "did you mean 'status'?"), (["status", "--jsno"], "did you mean --json?"),
     (["models", "lsit"], "did you mean 'list'?")],
)  # fmt: skip
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) != 0
    assert meant in capsys.readouterr().err


def test_the_help_of_every_command_shows_how_it_is_typed_and_says_what_each_value_is() -> None:
    def silent(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command, own in action.choices.items():
                    if not name and "examples:" not in own.format_help():
                        yield f"{command} shows no example"
                    yield from silent(own, f"{name} {command}".strip())
            elif not action.help:
                yield f"{name} says nothing of {action.option_strings or action.dest}"

    assert list(silent(build_parser(), "")) == []


def test_every_example_can_be_typed_as_it_stands() -> None:
    import shlex

    for lines in EXAMPLES.values():
        for line in lines:
            words = shlex.split(line.partition(" > ")[0])[1:]
            options, rest = build_parser().parse_known_args(words)
            assert options.command == words[0] and (not rest or words[0] == "test"), line


def test_a_shell_completes_commands_and_options() -> None:
    def completed(line: str) -> set[str]:
        asked = os.environ | {
            "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": os.devnull,
        }  # fmt: skip
        with open(os.devnull, "w") as nowhere, pipe() as (reading, writing):
            asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{writing}"}
            subprocess.run(
                [sys.executable, "-m", "appliance"], env=asked, stdout=nowhere, stderr=nowhere, pass_fds=(writing,),
                check=False,
            )  # fmt: skip
            os.close(writing)
            return set(os.read(reading, 65536).decode().split())

    assert "status" in completed("wardpose sta")
    assert {"--json", "--home"} <= completed("wardpose status --")


@contextlib.contextmanager
def pipe():  # type: ignore[no-untyped-def]
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        with contextlib.suppress(OSError):
            os.close(writing)


def test_jobs_are_listed_and_shown(site: SiteFolder, capfd: pytest.CaptureFixture[str]) -> None:
    JobStore(site).submit("synth", {"scenario": "site", "count": 3})
    JobStore(site).cancel(1)
    home = ["--home", str(site.root)]
    assert main(["jobs", "--json", *home]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [(job["id"], job["state"]) for job in told["jobs"]] == [(1, "cancelled")]
    assert main(["jobs", "show", "1", *home]) == 0
    assert "cancelled" in capfd.readouterr().out
    assert main(["jobs", "show", "7", *home]) != 0
    assert "there is no job 7" in capfd.readouterr().err
    assert main(["jobs", "--limit", "0", *home]) != 0
    assert "--limit must be 1 or more, got 0" in capfd.readouterr().err


def test_a_mistyped_site_folder_makes_no_site(site: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = site.root.parent / "stie"
    for command in (["status"], ["jobs"], ["camera", "list"]):
        assert main([*command, "--home", str(wrong)]) != 0
        assert f"did you mean {site.root}?" in capsys.readouterr().err
    assert not wrong.exists()


def test_a_site_that_is_made_is_told_to_whoever_sits_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["camera", "list", "--home", str(tmp_path / "ward-6")]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["camera", "list", "--home", str(tmp_path / "bed-12")]) == 0
    assert "bed-12 is a new site" in capsys.readouterr().err


def test_a_folder_that_somebody_made_may_become_a_site_whatever_stands_beside_it(site: SiteFolder) -> None:
    made = site.root.parent / "sites"
    made.mkdir()
    assert main(["camera", "list", "--home", str(made)]) == 0


def test_without_a_terminal_no_terminal_ui_is_opened(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "appliance", "--home", str(tmp_path / "site")], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2 and "needs a terminal" in ended.stderr


def test_a_killed_terminal_ui_gives_the_terminal_back(site: SiteFolder) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    parent = subprocess.Popen(
        [sys.executable, "-m", "appliance", "--home", str(site.root)], stdin=slave, stdout=slave, stderr=slave,
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    try:
        assert b"\x1b[?1049h" in read_until(master, b"\x1b[?1049h")
        children = psutil.Process(parent.pid).children()
        (shown,) = (each for each in children if "appliance.service" not in " ".join(each.cmdline()))
        shown.send_signal(signal.SIGKILL)
        told = read_until(master, b"was killed")
        assert b"\x1b[?1049l" in told and b"\x1b[?25h" in told and b"the live path and the jobs go on" in told
        assert parent.wait(PATIENCE_S) == 128 + signal.SIGKILL
        assert termios.tcgetattr(slave)[:4] == before[:4]
    finally:
        with contextlib.suppress(ProcessLookupError):
            parent.kill()
        parent.wait()
        os.close(master)
        os.close(slave)


def read_until(descriptor: int, wanted: bytes) -> bytes:
    got, until = b"", time.monotonic() + PATIENCE_S
    while wanted not in got and time.monotonic() < until:
        if select.select([descriptor], [], [], 0.2)[0]:
            got += os.read(descriptor, 65536)
    return got
