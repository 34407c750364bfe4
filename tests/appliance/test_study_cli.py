"""`wardpose study`: what is wrong is told before any work, and a whole small study is tables, figures and numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from appliance.cli.main import main
from appliance.site.folder import SiteFolder
from tests.tuning.drawn import draw_people
from tuning.base_options import evaluation_set


@pytest.fixture
def labelled(tmp_path: Path, site: SiteFolder, random_detector: Path) -> str:
    """`--score`'s value for four drawn pictures; the site has the model `random`."""
    shutil.copytree(random_detector, site.models / "random")
    return f"drawn={draw_people(tmp_path / 'drawn', 4) / 'annotations.json'}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["targeting"], "no photographs to score on"),
        (["targeting", "--score", "nothing"], "names no set"),
        (["targeting", "--score", "SET", "--count", "0"], "--count must be 1 or more"),
        (["targeting", "--score", "SET", "--arm", "C"], "names no scenario"),
        (["targeting", "--score", "SET", "--arm", "a=Z"], "no scenario is called 'Z'"),
        (["targeting", "--score", "SET", "--arm", "a=site"], "not calibrated"),
        (["targeting", "--score", "SET", "--arm", "a=C", "--arm", "a=D"], "--arm names a 2 times"),
        (["targeting", "--score", "SET", "--score", "SET"], "--score names drawn 2 times"),
        (["targeting", "--score", "SET", "--arm", "drawn=C"], "two cells are called drawn"),
        (["targeting", "--score", "SET", "--detectors", "random", "person-detector"], "one detector"),
        (["--detectors", "nobody"], "no model is called 'nobody'"),
        (["--detectors", "random", "--poses", "random"], "random is no pose model"),
        (["--detectors", "random", "--poses", "--score", "ward-1=SET"], "two cells are called ward-1"),
        (["--detectors", "random", "--poses", "--score", "a b=SET"], "'a b' is no name"),
        (["--detectors", "random", "--backgrounds", "nowhere"], "nowhere: is no folder"),
        (["--detectors", "random", "--coco", "nowhere.json"], "nowhere.json"),
        (["--seed", "-1"], "--seed must be 0 or more"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    site: SiteFolder, tmp_path: Path, labelled: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = labelled.partition("=")[2]
    words = [word if word != "SET" else labelled for word in words]
    words = [word.replace("=SET", f"={file}") for word in words]
    out = tmp_path / "out"
    if "targeting" in words and "--detectors" not in words:
        words += ["--detectors", "random"]
    assert main(["study", *words, "--out", str(out), "--home", str(site.root)]) not in (0, 70)
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and said in told[0]
    assert not out.exists()


@pytest.mark.parametrize("images", ["", ":elsewhere"])
def test_a_set_is_named_by_its_file_or_by_its_folder(tmp_path: Path, images: str) -> None:
    folder = draw_people(tmp_path / "drawn", 1)
    whole = "A", (folder / "annotations.json", Path("elsewhere") if images else None)
    assert evaluation_set(f"A={folder}{images}") == evaluation_set(f"A={folder}/annotations.json{images}") == whole


def test_targeting_is_asked_of_a_sites_own_pictures_and_gives_way(
    site: SiteFolder, tmp_path: Path, labelled: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gave_way: list[dict[str, bool]] = []  # not in earnest, or every test after this one would be slow
    monkeypatch.setattr("appliance.job_process.give_way", lambda **how: gave_way.append(how))
    arms = []
    for name, azimuth in (("near", 90.0), ("far", 0.0)):
        scenario = tmp_path / f"{name}.toml"
        scenario.write_text(f'like = "C"\nparts = {{}}\nnobody_share = 0.0\nazimuth_deg = [{azimuth}, {azimuth}]\n')
        arms += ["--arm", f"{name}={scenario}"]
    out = tmp_path / "out"
    words = [
        "study", "targeting", "--score", labelled, "--detectors", "random", *arms, "--count", "3", "--orders", "2",
        "--threads", "1", "--workers", "1", "--out", str(out), "--home", str(site.root),
    ]  # fmt: skip
    assert main(words) == 0 and gave_way == [{"session": False}]
    shown = capsys.readouterr().out
    answer = json.loads((out / "study.json").read_bytes())
    figures, tests = answer["tables"]
    assert [(row[0], row[1]) for row in figures["rows"]] == [
        ("drawn", "as it comes"), ("drawn", "near"), ("drawn", "far")
    ]  # fmt: skip
    assert [row[1] for row in tests["rows"]] == ["near over far"]
    assert {"tables.md", "targeting.svg", "study.json"} <= {path.name for path in out.iterdir()}
    assert "near over far" in shown and str(out) in shown
    assert main(words) != 0 and "--resume" in capsys.readouterr().err
    done = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert main([*words, "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == done
