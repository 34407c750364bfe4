"""The report of an evaluation, as a site writes it: one page, real people's pictures only where they are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.cli.output import Output
from appliance.cli.retarget import say_report
from appliance.jobs import kinds
from appliance.jobs.reporting import opponent_of
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from tests.tuning.drawn import draw_people
from tuning.coco_folder import read_people

LEFT_OUT = "Pictures of real people are left out; --pictures puts some in."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pictures of real people, whose file knows its camera, as a depth camera's does: that makes them no simulation."""
    file = draw_people(tmp_path / "drawn", 5, people=2) / "annotations.json"
    content = json.loads(file.read_bytes())
    for image in content["images"]:
        camera = CameraModel(image["width"], image["height"], 150.0, 150.0, 79.5, 59.5)
        image |= {"camera": camera.to_dict(), "camera_from_bed": np.eye(4).tolist()}
    file.write_text(json.dumps(content))
    assert all(picture.space is not None for picture in read_people(file))
    return file


def evaluate(site: SiteFolder, data: Path, **parameters: Any) -> dict[str, Any]:
    asked = {"model": "person-detector", "against": "nanodet", "data": str(data)} | parameters
    return kinds.evaluate(site, asked, lambda done, total, note: None)


def test_one_page_without_pictures_of_people_unless_they_are_asked_for(
    fetched: Path, site: SiteFolder, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    answer = evaluate(site, data, report=str(out))
    text = out.read_text()
    assert answer["file"] == str(out) and LEFT_OUT in text and "image/jpeg" not in text
    report = answer["report"]
    assert (report["model"], report["against"], report["people"], report["simulated"]) == (
        "person-detector", "nanodet", 10, False,
    )  # fmt: skip
    assert report["sentence"] in text.replace("&#x27;", "'") and report["verdict"] in text
    assert {row["kind"] for row in report["groups"]} >= {"everybody", "people in the picture"}
    evaluate(site, data, report=str(out), pictures=True)
    assert LEFT_OUT not in out.read_text() and "image/jpeg" in out.read_text()


def test_the_terminal_says_what_the_page_says(
    fetched: Path, site: SiteFolder, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(site, data, groups=True)["report"]
    say_report(Output(as_json=False), report)
    said = capsys.readouterr().out
    assert report["sentence"] in said and report["verdict"] in said
    assert "people in the picture: two" in said and "Holm's p" in said


def test_a_model_is_held_against_another_of_its_task(fetched: Path, site: SiteFolder) -> None:
    assert opponent_of(site, "person-detector", None) == ModelStore(site).live("detect") == "nanodet"
    assert opponent_of(site, "nanodet", None) is None
    with pytest.raises(WardposeError, match="another task"):
        opponent_of(site, "nanodet", "movenet-lightning")
