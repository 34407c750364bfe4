"""`wardpose preview` shows a data set beside a target."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from appliance.jobs.preview import preview
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from tests.synth.test_card import write_set


def ignored(done: int, total: int, note: str) -> None: ...


def test_a_data_set_beside_its_target(site: SiteFolder, tmp_path: Path) -> None:
    write_set(tmp_path / "made", count=6)
    write_set(tmp_path / "ward", count=4)
    result = preview(site, tmp_path / "made", target=tmp_path / "ward" / "annotations.json", progress=ignored)
    assert (result["images"], result["people"]) == (6, 6)
    folder = Path(result["card"]).parent
    assert folder == site.pictures / "made"
    assert {path.name for path in folder.iterdir()} == {
        "sheet.png", "distributions.png", "features.png", "card.json", "card.html"
    }  # fmt: skip
    for path in result["pictures"]:
        assert cv2.imread(path) is not None


@pytest.mark.parametrize("options", [{"count": 0}, {"target": Path("nowhere")}, {"detector": "nobody"}])
def test_a_mistake_is_told_before_anything_is_written(site: SiteFolder, tmp_path: Path, options: dict) -> None:
    write_set(tmp_path / "made")
    with pytest.raises(WardposeError):
        preview(site, tmp_path / "made", out=tmp_path / "out", progress=ignored, **options)
    assert not (tmp_path / "out").exists()
