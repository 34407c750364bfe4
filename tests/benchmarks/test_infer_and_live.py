"""The benchmarks of inference and of the live path give their figures, however large those are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import infer, live, ring
from tests.runtime.onnx_graphs import constant_model, info


def _models(folder: Path) -> tuple[Path, Path]:
    person = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
    detector = constant_model(folder / "detector.onnx", [person], info())
    maps = np.random.default_rng(0).random((17, 8, 8)).astype(np.float32)
    pose = constant_model(folder / "pose.onnx", [maps], info(task="pose", layout="heatmap"))
    return detector, pose


def test_infer(tmp_path: Path) -> None:
    detector, pose = _models(tmp_path)
    figures = infer.run(3, detector=detector, pose=pose, threads=1, yardsticks=False)
    assert figures["fps"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["engines"]["onnxruntime-cpu"].keys() == {"detector_ms", "pose_ms"}
    assert figures["ratio_to_rtmlib"] is None


def test_live(tmp_path: Path) -> None:
    detector, pose = _models(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(2):
        cv2.imwrite(str(photos / f"{index}.png"), np.full((64, 96, 3), 80 * index, np.uint8))
    source = f"video:{photos}#loop=true&photos_per_s=20"
    figures = live.run(1, source=source, detector=detector, pose=pose, threads=1, yardsticks=False)
    assert figures["fps"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["rss_gib"] > 0
    assert list(figures["stages_ms"]) == ["detect", "track", "pose", "smooth"]


def test_the_ring_is_measured_against_a_copy() -> None:
    result = ring.run(frames=3, faults=False)
    assert result["shown_s"] == {}
    for frame in ("color", "color_depth_infrared"):
        assert all(result[frame][step] > 0 for step in ("write_ms", "read_ms", "copy_ms"))
    assert result["color"]["mbytes"] == pytest.approx((720 * 1280 * 3 + 220_000) / 1e6, abs=0.01)
