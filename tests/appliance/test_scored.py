"""What a model showed is asked of the pictures once: the gate and a second evaluation take what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import tuning.evaluate.report as report
from appliance.box.kept import strays
from appliance.jobs import kinds
from appliance.models import scored
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from tests.tuning.drawn import draw_people


class Looks:
    """Counts the pictures that are really read to be scored."""

    def __init__(self, read: Callable[[Path], Any]) -> None:
        self._read, self.count = read, 0

    def __call__(self, path: Path) -> Any:
        self.count += 1
        return self._read(path)

    def during(self, work: Callable[[], Any]) -> int:
        before = self.count
        work()
        return self.count - before


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    counting = Looks(report.read_photograph)
    monkeypatch.setattr(report, "read_photograph", counting)
    return counting


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four drawn pictures and their annotations."""
    return draw_people(tmp_path / "drawn", 4) / "annotations.json"


def promotions(site: SiteFolder) -> list[dict[str, Any]]:
    return ModelStore(site).promotions()


def evaluate(site: SiteFolder, data: Path, **parameters: Any) -> dict[str, Any]:
    return kinds.evaluate(site, {"model": "nanodet", "data": str(data), **parameters}, lambda done, total, note: None)


def test_the_same_question_gets_the_same_answer_without_a_look(
    fetched: Path, site: SiteFolder, data: Path, looks: Looks
) -> None:
    first = evaluate(site, data, keypoints=True)
    assert looks.count == 4
    assert looks.during(lambda: None) == 0
    assert evaluate(site, data, keypoints=True) == first and looks.count == 4


def test_another_question_is_looked_at(fetched: Path, site: SiteFolder, data: Path, looks: Looks) -> None:
    evaluate(site, data)
    for other in ({"keypoints": True}, {"turn": 90}, {"width": 320, "height": 320}, {"model": "person-detector"}):
        assert looks.during(lambda parameters=other: evaluate(site, data, **parameters)) == 4


def test_changed_pictures_or_labels_are_looked_at(fetched: Path, site: SiteFolder, data: Path, looks: Looks) -> None:
    evaluate(site, data)
    picture = next((data.parent / "images").iterdir())
    cv2.imwrite(str(picture), np.zeros_like(cv2.imread(str(picture))))
    assert looks.during(lambda: evaluate(site, data)) == 4
    content = json.loads(data.read_bytes())
    content["annotations"][0]["bbox"][2] += 3
    data.write_text(json.dumps(content))
    assert looks.during(lambda: evaluate(site, data)) == 4
    assert looks.during(lambda: evaluate(site, data)) == 0


def test_a_damaged_finding_is_found_anew(fetched: Path, site: SiteFolder, data: Path, looks: Looks) -> None:
    first = evaluate(site, data)
    for file in site.runs.iterdir():
        file.write_text("{")
    assert looks.during(lambda: evaluate(site, data)) == 4
    assert evaluate(site, data) == first


def test_findings_are_numbers_and_only_the_newest_stay(
    fetched: Path, site: SiteFolder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored, "MOST", 2)
    for turn in (0, 90, 180):
        evaluate(site, data, turn=turn)
    assert len(list(site.runs.iterdir())) == 2
    assert strays(site) == []


def test_the_gate_takes_what_an_evaluation_found(
    fetched: Path, site: SiteFolder, data: Path, looks: Looks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(site, data)
    asked = {"model": "person-detector", "data": str(data)}

    def judge() -> dict[str, Any]:
        return kinds.promote(site, asked, lambda done, total, note: None)

    # The candidate, and it alone: the model in use was evaluated on the held-out pictures, and where nothing is gained
    # no others are looked at.
    assert looks.during(judge) == 4
    assert looks.during(judge) == 0
    first, again = ({k: v for k, v in row["reasons"].items() if k in ("before", "after")} for row in promotions(site))
    assert first == again
