"""Skeletons over time: what is written is what was said, and the field's own programs read it."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ezc3d
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import WardposeError
from runtime.motion.c3d_file import write_c3d
from runtime.motion.motion import Motion
from runtime.motion.parquet_file import SkeletonWriter, read_motion
from runtime.motion.tables import write_bids, write_csv
from runtime.skeleton import KEYPOINTS

BEGAN = "2026-11-28T12:00:00+00:00"


def _person(number: int, at: float, *, lifted: bool = True) -> dict[str, Any]:
    joints = [[10.0 * joint + at, 5.0 * joint + number, 0.5] for joint in range(17)]
    metres = [None if joint == 0 else [0.1 * joint, at, float(number), 0.02] for joint in range(17)]
    return {
        "id": number, "role": "patient" if number == 1 else "unknown", "place": "in-bed" if number == 1 else None,
        "box": [1.0, 2.0, 3.0, 4.0], "score": 0.9, "keypoints": joints, "joints_m": metres if lifted else [],
        "age_s": 0.0,
    }  # fmt: skip


def _message(at: float, people: list[dict[str, Any]], state: str = "live") -> dict[str, Any]:
    return {"state": state, "captured_at": 50 + at, "people": people}


def _written(folder: Path, messages: list[dict[str, Any]]) -> Path:
    stream = io.BytesIO()
    writer = SkeletonWriter(stream, 640, 360, BEGAN, {"reason": "a test"})
    for message in messages:
        writer.write(message)
    writer.finish()
    file = folder / "night.parquet"
    file.write_bytes(stream.getvalue())
    return file


@pytest.fixture
def motion(tmp_path: Path) -> Motion:
    """Two seconds at ten frames; who is second is there in every second frame, and somebody is only a box."""
    boxed = _person(9, 0.0) | {"keypoints": []}
    messages = [
        _message(step / 10, [_person(1, step / 10), boxed, *([_person(2, step / 10)] if step % 2 else [])])
        for step in range(20)
    ]
    return read_motion(_written(tmp_path, messages))


def test_a_skeleton_that_was_moved_on_with_its_box_is_not_written_as_seen(tmp_path: Path) -> None:
    messages = [_message(0.0, [_person(1, 0.0)]), _message(0.1, [_person(1, 0.0) | {"age_s": 0.1}, _person(2, 0.1)])]
    written = read_motion(_written(tmp_path, messages))
    assert written.person.tolist() == [1, 2]
    np.testing.assert_allclose(written.time_s, [0.0, 0.1])


def test_parquet_holds_what_was_said_and_others_read_it(tmp_path: Path) -> None:
    messages = [
        _message(0.0, [_person(1, 0.0)]),
        _message(0.0, [_person(1, 0.0)]),  # said twice
        _message(0.1, [], "paused"),
        _message(0.2, [_person(1, 0.2), _person(2, 0.2, lifted=False)]),
    ]
    file = _written(tmp_path, messages)
    table = pd.read_parquet(file)
    assert table["time_s"].tolist() == pytest.approx([0, 0.2, 0.2])
    assert table["person"].tolist() == [1, 1, 2]
    assert table["role"].tolist() == ["patient", "patient", ""]
    assert table["left_wrist_x"].tolist() == pytest.approx([90, 90.2, 90.2])
    assert table["nose_x_m"].isna().all()
    assert table["left_eye_x_m"].tolist()[:2] == pytest.approx([0.1, 0.1])
    assert np.isnan(table["left_eye_x_m"][2])
    metadata = pyarrow.parquet.read_metadata(file).metadata
    assert metadata is not None
    assert (metadata[b"wardpose_reason"], metadata[b"wardpose_width"]) == (b"a test", b"640")
    # No column could hold a picture: numbers and two words a row.
    kinds = set(table.dtypes.astype(str))
    assert kinds <= {"float64", "float32", "int64", "str", "object", "string"}


@settings(max_examples=15)
@given(
    times=st.lists(st.integers(0, 10**5), min_size=1, max_size=8, unique=True).map(sorted),
    numbers=st.lists(st.integers(1, 2**40), min_size=1, max_size=3, unique=True),
)
def test_whatever_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], numbers: list[int]
) -> None:
    messages = [_message(at / 1000, [_person(number, at) for number in numbers]) for at in times]
    found = read_motion(_written(tmp_path_factory.mktemp("motion"), messages))
    assert found.people == sorted(numbers)
    np.testing.assert_allclose(found.time_s, np.repeat(np.array(times) - times[0], len(numbers)) / 1000, atol=1e-9)
    expected = np.array([p["keypoints"] for m in messages for p in m["people"]], np.float32)
    np.testing.assert_array_equal(found.joints, expected)
    assert (found.width, found.height, found.began) == (640, 360, BEGAN)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table"])
def test_what_is_no_recording_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.parquet"
    file.write_bytes(content)
    with pytest.raises(WardposeError, match="can't be read as skeletons"):
        read_motion(file)
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(WardposeError, match="version none"):
        read_motion(file)


def test_a_motion_laboratory_reads_the_c3d(motion: Motion, tmp_path: Path) -> None:
    write_c3d(motion, tmp_path / "night.c3d")
    found = ezc3d.c3d(str(tmp_path / "night.c3d"))
    point = found["parameters"]["POINT"]
    labels = [f"P{person}_{joint}" for person in (1, 2) for joint in KEYPOINTS]
    assert [label.strip() for label in point["LABELS"]["value"]] == labels
    assert (point["UNITS"]["value"], point["RATE"]["value"][0]) == (["m"], 10)
    assert found["header"]["points"]["size"] == 34
    assert (found["header"]["points"]["first_frame"], found["header"]["points"]["last_frame"]) == (0, 19)
    points = found["data"]["points"]
    assert points.shape == (4, 34, 20)
    wrist = labels.index("P1_left_wrist")
    np.testing.assert_allclose(points[:3, wrist].T, [[0.9, step / 10, 1.0] for step in range(20)], atol=1e-6)
    assert np.isnan(points[:3, labels.index("P1_nose")]).all()  # which was not measured
    second = np.isfinite(points[0, labels.index("P2_left_wrist")])
    assert second.tolist() == [step % 2 == 1 for step in range(20)]


def test_without_depth_a_c3d_says_that_it_holds_pixels(tmp_path: Path) -> None:
    messages = [_message(step / 30, [_person(4, step / 30, lifted=False)]) for step in range(6)]
    write_c3d(read_motion(_written(tmp_path, messages)), tmp_path / "flat.c3d")
    found = ezc3d.c3d(str(tmp_path / "flat.c3d"))
    assert found["parameters"]["POINT"]["UNITS"]["value"] == ["px"]
    np.testing.assert_allclose(found["data"]["points"][:3, 3, 0], [30, 19, 0])


def test_the_bids_folder_keeps_the_specifications_rules(motion: Motion, tmp_path: Path) -> None:
    """https://bids-specification.readthedocs.io, motion: names, required columns and fields, keywords."""
    folder = tmp_path / "bids"
    files = write_bids(motion, folder)
    assert [file.relative_to(folder).as_posix() for file in files] == [
        f"sub-{person}/motion/sub-{person}_task-ward_tracksys-wardpose_motion.tsv" for person in (1, 2)
    ]
    assert json.loads((folder / "dataset_description.json").read_text()).keys() >= {"Name", "BIDSVersion"}
    assert pd.read_csv(folder / "participants.tsv", sep="\t")["participant_id"].tolist() == ["sub-1", "sub-2"]
    for person, file in zip((1, 2), files, strict=True):
        stem = str(file).removesuffix("_motion.tsv")
        channels = pd.read_csv(f"{stem}_channels.tsv", sep="\t", keep_default_na=False)
        assert list(channels.columns[:5]) == ["name", "component", "type", "tracked_point", "units"]
        assert set(channels["component"]) <= {"x", "y", "z", "n/a"}
        assert set(channels["type"]) <= {"POS", "MISC", "LATENCY"}
        assert channels["name"].is_unique
        levels = json.loads(Path(f"{stem}_channels.json").read_text())["reference_frame"]["Levels"]
        assert set(channels["reference_frame"]) - {"n/a"} == set(levels)
        told = json.loads(Path(f"{stem}_motion.json").read_text())
        assert told.keys() >= {"TaskName", "SamplingFrequency", "TrackingSystemName"}
        assert (told["SamplingFrequency"], told["MotionChannelCount"]) == (10, len(channels))
        for kind in ("POS", "MISC", "LATENCY"):
            assert told[f"{kind}ChannelCount"] == (channels["type"] == kind).sum()
        data = pd.read_csv(file, sep="\t", header=None, na_values=["n/a"])  # which has no header
        assert data.shape == (20, len(channels))
        data.columns = pd.Index(channels["name"])
        np.testing.assert_allclose(data["latency"], np.arange(20) / 10, atol=1e-6)
        assert data["left_wrist_z"].dropna().unique().tolist() == [person]
        scans = pd.read_csv(folder / f"sub-{person}/sub-{person}_scans.tsv", sep="\t")
        assert (folder / f"sub-{person}" / scans["filename"][0]) == file
    with pytest.raises(WardposeError, match="something in it"):
        write_bids(motion, folder)


