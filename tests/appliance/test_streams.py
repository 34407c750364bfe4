"""No terminal, other locales, closed and full streams: one line, no hang, no traceback; and errors as one JSON object.

Like buckket/twtxt#196 (a Latin-1 locale), bubkoo/ascii-progress#20 and ndd7xv/heh PR#24 (no terminal).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.streams import plain_letters

COMMAND = [sys.executable, "-m", "appliance"]


def run(
    site: Path, *arguments: str, redirect: str = "", encoding: str = "utf-8", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """The command through a shell, whose redirections close and fill streams as people's do; no terminal anywhere."""
    line = f'exec "$@" {redirect}'
    return subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, "--home", str(site), *arguments], stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding} | environment,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_a_table_is_written_in_the_letters_that_there_are(tmp_path: Path, encoding: str) -> None:
    done = run(tmp_path, "models", "list", encoding=encoding)
    assert done.returncode == 0 and not done.stderr
    heading, rule, *rows = done.stdout.decode(encoding).splitlines()
    assert heading.startswith("model") and set(rule) == {"-", " "} and rows


@pytest.mark.parametrize("redirect", ["</dev/null", "<&-", "</dev/null >/dev/null", "<&- >&-"])
def test_without_a_terminal_its_ui_says_so(tmp_path: Path, redirect: str) -> None:
    done = run(tmp_path, redirect=redirect)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("wardpose: the terminal UI needs a terminal; name a command")
    assert done.stderr.count(b"\n") == 1 and not done.stdout


@pytest.mark.parametrize(("redirect", "why"), [(">&-", "is closed"), (">/dev/full", "fails (no space left on device)")])
@pytest.mark.parametrize("json_wanted", [False, True])
def test_an_answer_that_goes_nowhere_is_a_failure_in_one_line(
    tmp_path: Path, redirect: str, why: str, json_wanted: bool
) -> None:
    done = run(tmp_path, "models", "list", *["--json"] * json_wanted, redirect=redirect)
    assert done.returncode == 74 and not done.stdout
    last = done.stderr.decode().splitlines()[-1]
    assert last == f"wardpose: what was to be said is lost: standard output {why}"


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_an_answer_needs_no_standard_error(tmp_path: Path, redirect: str) -> None:
    done = run(tmp_path, "models", "list", "--json", redirect=redirect)
    assert done.returncode == 0 and json.loads(done.stdout)["models"]
    refused = run(tmp_path, "models", "verify", "none-of-that-name", "--json", redirect=redirect)
    assert refused.returncode == 1 and json.loads(refused.stdout)["ok"] is False


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("nonsense",), ("models",), ("models", "nonsense"), ("models", "list", "--nonsense"),
        ("evaluate", "--model", "none"), ("evaluate", "--model", "nanodet", "--data", "/nowhere/x.json"),
        ("synth", "--count", "many"), ("camera", "probe", "video:/nowhere"), ("preview", "/nowhere"),
        ("calibrate", "corners", "1,2", "--source", "video:/nowhere"), ("audit", "--since", "yesterday-ish"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_error_is_one_json_object(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments, "--json")
    assert done.returncode not in (0, 70), done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is False and answer["error"] and "Traceback" not in done.stderr.decode()
    assert "a defect" not in answer["error"] and "\n" not in answer["error"]


@given(text=st.text(max_size=20), encoding=st.sampled_from(["ascii", "latin-1", "cp1252"]))
def test_any_text_can_be_written_in_any_encoding(text: str, encoding: str) -> None:
    import codecs

    codecs.register_error("plain-for-this-test", plain_letters)
    written = text.encode(encoding, "plain-for-this-test").decode(encoding)
    if text.isascii():
        assert written == text
