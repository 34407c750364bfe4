"""The benchmarks of inference and of the live path give their figures, however large those are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.cli.bench import _models as models_of
from appliance.cli.main import build_parser
from appliance.cli.output import Output
from benchmarks import infer, live, ring
from benchmarks.yardsticks import ultralytics_ms
from synth.simulated_camera import SimulatedCamera
from tests.runtime.onnx_graphs import constant_model, info


def _models(folder: Path) -> tuple[Path, Path]:
    person = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
    detector = constant_model(folder / "detector.onnx", [person], info())
    maps = np.random.default_rng(0).random((17, 8, 8)).astype(np.float32)
    pose = constant_model(folder / "pose.onnx", [maps], info(task="pose", layout="heatmap"))
    return detector, pose


def test_infer_with_one_and_two_threads_for_a_person_known_and_new(tmp_path: Path) -> None:
    detector, pose = _models(tmp_path)
    figures = infer.run(3, detector=detector, pose=pose, threads=1, yardsticks=False)
    assert figures["fps"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    stages = {"detector_ms", "pose_ms", "pose_first_ms"}
    assert figures["engines"]["onnxruntime-cpu"].keys() == stages
    assert list(figures["threads"]) == [1, 2]
    assert all(engines["onnxruntime-cpu"].keys() == stages for engines in figures["threads"].values())
    assert figures["ratio_to_rtmlib"] is None


def test_infer_without_a_pose_model(tmp_path: Path) -> None:
    detector, _ = _models(tmp_path)
    figures = infer.run(2, detector=detector, threads=1, yardsticks=False)
    assert figures["engines"]["onnxruntime-cpu"].keys() == {"detector_ms"}
    assert figures["models"] == {"detector": "tiny", "pose": ""}


def test_a_box_measures_what_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no model was fetched, that is the detector which comes with the product, and no pose model."""
    monkeypatch.setattr("appliance.models.store.FETCHED", tmp_path / "nothing")
    options = build_parser().parse_args(["--home", str(tmp_path / "site"), "bench", "infer"])
    found = models_of(options, Output(as_json=True), ["detector", "pose"])
    assert list(found) == ["detector"] and found["detector"].is_file()
    assert models_of(options, Output(as_json=True), []) == {}


def test_a_yardstick_that_cannot_read_a_layout_is_left_out(tmp_path: Path) -> None:
    frames = infer.drawn_frames(0, 1)
    assert ultralytics_ms(tmp_path / "none.onnx", info(layout="nanodet"), frames, 1) is None


def test_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SWAP_S", 1)
    detector, pose = _models(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(2):
        cv2.imwrite(str(photos / f"{index}.png"), np.full((64, 96, 3), 80 * index, np.uint8))
    source = f"video:{photos}#loop=true&photos_per_s=20"
    figures = live.run(1, source=source, detector=detector, pose=pose, threads=1)
    assert figures["fps"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["rss_gib"] > 0 and figures["cores"] > 0
    assert set(figures["stages_ms"]) == {"detect", "track", "pose", "smooth"}
    assert figures["swap_gap_ms"] > 0
    assert figures["source_fps"] > 0
    assert figures["dropped"] >= 0
    assert figures["four_people"] is None  # of this source alone


def test_the_wards_of_the_live_bench_are_what_it_says() -> None:
    for scene, spec in live.SCENES.items():
        camera = SimulatedCamera.from_argument(spec.partition(":")[2])
        assert (camera.camera.width, camera.camera.height, camera.config.fps) == (640, 360, 30)
        assert camera.config.prepared
        assert camera.config.bystanders == {"one_or_two": 1, "restless": 1, "four": 3}[scene]
        assert (camera.config.sway_px > 0) == (scene == "restless")


def test_the_ring_is_measured_against_a_copy() -> None:
    result = ring.run(frames=3)
    assert result["shown_s"] == {}
    for frame in ("color", "color_depth_infrared"):
        assert all(result[frame][step] > 0 for step in ("write_ms", "read_ms", "copy_ms"))
    assert result["color"]["mbytes"] == pytest.approx((720 * 1280 * 3 + 220_000) / 1e6, abs=0.01)