def test_of_two_exports_into_one_folder_at_once_one_is_whole_and_the_other_refused(
    motion: Motion, tmp_path: Path
) -> None:
    """Else one person's files could stand beside another's."""
    folder, ready = tmp_path / "bids", threading.Barrier(2)

    def write(person: int) -> list[Path] | WardposeError:
        ready.wait()
        try:
            return write_bids(motion.of(person), folder)
        except WardposeError as error:
            return error

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(write, (1, 2)))
    (refused,) = [answer for answer in answers if isinstance(answer, WardposeError)]
    assert "is here already" in str(refused) or "something in it" in str(refused)
    (written,) = [answer for answer in answers if not isinstance(answer, WardposeError)]
    assert [path.parent.parent for path in written] == list(folder.glob("sub-*"))
    assert folder.stat().st_mode & 0o077 == 0 and not list(tmp_path.glob(".bids*"))


def test_the_csv_has_a_row_a_joint(motion: Motion, tmp_path: Path) -> None:
    write_csv(motion.of(2), tmp_path / "night.csv")
    table = pd.read_csv(tmp_path / "night.csv")
    assert len(table) == 10 * 17
    wrists = table[table["joint"] == "left_wrist"]
    np.testing.assert_allclose(wrists["y_m"], wrists["time_s"], atol=1e-6)
    assert set(table["person"]) == {2}
    with pytest.raises(WardposeError, match="person 7 is not in it"):
        motion.of(7)


def test_nobody_is_no_motion_file(tmp_path: Path) -> None:
    empty = read_motion(_written(tmp_path, [_message(0.0, [])]))
    for write in (write_c3d, write_bids):
        with pytest.raises(WardposeError, match="nobody in it"):
            write(empty, tmp_path / "out")
