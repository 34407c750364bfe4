"""One pause a site: it holds for whoever reads pixels, outlives everything, and only a named act ends it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from calibration.errors import WardposeError
from runtime.capture.ring import RingReader, RingWriter, blank_ring, ring_path
from runtime.capture.source import open_source
from runtime.frames import Frame
from runtime.pause import Paused, PauseSwitch
from tests.conftest import REPOSITORY

MARK = 0xA7  # no other byte of a ring is likely to be this often


@pytest.fixture
def pause(tmp_path: Path) -> PauseSwitch:
    return PauseSwitch(tmp_path / "pause.json")


@pytest.fixture
def ring() -> Iterator[str]:
    name = f"test-{secrets.token_hex(6)}"
    yield name
    for path in ring_path(name).parent.glob(f"*wardpose-{name}*"):
        path.unlink()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Pictures of one colour, so that any of their pixels is found again in memory."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((90, 120, 3), MARK, np.uint8)).save(folder / f"{number}.png")
    return folder


def frame(index: int = 0) -> Frame:
    return Frame(np.full((90, 120, 3), MARK, np.uint8), time.monotonic(), index, "test")


def pixels_in(name: str) -> int:
    """How many of the marked bytes lie in the ring's memory."""
    return ring_path(name).read_bytes().count(bytes([MARK] * 16))


def until(condition: Any, timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.02)


def test_a_pause_says_by_whom_and_since_when_and_what_ends_it(pause: PauseSwitch) -> None:
    pause.require_off()
    pause.set("anna", "washing the patient")
    with pytest.raises(Paused, match=r"paused by anna since .* \(washing the patient\); `wardpose resume` lifts it"):
        pause.require_off()
    assert PauseSwitch(pause.path).state() == pause.state()


def test_a_second_pause_leaves_the_first_one_as_it_is(pause: PauseSwitch) -> None:
    first = pause.set("anna")
    assert pause.set("bert") == first


def test_lifting_what_is_not_paused_does_nothing_and_leaves_no_trace(pause: PauseSwitch) -> None:
    assert pause.lift("anna") is None
    assert not pause.journal.exists()


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_whatever_stands_in_the_file_is_a_pause(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    pause = PauseSwitch(tmp_path_factory.mktemp("pause") / "pause.json")
    pause.path.write_bytes(content)
    assert pause.active
    held = pause.state()
    assert held is not None and held.words().startswith("paused by ")
    assert pause.lift("anna") is not None
    assert not pause.active


@pytest.mark.parametrize(
    "values", [{"by": 3, "since": [], "reason": None}, {"by": "x", "since": "yesterday", "reason": ""}, [], "x", 7]
)
def test_json_that_is_no_pause_of_ours_is_one_all_the_same(pause: PauseSwitch, values: Any) -> None:
    pause.path.write_text(json.dumps(values))
    with pytest.raises(Paused):
        pause.require_off()


def test_a_folder_or_a_dangling_link_in_its_place_is_a_pause(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert PauseSwitch(tmp_path / "folder").active and PauseSwitch(tmp_path / "link").active


def test_a_disk_without_room_for_a_line_still_pauses(pause: PauseSwitch) -> None:
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom runtime.pause import PauseSwitch\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nPauseSwitch(Path(sys.argv[1])).set('anna')\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(pause.path)], cwd=REPOSITORY, check=False).returncode == 0
    assert pause.active


def test_each_pause_and_resume_is_handed_over_once_in_order(pause: PauseSwitch) -> None:
    pause.set("the page")
    pause.lift("anna", "done")
    pause.set("bert", "visit")
    told: list[dict[str, Any]] = []
    assert pause.hand_over(told.append) == 3
    assert [(deed["what"], deed["by"]) for deed in told] == [
        ("pause", "the page"),
        ("resume", "anna"),
        ("pause", "bert"),
    ]
    assert pause.hand_over(told.append) == 0


def test_what_could_not_be_kept_is_handed_over_again(pause: PauseSwitch) -> None:
    pause.set("anna")
    pause.lift("anna")
    told: list[str] = []

    def keep(deed: dict[str, Any]) -> None:
        if told:
            raise WardposeError("the disk is full")
        told.append(deed["what"])

    with pytest.raises(WardposeError):
        pause.hand_over(keep)
    pause.hand_over(lambda deed: told.append(deed["what"]))
    assert told == ["pause", "resume"]


def test_half_a_line_left_by_a_power_cut_costs_no_other(pause: PauseSwitch) -> None:
    pause.set("anna")
    with pause.journal.open("ab") as stream:
        stream.write(b'{"what": "resu')
    pause.lift("bert")
    told: list[str] = []
    pause.hand_over(lambda deed: told.append(deed["by"]))
    assert told == ["anna", "bert"]


