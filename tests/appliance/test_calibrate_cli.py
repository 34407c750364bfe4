"""Calibrating at the command line: the person sees the bed on the picture before saying where its head is."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.cli.main import main
from appliance.site import audit, calibrations
from appliance.site.folder import REPOSITORY, SiteFolder
from calibration.camera import CameraModel
from calibration.lens_file import lens_text

LENS = CameraModel(320, 180, 150.0, 150.0, 159.5, 89.5)


@pytest.fixture
def by_tape(tmp_path: Path) -> list[str]:
    """The command's words, with a grey picture for a camera and a file for its lens."""
    video, lens = tmp_path / "camera.avi", tmp_path / "lens.json"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (LENS.width, LENS.height))
    writer.write(np.full((LENS.height, LENS.width, 3), 90, np.uint8))
    writer.release()
    lens.write_text(lens_text(LENS))
    words = "calibrate manual --azimuth 25 --elevation 40 --distance 2.8"
    return [*words.split(), "--source", f"video:{video}", "--intrinsics", str(lens)]


def in_a_terminal(arguments: list[str], home: Path, typed: str) -> tuple[int, str]:
    """The exit status, and what a terminal of 80 by 24 was sent."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "appliance", "--home", str(home), *arguments],
        cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs,
        env=dict(os.environ, COLUMNS="80", LINES="24", TERM="xterm-256color", COLORTERM="truecolor"),
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed.encode())  # waits in the terminal until it is asked for
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side has closed
        while part := os.read(ours, 65536):
            seen += part
    os.close(ours)
    return running.wait(timeout=60), seen.decode()


def test_head_and_foot_are_asked_for_under_the_picture_with_the_bed_on_it(
    site: SiteFolder, by_tape: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "bed.png"
    status, seen = in_a_terminal([*by_tape, "--picture", str(kept)], site.root, "y\n")
    assert status == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines()
    cells = [number for number, line in enumerate(lines) if "▀" in line]
    assert len(cells) > 15 and max(len(lines[number]) for number in cells) < 80
    picture = "\n".join(lines[number] for number in cells)
    assert "HEAD" in picture and "FOOT" in picture
    assert "Is that right?" in "\n".join(lines[cells[-1] :])
    assert "38;2;255;215;0" in seen  # the bed's outline
    assert calibrations.rows(site, 1)[0].confirmed

    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    drawn = cv2.imread(str(kept))
    assert drawn is not None and drawn.shape == (LENS.height, LENS.width, 3)
    assert (np.abs(drawn.astype(int) - [0, 200, 255]).max(axis=2) < 60).sum() > 200  # its outline again
    looks = [row.reason for row in audit.rows(site) if row.what == "camera.look"]
    assert looks == [
        "the bed drawn on the picture: by command", "the bed drawn on the picture, kept in bed.png: by command",
        "to calibrate: manual: by command",
    ]  # fmt: skip


def test_where_nobody_sits_no_picture_is_drawn_and_nothing_is_confirmed(site: SiteFolder, by_tape: list[str]) -> None:
    assert main(["--home", str(site.root), *by_tape]) == 0
    assert not calibrations.rows(site, 1)[0].confirmed
    assert [row.what for row in audit.rows(site)] == ["calibration.keep", "camera.look"]
