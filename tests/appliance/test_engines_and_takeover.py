"""The engines as a site tells of them, and a model that goes live under a running live path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.box.doctor import examine
from appliance.cli.main import main
from appliance.live import engines, takeover
from appliance.live.engines import NOT_TRIED, engine_words, known_engines
from appliance.live.plan import newest_images, plan, process_command, process_specs
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from runtime.engines.engine import REFERENCE, engine_names
from runtime.engines.verdicts import Verdict, save_verdicts


def _qualified(site: SiteFolder, *verdicts: Verdict) -> None:
    store = ModelStore(site)
    onnx = store.onnx(store.live("detect"))
    assert onnx is not None
    save_verdicts(site.engines, onnx, verdicts)


def test_engines_nobody_has_tried_say_so(fetched: Path, site: SiteFolder, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "--json", "--home", str(site.root)]) == 0
    rows = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["engines"]
    assert [row["name"] for row in rows] == list(engine_names())
    assert {row["why"] for row in rows} == {NOT_TRIED}
    assert {"name", "qualifies", "why", "detector_ms", "pose_ms"} <= rows[0].keys()
    assert engine_words(site) == NOT_TRIED


def test_engines_and_doctor_say_which_serves_and_why_not_the_others(fetched: Path, site: SiteFolder) -> None:
    fast = Verdict("openvino", True, "", 7.0, 20.0, 1, 25, 1.0)
    wrong = Verdict("onnxruntime-int8", False, "only 84.0% of 25 boxes overlap by 0.95, 99% must")
    _qualified(site, fast, wrong, Verdict(REFERENCE, True, "", 20.0, 20.0, 1))
    rows = {row.name: row.to_dict() for row in known_engines(site)}
    assert (rows["openvino"]["used"], rows["openvino"]["detector_ms"]) == (["detector"], 7.0)
    assert (rows["onnxruntime-int8"]["qualifies"], rows[REFERENCE]["used"]) == (False, [])
    (check,) = (check for check in examine(site).checks if check.name == "inference engines")
    assert "detector on openvino" in check.detail
    assert "only 84.0% of 25 boxes" in check.detail


def test_measuring_tries_every_engine_for_every_live_model(
    fetched: Path, site: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, bool]] = []

    def qualify_all(onnx: Path, **more: object) -> tuple[Verdict, ...]:
        tried.append((onnx.parent.name, more["detector"] is not None))
        return (Verdict(REFERENCE, True, "", 20.0, 20.0, 1),)

    monkeypatch.setattr(engines, "qualify_all", qualify_all)
    assert main(["engines", "--measure", "--home", str(site.root)]) == 0
    assert tried == [("nanodet", False), ("movenet-thunder", True)]
    assert known_engines(site)[-1].used == ("detector", "pose")


def test_the_live_process_is_told_where_engines_and_pictures_are(fetched: Path, site: SiteFolder) -> None:
    assert newest_images(site) is None
    (site.datasets / "held-out-simulated" / "images").mkdir(parents=True)
    (site.datasets / "site1" / "images").mkdir(parents=True)
    command = process_command(site, "live", plan(site))
    assert command[command.index("--engines") + 1] == str(site.engines)
    assert command[command.index("--pictures") + 1] == str(site.datasets / "site1" / "images")


def _promote(site: SiteFolder, name: str) -> None:
    store = ModelStore(site)
    store.record_promotion(name, accepted=True, reasons={"reasons": []}, against=store.live("pose"))


def test_a_live_process_that_starts_again_takes_what_was_promoted_since_unless_a_model_was_named(
    fetched: Path, site: SiteFolder
) -> None:
    followed, named = (process_specs(site, plan(site, pose=pose))[1] for pose in (None, "movenet-lightning"))
    _promote(site, "movenet-lightning")
    _promote(site, "movenet-thunder")
    assert followed.again is not None
    assert named.again is not None
    assert followed.again() == followed.command
    assert named.again() == named.command
    _promote(site, "movenet-lightning")
    assert any("movenet-lightning" in word for word in followed.again())


def test_nothing_is_told_where_nothing_runs(fetched: Path, site: SiteFolder) -> None:
    _promote(site, "movenet-lightning")
    assert takeover.follow(site, "pose", "movenet-thunder") is False
