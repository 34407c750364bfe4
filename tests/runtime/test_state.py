"""What a screen says of the live path: LIVE is said of nothing but what the camera beside the bed sees now."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any, get_args

import numpy as np
import pytest

from runtime.capture.source import CaptureSource, make_source, origin_of
from runtime.frames import Origin
from runtime.message import live_message, state_of
from runtime.overlay import draw_skeletons, skeleton_on_neutral
from runtime.skeleton import Skeletons
from runtime.state import STALE_S, LiveState, not_this_bed, people_words
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "runtime" / "display" / "page" / "verdict.js").read_text()


@pytest.mark.parametrize("origin", sorted(set(get_args(Origin)) - {"camera"}) + ["something new"])
def test_nothing_but_a_camera_is_ever_live(origin: Any) -> None:
    state = LiveState("live", 0.1, origin)
    assert state.fresh and not state.live
    assert state.headline().startswith(not_this_bed(origin)) and "NOT" in not_this_bed(origin)
    assert not re.search(r"^LIVE", state.headline())


def test_a_state_of_which_nobody_said_what_it_shows_is_not_live() -> None:
    assert not LiveState("live", 0.1).live
    assert LiveState("live", 0.1, "camera").headline() == "LIVE  0.1 s"


def test_a_pause_says_by_whom_and_since_when() -> None:
    words = "paused by anna since 28 Nov 14:05"
    assert LiveState("paused", paused=words).headline() == "PAUSED by anna since 28 Nov 14:05"


def test_nobody_detected_is_not_nobody_there() -> None:
    assert [people_words(n) for n in range(3)] == ["nobody detected", "1 person drawn", "2 people drawn"]


@pytest.mark.parametrize("origin", get_args(Origin))
def test_the_page_says_the_same_words(origin: Origin) -> None:
    assert json.dumps(not_this_bed(origin)) in PAGE


def test_the_page_counts_people_in_the_same_words() -> None:
    for words in ("nobody detected", "1 person drawn", " people drawn"):
        assert words in PAGE


@pytest.mark.parametrize(
    ("spec", "origin"),
    [
        ("simulated", "simulation"),
        ("simulated:empty", "simulation"),
        ("recording:/x.mkv", "recording"),
        ("video:/photographs", "recording"),
        ("kinect", "camera"),
        ("video:0", "camera"),
        ("video:rtsp://127.0.0.1/x", "camera"),
    ],
)
def test_every_shipped_source_says_what_its_pictures_are_of(spec: str, origin: Origin) -> None:
    assert origin_of(make_source(spec)) == origin


def test_a_source_that_declares_nothing_is_not_taken_for_a_camera() -> None:
    class Silent(CaptureSource):
        name, live = "silent", True

    assert origin_of(Silent()) == "unknown"  # type: ignore[abstract]


def test_a_simulated_picture_bears_the_warning_over_it() -> None:
    picture = np.full((240, 320, 3), 128, np.uint8)
    drawn = draw_skeletons(picture, Skeletons.empty(), origin="simulation")
    assert (drawn != picture).any()
    np.testing.assert_array_equal(draw_skeletons(picture, Skeletons.empty(), origin="camera"), picture)


def test_a_simulated_skeleton_is_framed_in_the_colour_of_a_warning() -> None:
    live, simulated = (
        skeleton_on_neutral((320, 240), Skeletons.empty(), LiveState("live", 0.0, origin))
        for origin in ("camera", "simulation")
    )
    assert (live[-1] != simulated[-1]).all(axis=None)


def test_how_old_a_live_picture_may_be_travels_in_the_message() -> None:
    said = live_message("live") | {"captured_at": 100.0, "origin": "camera"}
    assert said["stale_s"] == STALE_S
    for allowed in (0.5, 3.0):
        said["stale_s"] = allowed
        assert state_of(said, now_s=100.0 + allowed - 0.01).live
        assert not state_of(said, now_s=100.0 + allowed + 0.01).fresh


# What the page says 0.45 s and 0.7 s after a message came and after its picture was new, where a picture may be so old
# and so long without a successor, or nobody said how old.
VERDICTS = """
const source = "data:text/javascript," + encodeURIComponent(require("fs").readFileSync(0, "utf8"));
import(source).then(({ verdict }) => {
  const says = ([stale_s, gap_s], heardAt, now) => {
    const message = { state: "live", origin: "camera", people: [{}], stale_s, gap_s };
    return verdict({ message, heardAt, newAt: 1000, capturedAt: 1000 }, "", now).state;
  };
  const allowed = [[1, 0.5], [0.4, 0.5], [1, 0.9], [undefined, 0.5], [1, undefined]];
  console.log(JSON.stringify(allowed.map((ages) => [says(ages, 1000, 1450), says(ages, 1650, 1700)])));
});
"""


def test_the_page_goes_by_the_age_that_the_message_allows() -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed (apt install nodejs)")
    asked = subprocess.run([node, "-e", VERDICTS], input=PAGE, capture_output=True, text=True, check=True)
    assert json.loads(asked.stdout) == [
        ["live", "lost"],  # stale within half a second of the last new picture
        ["lost", "lost"],
        ["live", "live"],
        ["lost", "lost"],
        ["lost", "lost"],
    ]
