"""What describes a room, beds in photographs and plates of the empty bed: read right, or told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from calibration.bed import Bed
from calibration.errors import WardposeError
from calibration.plate import DESCRIPTION, Plate, load_plate, save_plate
from calibration.viewpoint import Viewpoint
from synth.scenario import KINECT_COLOR
from synth.ward.photographs import BEDS, photographs
from tests.fuzz import broken_bytes, damaged

BED = {"a.png": [4.0, 6.0, 30.0, 20.0], "b.png": [1, 1, 20, 20]}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("room")
    for name in BED:
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / name)
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_list_of_beds_is_beds_or_one_line(room: Path, data: st.DataObject) -> None:
    content = json.dumps(data.draw(damaged(BED))).encode()
    (room / BEDS).write_bytes(data.draw(broken_bytes(content)) if data.draw(st.booleans()) else content)
    photographs.cache_clear()
    try:
        found = photographs(str(room))
    except WardposeError as error:
        assert str(room) in str(error) and "\n" not in str(error)
        return
    assert len(found) == 2
    for each in found:
        x, y, width, height = each.bed
        assert np.isfinite(each.bed).all() and width > 0 and height > 0 and x < 60 and y < 40


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plate") / "now"
    camera = KINECT_COLOR.resized(64, 36)
    save_plate(
        Plate(
            color=np.full((36, 64, 3), 90, np.uint8), depth=np.full((36, 64), 2000, np.uint16),
            measured=np.ones((36, 64), bool), camera=camera, camera_from_bed=Viewpoint(40, 30, 2.5).camera_from_bed,
            bed=Bed(), calibration="x", noise=1.0, captured_at="2026-01-01T00:00:00+00:00",
            expires_at="2036-01-01T00:00:00+00:00",
        ),
        folder,
    )  # fmt: skip
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([DESCRIPTION, "color.png", "depth.png", "measured.png"]))
def test_a_damaged_plate_is_a_plate_or_one_line(plate: Path, data: st.DataObject, name: str) -> None:
    whole = (plate / name).read_bytes()
    try:
        if name == DESCRIPTION and data.draw(st.booleans()):
            (plate / name).write_text(json.dumps(data.draw(damaged(json.loads(whole)))))
        else:
            (plate / name).write_bytes(data.draw(broken_bytes(whole)))
        try:
            read = load_plate(plate)
        except WardposeError as error:
            assert "\n" not in str(error)
            return
        assert read.color.shape == (36, 64, 3) and read.depth.shape == read.measured.shape == (36, 64)
        assert np.isfinite(read.camera_from_bed).all() and np.isfinite(read.noise)
    finally:
        (plate / name).write_bytes(whole)
