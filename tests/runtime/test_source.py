"""A spec names a source; what is wrong with one is said in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.errors import WardposeError
from calibration.plugins import load_plugin, plugin_names
from runtime.capture.source import (
    CaptureSource,
    RecordingConfig,
    VideoConfig,
    config_from_argument,
    make_source,
    open_source,
    parse_spec,
    split_options,
)


@pytest.mark.parametrize(
    ("spec", "kind", "argument"),
    [
        ("simulated", "simulated", ""),
        ("recording:/data/x.mkv", "recording", "/data/x.mkv"),
        ("video:rtsp://127.0.0.1:554/s", "video", "rtsp://127.0.0.1:554/s"),
        ("kinect#depth=false", "kinect", "#depth=false"),
        ("recording:/a#b:c.mkv", "recording", "/a#b:c.mkv"),
    ],
)
def test_a_spec_is_kind_and_argument(spec: str, kind: str, argument: str) -> None:
    assert parse_spec(spec) == (kind, argument)


@pytest.mark.parametrize("spec", ["", ":", "/data/x.mkv", "./x.mkv", " :x"])
def test_a_spec_without_a_kind_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(WardposeError, match="recording:/path"):
        parse_spec(spec)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(WardposeError, match="kinect, recording, simulated, video"):
        open_source("webcam:0", None)


@given(st.text(max_size=30))
def test_a_path_without_options_stays_as_it_is(path: str) -> None:
    head, options = split_options(path, RecordingConfig)
    assert (head, options) == (path, {}) or set(options) <= set(RecordingConfig.model_fields)


@given(
    st.text(max_size=40)
    | st.builds(
        "{}:{}#{}={}".format, st.sampled_from(["simulated", "video", "recording", "kinect", "x"]), st.text(max_size=20),
        st.sampled_from(["seed", "loop", "width", "photos_per_s", "realtime", "depth", "x"]), st.text(max_size=12),
    )
)  # fmt: skip
def test_whatever_is_given_as_a_source_is_one_or_is_told_in_one_line(spec: str) -> None:
    try:
        make_source(spec)
    except WardposeError as error:
        assert "\n" not in str(error)


def test_a_hash_in_a_file_name_is_no_option() -> None:
    assert split_options("/data/bed#4.mkv", RecordingConfig) == ("/data/bed#4.mkv", {})
    assert split_options("/data/bed#4.mkv#loop=1", RecordingConfig) == ("/data/bed#4.mkv", {"loop": "1"})


def test_options_are_read_and_checked() -> None:
    config = config_from_argument(VideoConfig, "/photos#loop=true&photos_per_s=0.5", "path")
    assert config == VideoConfig(path="/photos", loop=True, photos_per_s=0.5)
    with pytest.raises(WardposeError, match="photos_per_s"):
        config_from_argument(VideoConfig, "/photos#photos_per_s=-1", "path")


def test_a_kind_that_needs_a_path_says_so() -> None:
    with pytest.raises(WardposeError, match="write recording:path"):
        make_source("recording")


@pytest.mark.parametrize(("kind", "argument"), [("recording", "x.mkv"), ("video", "photos"), ("kinect", "0")])
def test_every_source_of_this_floor_keeps_the_contract(kind: str, argument: str) -> None:
    assert kind in plugin_names("capture_sources")
    assert isinstance(load_plugin("capture_sources", kind).from_argument(argument), CaptureSource)


def test_importing_the_contract_is_light() -> None:
    program = (
        "import sys, runtime.capture.source; print([m for m in ('av', 'torch', 'pyk4a', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
