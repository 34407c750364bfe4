"""Whatever is given to the box to read, it is read in bounds, or refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.faults import hostile_faults
from calibration.errors import WardposeError
from calibration.foreign_file import foreign_bytes
from calibration.toml_file import parse_toml


def test_json_and_toml_without_end_are_refused_by_everything_that_reads_them(tmp_path: Path) -> None:
    row = hostile_faults.tried("documents", hostile_faults.documents(tmp_path))
    assert row["tried"] > 20 and not row["lost"], row["notes"]


def test_a_picture_of_a_gigapixel_is_refused_wherever_pictures_are_decoded(tmp_path: Path) -> None:
    row = hostile_faults.tried("pictures", hostile_faults.pictures(tmp_path / "pictures"))
    assert row["tried"] == 7 and not row["lost"], row["notes"]


def test_a_pipe_is_not_waited_for_and_what_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert foreign_bytes(tmp_path / "file", 3) == b"abc"
    with pytest.raises(OSError, match="larger than"):
        foreign_bytes(tmp_path / "file", 2)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError):
            foreign_bytes(path)
    assert foreign_bytes(Path("/proc/self/status"))


@pytest.mark.parametrize(
    "text", ["[" + "a." * 40 + "b]", "x = 1\n" + "a . " * 40 + "b = 1", "x = {" + "a." * 40 + "b = 1}"]
)
def test_a_key_of_more_parts_than_anybody_writes_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(WardposeError, match="more than 32 parts"):
        parse_toml(text, "scenario.toml")


def test_dots_in_a_text_are_no_key() -> None:
    assert parse_toml(f'[a.b]\nc = "{"d." * 60}"', "scenario.toml") == {"a": {"b": {"c": "d." * 60}}}
