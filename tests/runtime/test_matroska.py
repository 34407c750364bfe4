"""Whatever is written as Matroska is what FFmpeg reads."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.capture.matroska import Attachment, MatroskaWriter, Track, size_bytes


@given(st.integers(0, (1 << 56) - 2))
def test_a_size_is_what_its_leading_bit_says(size: int) -> None:
    coded = size_bytes(size)
    assert (
        len(coded) == 9 - coded[0].bit_length()
    )  # RFC 8794: as many bytes as the first one has leading zeros, and one
    assert int.from_bytes(coded, "big") - (1 << (7 * len(coded))) == size
    assert size_bytes(size, 8)[0] == 1


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
steps = st.lists(st.tuples(st.integers(0, 100_000), st.binary(min_size=1, max_size=300)), min_size=1, max_size=12)


@given(steps=steps, tags=st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{2,12}", fullmatch=True), words, max_size=4),
       attached=st.binary(min_size=1, max_size=500), rate=st.sampled_from([5, 15, 30]))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_ffmpeg_reads_what_was_written(
    steps: list[tuple[int, bytes]], tags: dict[str, str], attached: bytes, rate: int
) -> None:
    file = io.BytesIO()
    tracks = [Track("A", "video", "V_MJPEG", size=(64, 48)), Track("B", "video", "V_MJPEG", size=(32, 24))]
    writer = MatroskaWriter(file, "title", tracks, tags, [Attachment("a.bin", attached)])
    written: list[tuple[int, int, bytes]] = []
    time_us = 0
    for step_us, data in steps:
        time_us += step_us
        for track in (0, 1):
            writer.write(track, time_us, data)
            written.append((track, time_us, data))
    writer.finish(1_000_000_000 // rate)

    file.seek(0)
    with av.open(file, format="matroska") as container:
        assert {name: container.metadata[name] for name in tags} == tags
        assert container.metadata["title"] == "title"
        assert (container.duration or 0) == pytest.approx(time_us, abs=1)
        first, second, attachment = container.streams
        assert [(s.width, s.height) for s in (first, second)] == [(64, 48), (32, 24)]
        assert float(first.average_rate) == pytest.approx(rate, rel=1e-3)
        assert bytes(attachment.data) == attached
        packets = [packet for packet in container.demux(first, second) if packet.size]
        read = [(p.stream_index, round(p.pts * p.time_base * 1_000_000), bytes(p)) for p in packets]
    # FFmpeg itself cuts zeros off the end of a JPEG.
    assert [(track, at, data.rstrip(b"\0")) for track, at, data in read] == [
        (track, at, data.rstrip(b"\0")) for track, at, data in written
    ]


def test_a_late_block_of_another_track_stays_in_its_cluster(tmp_path: Path) -> None:
    with (tmp_path / "late.mkv").open("w+b") as file:
        writer = MatroskaWriter(file, "", [Track("A", "video", "V_MJPEG", size=(8, 8)), Track("I", "data", "S_X")], {})
        writer.write(0, 200_000, b"one")
        writer.write(1, 180_000, b"late")
        writer.finish(200_000_000)
    with av.open(str(tmp_path / "late.mkv")) as container:
        times = {p.stream_index: round(p.pts * p.time_base * 1e6) for p in container.demux() if p.size}
    assert times == {0: 200_000, 1: 180_000}


def test_an_unfinished_file_still_plays(tmp_path: Path) -> None:
    with (tmp_path / "cut.mkv").open("w+b") as file:
        writer = MatroskaWriter(file, "", [Track("A", "video", "V_MJPEG", size=(8, 8))], {"NAME": "value"})
        for index in range(3):
            writer.write(0, 100_000 * index, b"frame%d" % index)
    with av.open(str(tmp_path / "cut.mkv"), format="matroska") as container:
        assert container.metadata["NAME"] == "value"
        assert [bytes(p) for p in container.demux() if p.size] == [b"frame0", b"frame1"]


def test_seeking_finds_the_cluster(tmp_path: Path) -> None:
    with (tmp_path / "long.mkv").open("w+b") as file:
        writer = MatroskaWriter(file, "", [Track("A", "video", "V_MJPEG", size=(8, 8))], {})
        for index in range(50):
            writer.write(0, 100_000 * index, b"frame%02d" % index)
        writer.finish(100_000_000)
    with av.open(str(tmp_path / "long.mkv")) as container:
        container.seek(3_150_000)
        assert bytes(next(container.demux())) == b"frame31"
