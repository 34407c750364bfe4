"""People put into photographs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.engines.engine import open_engine
from runtime.model_info import ModelInfo
from synth.backdrop import check_backdrops
from synth.sample import make_sample
from synth.scenario import NAMED, Scenario
from synth.ward.find_beds import find_beds
from synth.ward.photographs import BEDS, photographs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two plain photographs: blue noise and green noise; the bed of the second is known."""
    rng = np.random.default_rng(0)
    for name, tint in (("blue.jpg", (200, 90, 60)), ("green.png", (60, 190, 80))):
        picture = np.clip(rng.normal(tint, 12, (400, 600, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / BEDS).write_text(json.dumps({"green.png": [150, 180, 300, 200]}))
    return tmp_path


def scenario(folder: Path, **changes: object) -> Scenario:
    return Scenario.model_validate(
        NAMED["C"].model_dump() | {"backgrounds": str(folder), "background_share": 1.0} | changes
    )


def test_the_photograph_shows_wherever_nobody_is(folder: Path) -> None:
    for index in range(4):
        color = make_sample(scenario(folder), 1, index).color.astype(float)
        blue = (color[..., 2] > 1.3 * color[..., 0]) & (color[..., 2] > 1.3 * color[..., 1])
        green = (color[..., 1] > 1.3 * color[..., 0]) & (color[..., 1] > 1.3 * color[..., 2])
        assert max(blue.mean(), green.mean()) > 0.35


def test_a_known_bed_is_taken_from_beside_the_photographs(folder: Path) -> None:
    assert [(Path(p.path).name, p.known) for p in photographs(str(folder))] == [
        ("blue.jpg", False),
        ("green.png", True),
    ]


def test_people_are_labelled_where_they_are_drawn(folder: Path) -> None:
    sample = make_sample(scenario(folder, patient_share=1.0), 1, 2, segmentation=True)
    assert sample.annotations
    for annotation in sample.annotations:
        x, y, width, height = annotation["bbox"]
        assert 0 <= x < x + width <= 640 and 0 <= y < y + height <= 360


@pytest.mark.parametrize("content", [b"", b"no picture", "cut off"])
def test_a_broken_picture_is_named_before_any_work(folder: Path, content: bytes | str) -> None:
    whole = (folder / "blue.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(WardposeError, match=r"torn\.jpg: (is no|the) picture"):
        check_backdrops(scenario(folder))


def test_an_empty_folder_and_a_missing_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="holds no photograph"):
        check_backdrops(scenario(tmp_path))
    with pytest.raises(WardposeError, match="no such folder"):
        check_backdrops(scenario(tmp_path / "nowhere"))


def test_a_list_of_beds_that_is_none_is_told(folder: Path) -> None:
    (folder / BEDS).write_text('{"green.png": [1, 2]}')
    with pytest.raises(WardposeError, match=r"beds\.json: the bed of 'green\.png' is not x, y, width, height"):
        check_backdrops(scenario(folder))


def test_photographs_of_the_shared_data_take_people(shared_data: Path) -> None:
    sample = make_sample(scenario(shared_data / "backgrounds" / "images", patient_share=1.0), 4, 0)
    assert sample.annotations and np.ptp(sample.color) > 100


def test_a_detector_of_cocos_classes_finds_the_bed(shared_data: Path, tmp_path: Path) -> None:
    weights = tmp_path / "yolox.onnx"
    weights.write_bytes((shared_data / "weights" / "yolox_nano.onnx").read_bytes())
    (tmp_path / "yolox.onnx.json").write_text(
        json.dumps(
            {"name": "yolox", "task": "detect", "layout": "yolox", "width": 416, "height": 416, "std": [1, 1, 1],
             "channels": "bgr", "letterbox": "top-left", "classes": 80}
        )
    )  # fmt: skip
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    name = "000000373381.jpg"  # the data's list says that it shows a bed
    (pictures / name).write_bytes((shared_data / "backgrounds" / "images" / name).read_bytes())
    found = find_beds(pictures, open_engine(weights, prefer="onnxruntime-cpu"))
    height, width = cv2.imread(str(pictures / name)).shape[:2]
    x, y, box_width, box_height = found[name]
    assert box_width * box_height > 0.1 * width * height and x + box_width <= width + 1 and y + box_height <= height + 1
    (photograph,) = photographs(str(pictures))
    assert photograph.known and list(photograph.bed) == found[name]


def test_a_detector_of_people_alone_is_told(folder: Path) -> None:
    class Engine:
        name, why = "test", ()
        info = ModelInfo(name="people", task="detect", layout="yolo", width=64, height=64)

        def run(self, batch: np.ndarray) -> list[np.ndarray]:
            raise AssertionError("not asked")

    with pytest.raises(WardposeError, match="knows 1 classes"):
        find_beds(folder, Engine())
