"""Pictures of other depths and colour spaces are scaled rightly, or refused; the same live and in an evaluation."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from calibration.errors import WardposeError
from runtime.capture.photograph import picture_size, read_photograph
from runtime.capture.source import make_source
from runtime.capture.video import camera_rgb
from tests.fuzz import broken_bytes

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
COLOURS = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)], axis=2)


def seen(path: Path) -> NDArray[np.uint8]:
    """The picture by the reader, which is what a source of photographs shows."""
    color = read_photograph(path)
    with make_source(f"video:{path}#realtime=false") as source:
        np.testing.assert_array_equal(source.read().color, color)
    return color


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_grey_of_16_bits_keeps_its_brightness(tmp_path: Path, suffix: str, byte_order: str) -> None:
    """As in python-pillow/Pillow#2574 and #5991 (white after a conversion) and unslothai/unsloth PR#10094 (a TIFF whose
    bytes stand the other way round)."""
    path = tmp_path / f"x.{suffix}"
    Image.fromarray((RAMP.astype(np.uint16) * 257).astype(byte_order)).save(path)
    np.testing.assert_array_equal(seen(path), np.repeat(RAMP[..., None], 3, axis=2))


def test_colours_of_16_bits_keep_theirs(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), (COLOURS[..., ::-1].astype(np.uint16) * 257))
    np.testing.assert_array_equal(seen(tmp_path / "x.png"), COLOURS)


@pytest.mark.parametrize("bits", [8, 10, 11])
def test_fewer_bits_in_16_are_refused_instead_of_shown_black(tmp_path: Path, bits: int) -> None:
    Image.fromarray(RAMP.astype(np.uint16) << (bits - 8)).save(tmp_path / "x.png")
    with pytest.raises(WardposeError, match=r"its 16 bits use no value above \d+"):
        read_photograph(tmp_path / "x.png")


FORMS: dict[str, tuple[str, Any]] = {
    "grey": ("png", Image.fromarray(RAMP)), "black and white": ("png", Image.fromarray(RAMP > 127)),
    "a palette": ("png", Image.fromarray(COLOURS).quantize(64)),
    "CMYK": ("jpg", Image.fromarray(COLOURS).convert("CMYK")),
    "opaque": ("png", Image.fromarray(np.dstack([COLOURS, np.full_like(RAMP, 255)]))),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_other_colours_of_8_bits_are_what_they_look_like(tmp_path: Path, form: str) -> None:
    suffix, image = FORMS[form]
    image.save(tmp_path / f"x.{suffix}")
    color = seen(tmp_path / f"x.{suffix}").astype(int)
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(color - expected).mean() < 6 and color.max() > 240 and color.min() < 15


@pytest.mark.parametrize(
    ("suffix", "image", "says"),
    [
        ("png", Image.fromarray(np.dstack([COLOURS, RAMP])), "partly transparent"),
        ("tif", Image.fromarray(RAMP.astype(np.float32) / 255), "of the kind 'F'"),
        ("tif", Image.fromarray(RAMP.astype(np.int32) * 1000), "of the kind 'I'"),
        ("tif", Image.fromarray(COLOURS).convert("LAB"), "of the kind 'LAB'"),
    ],
)
def test_what_is_black_and_what_is_white_is_not_guessed(tmp_path: Path, suffix: str, image: Any, says: str) -> None:
    image.save(tmp_path / f"x.{suffix}")
    with pytest.raises(WardposeError, match=says):
        read_photograph(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_size_is_that_of_the_picture_as_it_is_looked_at(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOURS).save(tmp_path / "x.jpg", exif=exif)
    size = picture_size(tmp_path / "x.jpg")
    assert (size.height, size.width) == read_photograph(tmp_path / "x.jpg").shape[:2]


VIDEOS = [
    ("ffv1", "gray16le", RAMP.astype(np.uint16) * 257), ("ffv1", "gray10le", RAMP.astype(np.uint16) * 4),
    ("ffv1", "rgb48le", COLOURS.astype(np.uint16) * 257), ("mjpeg", "yuvj420p", COLOURS),
    ("ffv1", "yuv444p16le", COLOURS), ("ffv1", "gbrp10le", COLOURS), ("ffv1", "gray", RAMP),
]  # fmt: skip


def video(path: Path, codec: str, kind: str, picture: NDArray[Any], **options: Any) -> Path:
    source = {2: "gray" if picture.dtype == np.uint8 else kind, 3: "rgb24" if picture.dtype == np.uint8 else kind}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], kind
        for name, value in options.items():
            setattr(stream.codec_context, name, value)
        shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=source[picture.ndim])
        shown = shown.reformat(format=kind)
        shown.pts = 0
        out.mux(stream.encode(shown))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("codec", "kind", "picture"), VIDEOS, ids=[kind for _, kind, _ in VIDEOS])
def test_videos_of_other_depths_keep_their_brightness(
    tmp_path: Path, codec: str, kind: str, picture: NDArray[Any]
) -> None:
    path = video(tmp_path / "x.mkv", codec, kind, picture)
    with make_source(f"video:{path}#realtime=false") as source:
        color = source.read().color
    expected = COLOURS if picture.ndim == 3 else np.repeat(RAMP[..., None], 3, axis=2)
    difference = np.abs(color.astype(int) - expected)
    assert difference.mean() < 4, difference.mean()


def test_an_hdr_video_is_refused_instead_of_shown_dull(tmp_path: Path) -> None:
    path = video(tmp_path / "x.mkv", "ffv1", "yuv420p10le", COLOURS, color_trc=18)
    with pytest.raises(WardposeError, match="HDR screens, PQ or HLG"), make_source(f"video:{path}") as source:
        source.read()


def test_what_a_camera_gives_is_told_by_its_kind() -> None:
    np.testing.assert_array_equal(camera_rgb(COLOURS[..., ::-1].copy(), "cam"), COLOURS)
    grey = np.repeat(RAMP[..., None], 3, axis=2)
    np.testing.assert_array_equal(camera_rgb(RAMP, "cam"), grey)
    np.testing.assert_array_equal(camera_rgb(RAMP[..., None].astype(np.uint16) * 257, "cam"), grey)
    for odd in (COLOURS[..., :2], RAMP.astype(np.float32), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(WardposeError, match="no colours that are known"):
            camera_rgb(odd, "cam")


def encoded(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLOURS).save(content, kind)
    return content.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP"]))
def test_a_damaged_picture_is_a_picture_or_one_line(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(data.draw(broken_bytes(encoded(kind))))
    try:
        color = read_photograph(path)
        size = picture_size(path)
    except WardposeError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return
    assert color.dtype == np.uint8 and color.shape == (size.height, size.width, 3)
