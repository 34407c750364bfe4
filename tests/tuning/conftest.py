"""Models and data small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuning.drawn import draw_people
from tuning.card import ModelCard


@pytest.fixture(scope="session")
def drawn_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn pictures in a COCO folder."""
    return draw_people(tmp_path_factory.mktemp("drawn") / "data", 24)


@pytest.fixture(scope="session")
def random_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a yolo11n of one class with random weights."""
    from tuning.train.save import save_model
    from tuning.train.ultralytics_trainer import build_detector

    card = ModelCard(
        name="random", task="detect", architecture="yolo11n", layout="yolo", width=96, height=96, sha256="0" * 64
    )
    folder = tmp_path_factory.mktemp("models") / "random"
    save_model(folder, build_detector(card, None).state(), card)
    return folder
