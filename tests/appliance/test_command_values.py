"""What no command takes for a number, a place or a name, and how what it says is made harmless."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import build_parser, main
from appliance.cli.streams import visible
from appliance.jobs import datasets
from appliance.live.addresses import page_address
from appliance.site import audit
from appliance.site.folder import SiteFolder
from calibration.atomic import require_file_place
from calibration.errors import WardposeError

HUGE = "9" * 30
WRONG: dict[Any, tuple[str, ...]] = {
    int: (HUGE, f"-{HUGE}", "1.5", "", "x"),
    float: ("nan", "inf", "-inf", "1e999", ""),
    Path: ("", " ", "\udcff"),
}


def values(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, argparse.ArgumentParser, argparse.Action]]:
    """Each option and argument of every command that takes a value, with the parser that reads it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, own in action.choices.items():
                yield from values(own, f"{name} {command}")
        elif action.nargs != 0:
            yield f"{name} {action.option_strings or action.dest}", parser, action


def test_no_command_takes_an_empty_endless_or_unreadable_value() -> None:
    """But what somebody says of a pause: no word of theirs may hinder it."""
    taken = []
    for name, parser, action in values(build_parser(), "wardpose"):
        for wrong in WRONG.get(action.type, ("", " ", "\udcff")):
            try:
                parser._get_value(action, wrong)
            except (argparse.ArgumentError, WardposeError):
                continue
            taken.append(f"{name} {wrong!r}")
    assert [each for each in taken if not each.startswith("wardpose pause ['--reason']")] == []


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["synth", "--count", HUGE], "argument --count: 999999999999999999999999999999 is too large"),
        (["tune", "--rate", "nan"], "argument --rate: 'nan' is no number"),
        (["evaluate", "--data", ""], "argument --data: is empty; leave it out, or say what you mean"),
        (["export", "--model", ""], "argument --model: is empty"),
        (["poses", "--count", "0", "--out", "a.npz"], "--count must be 1 to 1000000, got 0"),
        (["poses", "--seed", "-1", "--out", "a.npz"], "--seed must be 0 to 9223372036854775807, got -1"),
    ],
)
def test_a_value_that_cannot_be_meant_is_told_in_one_line(
    typed: list[str], told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*typed, "--home", str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert told in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["corners", "a,b", "1,1", "1,1", "1,1"], "argument X,Y: 'a,b' is not X,Y; write 120,45.5, for example"),
        (["corners", "nan,1", "1,1", "1,1", "1,1"], "argument X,Y: 'nan,1' is not X,Y"),
        (["manual", "--look-at", "1,2"], "argument --look-at: '1,2' is not X,Y,Z; write 0,0,-0.1, for example"),
        (["intrinsics", "--squares", "0x5"], "argument --squares: '0x5' is no board; a side has 2 to 100 squares"),
        (["intrinsics", "--squares", "7"], "argument --squares: '7' is not ACROSSxDOWN; write 7x5, for example"),
    ],
)
def test_numbers_that_belong_together_are_told_by_their_form(
    typed: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *typed]) == 2
    assert told in capfd.readouterr().err


def test_what_begins_with_a_minus_may_be_a_number() -> None:
    where = ["--azimuth", "-30", "--elevation", "3e1", "--distance", "2", "--look-at", "-0.2,0,-1e-2"]
    options = build_parser().parse_args(["calibrate", "manual", *where])
    assert (options.azimuth, options.look_at) == (-30.0, (-0.2, 0.0, -0.01))
    options = build_parser().parse_args(["calibrate", "corners", "-5,1", "2,2", "3,-3.5", "4,4"])
    assert options.corner == [(-5.0, 1.0), (2.0, 2.0), (3.0, -3.5), (4.0, 4.0)]


def test_a_home_is_written_out_also_where_no_shell_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    options = build_parser().parse_args(["synth", "--out=~/images"])
    assert options.out == Path("/home/anna/images")
    with pytest.raises(WardposeError, match="no home is called so"):
        build_parser().parse_args(["synth", "--out=~nobody-of-this-box/images"])


def test_a_pause_is_never_refused_for_its_words(site: SiteFolder, capfd: pytest.CaptureFixture[str]) -> None:
    for reason in ("", "\udcff", "\x1b[2J", "x" * 5000):
        assert main(["pause", "--reason", reason, "--home", str(site.root)]) == 0, reason
        assert "\x1b" not in capfd.readouterr().out
        assert main(["resume", "--home", str(site.root)]) == 0
        capfd.readouterr()


def test_more_images_than_a_data_set_may_have_are_refused(site: SiteFolder) -> None:
    for given in ({"count": 1_000_001}, {"seed": 2**63}, {"count": 0}):
        with pytest.raises(WardposeError, match="give --count 1 to 1000000 and --seed 0 to 9223372036854775807"):
            datasets.training_set(site, {"scenario": "C", **given})


def test_long_work_is_refused_before_it_begins_where_its_file_cannot_be_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    require_file_place(tmp_path / "new folder" / "page.html")
    require_file_place(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    for place, told in ((tmp_path, "is a folder"), (tmp_path / "file" / "page.html", "a file stands where a folder")):
        with pytest.raises(WardposeError, match=told):
            require_file_place(place)
        assert main(["poses", "--count", "100000", "--out", str(place), "--home", str(tmp_path / "site")]) == 2
        assert told in capfd.readouterr().err


def test_nobody_looks_at_the_bed_for_a_plate_that_cannot_have_its_name(
    site: SiteFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    (site.plates / "taken").mkdir(parents=True)
    for name, told in (("a/b", "'a/b' can't name a plate"), ("taken", "a plate taken is there already")):
        assert main(["plates", "capture", "--name", name, "--home", str(site.root)]) == 2
        assert told in capfd.readouterr().err
    assert [row.what for row in audit.rows(site, None) if row.what == "camera.look"] == []


def test_a_name_of_somebody_elses_cannot_steer_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    named = tmp_path / "a\x1b[2Jb\u202e.json"
    for extra in ([], ["--json"]):
        assert main(["data", "check", str(named), "--home", str(tmp_path / "site"), *extra]) == 1
        said = capfd.readouterr()
        words = said.err if extra else said.out
        assert "a\\x1b[2Jb\\u202e.json" in words and "\x1b" not in said.err + said.out
        assert not extra or json.loads(said.out)["ok"] is False


def test_what_steers_a_terminal_is_spelled_out_and_nothing_else() -> None:
    plain = "a\tb\nc\r\nÄ → ─ 👩‍⚕️"
    assert visible(plain) == plain
    assert visible("\x07\x9b31m\x7f") == "\\x07\\x9b31m\\x7f"


def test_the_pages_address_is_said_with_its_key_to_whoever_asks_for_it(
    site: SiteFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    """It had been taken for a camera's password, and nobody could open the page by what the command said."""
    home = ["--home", str(site.root)]
    assert main(["display", "--address", *home]) == 0
    address = capfd.readouterr().out.strip()
    assert address == page_address(site) and len(address.partition("#key=")[2]) > 20
    assert main(["display", "--address", "--json", *home]) == 0
    assert json.loads(capfd.readouterr().out)["address"] == address