def test_a_source_is_not_opened_while_paused(pause: PauseSwitch, photographs: Path) -> None:
    pause.set("anna")
    with pytest.raises(Paused, match="paused by anna"):
        open_source(f"video:{photographs}", pause)


def test_a_pause_between_two_frames_stops_the_reader(pause: PauseSwitch, photographs: Path) -> None:
    with open_source(f"video:{photographs}#realtime=false", pause) as source:
        source.read()
        pause.set("anna")
        with pytest.raises(Paused):
            source.read()


def test_a_ring_of_a_paused_site_takes_no_frame_and_gives_none(pause: PauseSwitch, ring: str) -> None:
    with RingWriter(ring, pause) as writer, RingReader(ring) as reader:
        writer.write(frame())
        assert reader.read_latest().index == 0
        pause.set("anna")
        for look in (lambda: writer.write(frame(1)), reader.read_latest, reader.read_next):
            with pytest.raises(Paused, match="paused by anna"):
                look()
        pause.lift("anna")
        writer.write(frame(2))
        assert reader.read_next().index == 2


def test_a_blanked_ring_holds_no_pixel_and_says_that_no_frame_is_there(ring: str) -> None:
    with RingWriter(ring) as writer, RingReader(ring) as reader:
        for index in range(6):
            writer.write(frame(index))
        assert pixels_in(ring) > 0
        writer.blank()
        assert pixels_in(ring) == 0
        with pytest.raises(WardposeError, match="no frame yet"):
            reader.read_latest()
        writer.write(frame(6))
        assert reader.read_next().index == 6


def test_the_ring_of_a_killed_writer_is_blanked_by_whoever_pauses(ring: str) -> None:
    code = (
        "import os, sys, time, numpy as np\nfrom runtime.capture.ring import RingWriter\n"
        "from runtime.frames import Frame\nw = RingWriter(sys.argv[1])\n"
        f"w.write(Frame(np.full((90, 120, 3), {MARK}, np.uint8), time.monotonic(), 0, 'x'))\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, ring], cwd=REPOSITORY, check=False)
    assert pixels_in(ring) > 0
    blank_ring(ring)
    assert pixels_in(ring) == 0
    blank_ring(f"{ring}-none")


def test_the_capture_process_closes_the_camera_and_leaves_no_pixel(
    pause: PauseSwitch, ring: str, photographs: Path
) -> None:
    command = [sys.executable, "-m", "runtime.capture.process", "--ring", ring, "--pause-file", str(pause.path)]
    source = f"video:{photographs}#loop=true&photos_per_s=30"
    process = subprocess.Popen([*command, "--source", source], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    reader = RingReader(ring)
    try:
        until(lambda: reader.status().frames > 3)
        assert pixels_in(ring) > 0
        pause.set("anna")
        until(lambda: "the camera is closed" in reader.status().message)
        status = reader.status()
        assert status.state == "paused" and "paused by anna since" in status.message
        assert pixels_in(ring) == 0
        assert reader.trouble() == status.message
        time.sleep(0.5)
        assert reader.status().frames == status.frames and pixels_in(ring) == 0
        pause.lift("anna")
        assert reader.read_next(30.0).origin == "recording"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def test_a_camera_that_does_not_answer_keeps_no_picture_either(pause: PauseSwitch, ring: str, tmp_path: Path) -> None:
    (tmp_path / "stuck_source.py").write_text(
        "import time, numpy as np\nfrom runtime.capture.source import CaptureSource\nfrom runtime.frames import Frame\n"
        "class Stuck(CaptureSource):\n"
        "    name, live, origin, count = 'stuck', True, 'camera', 0\n"
        "    @classmethod\n    def from_argument(cls, argument): return cls()\n"
        "    def open(self): pass\n    def close(self): pass\n"
        "    def read(self, timeout_s=1.0):\n        self.count += 1\n        if self.count > 3: time.sleep(600)\n"
        f"        return Frame(np.full((90, 120, 3), {MARK}, np.uint8), time.monotonic(), self.count, self.name)\n"
    )
    described = tmp_path / "stuck_source-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: stuck-source\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[wardpose.capture_sources]\nstuck = stuck_source:Stuck\n")
    command = [sys.executable, "-m", "runtime.capture.process", "--source", "stuck", "--ring", ring]
    process = subprocess.Popen(
        [*command, "--pause-file", str(pause.path)],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ, PYTHONPATH=f"{REPOSITORY}:{tmp_path}"),
    )
    try:
        until(lambda: ring_path(ring).exists() and RingReader(ring).status().frames == 3)
        assert pixels_in(ring) > 0
        pause.set("anna")
        until(lambda: pixels_in(ring) == 0)
    finally:
        process.kill()
        process.wait(10)
