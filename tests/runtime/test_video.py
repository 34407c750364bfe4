"""Photographs, videos and cameras play as sources; what is broken is named."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from runtime.capture.source import EndOfStream, StaleFrame, VideoConfig, make_source
from runtime.capture.video import VideoSource
from runtime.frames import Frame
from tests.fuzz import broken_bytes


def source_of(path: Path | str, **options: object) -> VideoSource:
    return VideoSource(VideoConfig(path=str(path), **{"realtime": False, **options}))  # type: ignore[arg-type]


def play(source: VideoSource) -> list[Frame]:
    frames = []
    with source, contextlib.suppress(EndOfStream):
        while True:
            frames.append(source.read())
    return frames


def picture(value: int = 90, size: tuple[int, int] = (40, 60)) -> NDArray[np.uint8]:
    image = np.full((*size, 3), value, dtype=np.uint8)
    image[:10, :20] = (250, 10, 10)  # red, upper left
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (2, 0, 1):
        Image.fromarray(picture(60 * number)).save(tmp_path / f"photo-{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def make_video(path: Path, count: int = 10, rate: int = 10) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        for number in range(count):
            image = np.full((48, 64, 3), 20 * number + 20, dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def test_the_real_photographs_play_by_name_as_another_decoder_sees_them(shared_data: Path) -> None:
    folder = shared_data / "photos" / "images"
    paths = sorted(folder.glob("*.jpg"))[:8]
    with source_of(folder) as source:
        for number, path in enumerate(paths):
            frame = source.read()
            expected = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
            assert frame.index == number
            assert frame.color.shape == expected.shape
            assert np.abs(frame.color.astype(int) - expected).mean() < 1.0


def test_a_folder_plays_in_order_and_ends(folder: Path) -> None:
    frames = play(source_of(folder, photos_per_s=4))
    assert [int(frame.color[30, 30, 0]) for frame in frames] == [0, 60, 120]
    assert [frame.timestamp_s for frame in frames] == [0.0, 0.25, 0.5]
    assert {frame.source for frame in frames} == {f"video:{folder.name}"}


def test_a_folder_loops(folder: Path) -> None:
    with source_of(folder, loop=True, photos_per_s=2) as source:
        frames = [source.read() for _ in range(7)]
    assert [int(frame.color[30, 30, 0]) for frame in frames] == [0, 60, 120, 0, 60, 120, 0]
    assert [frame.timestamp_s for frame in frames] == [0.5 * n for n in range(7)]
    assert [frame.index for frame in frames] == list(range(7))


def test_real_time_paces_a_folder(folder: Path) -> None:
    with source_of(folder, realtime=True, photos_per_s=2) as source:
        source.read()
        with pytest.raises(StaleFrame):
            source.read(timeout_s=0.05)
        assert source.read(timeout_s=5.0).index == 1


def test_a_broken_photograph_is_skipped_and_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "photo-1.png").write_bytes((folder / "photo-1.png").read_bytes()[:60])
    (folder / "photo-1b.jpg").write_text("no JPEG at all")
    source = source_of(folder)
    assert len(play(source)) == 2
    assert [path.name for path in source.skipped] == ["photo-1.png", "photo-1b.jpg"]
    assert "photo-1.png" in caplog.text


def test_a_folder_of_broken_photographs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(WardposeError, match="no picture in it can be read"):
        source_of(tmp_path).open()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="holds no photograph"):
        source_of(tmp_path).open()


def test_one_photograph_is_one_frame(folder: Path) -> None:
    frames = play(source_of(folder / "photo-1.png"))
    assert len(frames) == 1
    np.testing.assert_array_equal(frames[0].color, picture(60))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xd8\xff\xe0 cut off"])
def test_a_broken_single_photograph_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(WardposeError, match=r"broken\.jpg"):
        source_of(path).open()


def test_a_cut_off_jpeg_is_refused_rather_than_shown_half_grey(shared_data: Path, tmp_path: Path) -> None:
    whole = sorted((shared_data / "photos" / "images").glob("*.jpg"))[0].read_bytes()
    path = tmp_path / "half.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WardposeError, match="damaged"):
        read_photograph(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_held_camera_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = picture()
    # Golden: the EXIF standard's table of how the stored rows and columns relate to the scene.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "held.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(play(source_of(path))[0].color, upright)


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 6), 77, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((5, 6, 4), 99, np.uint8), "RGBA").save(tmp_path / "rgba.png")
    for frame in play(source_of(tmp_path)):
        assert frame.color.shape == (5, 6, 3)


def test_a_video_plays_with_its_times(tmp_path: Path) -> None:
    frames = play(source_of(make_video(tmp_path / "clip.mp4")))
    assert len(frames) == 10
    assert np.diff([frame.timestamp_s for frame in frames]) == pytest.approx(np.full(9, 0.1), abs=0.002)
    assert [frame.color.mean() for frame in frames] == pytest.approx([20 * n + 20 for n in range(10)], abs=6)


def test_a_videos_colours_are_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        image = np.zeros((48, 64, 3), dtype=np.uint8)
        image[..., 0] = 230
        out.mux([*stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")), *stream.encode(None)])
    red, green, blue = play(source_of(path))[0].color.mean(axis=(0, 1))
    assert red > 200 and green < 40 and blue < 40


def test_a_video_whose_pictures_change_their_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changing.mjpeg"
    sizes = [(48, 64)] * 3 + [(96, 128)] * 3
    path.write_bytes(b"".join(cv2.imencode(".jpg", np.zeros((*size, 3), np.uint8))[1].tobytes() for size in sizes))
    with make_source(f"video:{path}#realtime=false") as source:
        for _ in range(3):
            assert source.read().color.shape == (48, 64, 3)
        with pytest.raises(WardposeError, match="from 64×48 to 128×96"):
            source.read()


def test_a_video_held_upright_plays_upright(tmp_path: Path) -> None:
    path = tmp_path / "held.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32] = 255  # what stands above once it is turned
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    turned = path.read_bytes()
    at = turned.index(b"tkhd") + 4 + 40  # version 0: the matrix stands 40 bytes behind the name
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(turned[:at] + quarter + turned[at + 36 :])
    with make_source(f"video:{path}#realtime=false") as source:
        color = source.read().color
    assert color.shape == (64, 48, 3)
    assert color[:28].mean() > 240 and color[36:].mean() < 15
    assert np.abs(cv2.VideoCapture(str(path)).read()[1].astype(int) - color).mean() < 5  # OpenCV turns it the same way


def test_a_cut_off_video_plays_what_is_whole(tmp_path: Path) -> None:
    data = make_video(tmp_path / "clip.mkv", count=10).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) * 3 // 4])
    assert 0 < len(play(source_of(path))) < 10


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(WardposeError, match="no video that can be played"):
        source_of(path).open()


def test_an_absent_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no such file or folder"):
        source_of(tmp_path / "none.mp4").open()


def test_a_source_opens_again_after_a_failure(tmp_path: Path) -> None:
    source = source_of(tmp_path / "later.png")
    with pytest.raises(WardposeError):
        source.open()
    Image.fromarray(picture()).save(tmp_path / "later.png")
    assert len(play(source)) == 1
    assert len(play(source)) == 1


def test_an_absent_usb_camera_is_refused() -> None:
    source = make_source("video:97")
    assert source.live
    with pytest.raises(WardposeError, match="no camera answers there"):
        source.open()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every container one, with few pictures."""
    folder = tmp_path_factory.mktemp("videos")
    for ending in ("mp4", "mkv", "avi"):
        make_video(folder / f"a.{ending}")
    return folder


@settings(max_examples=80, deadline=None)
@given(data=st.data(), ending=st.sampled_from(["mp4", "mkv", "avi"]))
def test_a_damaged_video_plays_or_says_why_in_one_line(videos: Path, data: st.DataObject, ending: str) -> None:
    broken = data.draw(broken_bytes((videos / f"a.{ending}").read_bytes()))
    with tempfile.NamedTemporaryFile(suffix=f".{ending}") as file:
        Path(file.name).write_bytes(broken)
        try:
            frames = play(source_of(file.name, realtime=False))
        except WardposeError as error:
            assert "\n" not in str(error)
        else:
            assert frames and all(frame.color.ndim == 3 for frame in frames)
