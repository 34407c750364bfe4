"""Models and data small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuning.drawn import draw_people


@pytest.fixture(scope="session")
def drawn_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn pictures in a COCO folder."""
    return draw_people(tmp_path_factory.mktemp("drawn") / "data", 24)
