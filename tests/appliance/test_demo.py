"""The whole way, small: interrupted in the middle, it goes on; finished, it answers with what was promised."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from appliance.box import kept
from appliance.cli.output import Output
from appliance.demo import demo
from appliance.site.folder import SiteFolder
from calibration.progress import Progress
from tuning.families.family import TuneSettings
from tuning.gate import guards
from tuning.store.card import read_card


class Impatient(Output):
    """Presses Ctrl-C in the stage whose title holds a word; remembers what was said."""

    def __init__(self, word: str) -> None:
        super().__init__(as_json=False)
        self.word, self.said = word, []

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextlib.contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        def report(done: int, total: int, note: str) -> None:
            if self.word and self.word in stage:
                raise KeyboardInterrupt

        yield report


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("IMAGES", 10), ("HELD_OUT", 6), ("LIVE_SECONDS", 3.0)):
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(guards, "IMAGES", 4)


@pytest.mark.timeout(600)
def test_the_whole_way_interrupted_and_finished(site: SiteFolder, small: None, fetched: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(site, out=Impatient("tuning"))
    home = site.root / "demo"
    done = json.loads((home / "journal.json").read_text())
    assert list(done) == ["camera", "calibrate", "synth", "held-out", "before"]
    held_out = Path(done["held-out"]["result"]["folder"]) / "annotations.json"
    made_at = held_out.stat().st_mtime_ns

    out = Impatient("")
    answer = demo.run_demo(site, out=out)

    assert sum("kept from the run that was interrupted" in line for line in out.said) == len(done)
    assert held_out.stat().st_mtime_ns == made_at
    assert answer["ok"] and [stage["name"] for stage in answer["stages"]] == [stage.name for stage in demo.STAGES]
    assert answer["total_s"] == pytest.approx(sum(stage["seconds"] for stage in answer["stages"]), abs=0.1)
    for moment in ("before", "after"):
        assert set(answer[moment]) >= {"AP", "AP50", "AR", "person_score"}
        figures = {"AP", "AP50", "AP_visible", "mean_oks"}
        assert set(answer[moment].get("keypoints", figures)) == figures
    assert answer["live"]["fps"] > 0 and answer["live"]["p50_ms"] <= answer["live"]["p99_ms"]
    assert answer["calibration"]["camera_error_mm"] < 30
    assert answer["export_max_error"] < 1e-3
    assert all(cv2.imread(picture) is not None for picture in answer["pictures"])
    assert {Path(p).name for p in answer["pictures"]} >= {"training-images.png", "before-after.png"}
    # Tuned as `wardpose tune` tunes: nothing was set for the show.
    asked = TuneSettings(epochs=1).model_dump(mode="json", exclude_none=True)
    for name in demo.TUNED.values():
        assert read_card(home / "models" / name).made["settings"] == asked
    # Whatever it leaves stands in the table of what is kept.
    assert kept.strays(SiteFolder.open(home)) == []
    # The site itself was left as it was.
    assert not list(site.calibrations.iterdir()) and not list(site.datasets.iterdir())
