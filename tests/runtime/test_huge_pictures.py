"""Every decoder asks how large a picture is before it makes room for it; endless brackets are a mistake of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.hostile_files import huge_picture
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.plate import _read
from runtime.capture.photograph import picture_size, read_photograph
from runtime.capture.recording import decode_jpeg, jpeg_size
from synth.coco_file import read_coco
from synth.ward import photographs


@pytest.mark.parametrize("bound", [None, 178_956_970])
def test_a_picture_of_a_gigapixel_is_refused_by_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int | None
) -> None:
    """Also where another library has taken Pillow's own bound away, as ultralytics does."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
    path = huge_picture(tmp_path / "huge.png")
    for read in (read_photograph, picture_size):
        with pytest.raises(WardposeError, match="too large"):
            read(path)


def test_a_plate_whose_picture_is_larger_than_its_description_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"of 32000×32000 pixels, not 640×480|decompression bomb"):
        _read(huge_picture(tmp_path / "depth.png"), "L", (640, 480))


def test_no_camera_has_pictures_of_a_gigapixel() -> None:
    with pytest.raises(ValueError, match="larger than any camera's"):
        CameraModel(32_000, 32_000, 1e4, 1e4, 16_000, 16_000)


def jpeg(height: int = 48, width: int = 64) -> bytes:
    return cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()


def test_a_frame_says_its_size_in_its_head() -> None:
    whole = jpeg()
    assert jpeg_size(whole) == (64, 48) and decode_jpeg(whole) is not None
    head = whole.index(b"\xff\xc0")
    larger = whole[: head + 5] + (32_000).to_bytes(2) + (32_000).to_bytes(2) + whole[head + 9 :]
    assert jpeg_size(larger) == (32_000, 32_000) and decode_jpeg(larger) is None
    for end in range(head):
        assert jpeg_size(whole[:end]) is None


def test_backgrounds_are_kept_by_what_they_weigh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "_MOST_KEPT_BYTES", 3 * 64 * 48 * 3)
    photographs._KEPT.clear()
    for number in range(6):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(tmp_path / f"{number}.png")
        assert photographs._kept(str(tmp_path / f"{number}.png"))[0, 0, 0] == number
    assert len(photographs._KEPT) == 3
    photographs._KEPT.clear()


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, b"[" * 200_000, "1" * 10_000])
def test_brackets_without_end_are_a_mistake_of_the_file(tmp_path: Path, text: Any) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    (tmp_path / "labels.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WardposeError, match="JSON"):
        read_coco(tmp_path / "labels.json")
    assert parse_json(json.dumps({"a": [1]})) == {"a": [1]}
