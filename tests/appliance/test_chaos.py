"""Random faults on a live site, in short: none is the last word. The long form is `wardpose bench chaos`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.faults import chaos


def test_faults_show_and_the_picture_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "0.png"), np.full((90, 160, 3), 80, np.uint8))
    kinds = ("live killed", "a core taken from the live process", "display ended")
    monkeypatch.setattr(chaos, "FAULTS", {kind: chaos.FAULTS[kind] for kind in kinds})
    found = chaos.run(tmp_path, faults=4, minutes=0.02, seed=4, source=f"video:{photos}#loop=true&photos_per_s=10")
    assert found["ok"], found
    assert sum(row["tried"] for row in found["rows"]) == 4
    told = {row["fault"]: row for row in found["rows"]}
    assert told["live killed"]["showed"] == told["live killed"]["tried"]
    assert all(row["lost"] == 0 for row in found["rows"])
