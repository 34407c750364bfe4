"""Base models: made from random weights, stopped and resumed, gone on with, scored and stored small."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.cli.main import build_parser
from calibration.errors import WardposeError
from tuning.base import MAX_BYTES, SEEN, main, make_base
from tuning.families.base_family import BaseSettings
from tuning.store.card import ModelCard, read_card, verify_weights
from tuning.store.weights import read_weights


def test_a_base_model_can_be_stopped_and_goes_on(drawn_people: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(done: int, total: int, note: str) -> None:
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    settings = BaseSettings(epochs=2, batch=8, seed=3, threads=1)
    with pytest.raises(KeyboardInterrupt):
        make_base("detector", drawn_people, tmp_path / "base", settings, size=64, progress=stop)
    assert not (tmp_path / "base").exists()
    again: list[int] = []
    card = make_base(
        "detector", drawn_people, tmp_path / "base", settings, size=64, resume=True,
        progress=lambda *step: again.append(step[0]),
    )  # fmt: skip
    assert seen == [1, 2] and again[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert read_card(tmp_path / "base") == card
    assert verify_weights(tmp_path / "base", card).stat().st_size < MAX_BYTES
    assert card.made["seed"] == 3 and card.made["steps"] == 6 and card.scores["synthetic held out"]["people"] == 1
    assert card.made["from"] == "random weights" and card.made["seen"] == SEEN


def test_the_command_trains_a_pose_model_within_its_minutes_and_scores_it_turned(
    drawn_people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pose"
    arguments = ["pose", "--data", str(drawn_people), "--out", str(out), "--size", "128", "--batch", "8"]
    limits = ["--minutes", "0.03", "--epochs", "1000", "--threads", "1"]
    assert main([*arguments, *limits, "--score", f"drawn={drawn_people / 'annotations.json'}"]) == 0
    card = read_card(out)
    assert (card.architecture, card.layout, card.width, card.height) == ("rtmpose-t", "simcc", 96, 128)
    assert card.made["epochs"] < 1000
    assert {"synthetic held out", "drawn", "drawn turned 90°", "drawn turned 270°"} <= card.scores.keys()
    assert all("keypoints_mean_oks" in figures for figures in card.scores.values())
    assert "loss" in capsys.readouterr().out
    assert main(arguments) == 2 and "already here" in capsys.readouterr().err


def test_an_earlier_base_model_is_gone_on_with(drawn_people: Path, tmp_path: Path) -> None:
    still = BaseSettings(epochs=1, batch=24, threads=1, learning_rate=1e-12)
    first = make_base("detector", drawn_people, tmp_path / "first", still, size=64)
    second = make_base("detector", drawn_people, tmp_path / "second", still, size=64, start=tmp_path / "first")
    before, after = read_weights(tmp_path / "first", first), read_weights(tmp_path / "second", second)
    trained = [name for name in before if name.endswith("conv.weight")]
    assert trained and all(np.allclose(before[name], after[name], atol=1e-3) for name in trained)
    assert second.made["from"].startswith("first") and second.made["seen"] == SEEN


def test_a_model_that_saw_photographs_is_no_start(random_detector: Path, drawn_people: Path, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no earlier person-detector of synthetic images alone"):
        make_base("detector", drawn_people, tmp_path / "base", start=random_detector)


def test_a_family_that_cannot_begin_at_random_says_so(
    drawn_people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere:
        name = "elsewhere"

        def knows(self, card: ModelCard) -> bool:
            return True

    monkeypatch.setattr("tuning.base.family_of", lambda card: Elsewhere())
    with pytest.raises(WardposeError, match="the family elsewhere makes no base models"):
        make_base("pose", drawn_people, tmp_path / "base")


def test_both_commands_ask_for_the_same() -> None:
    given = ["base", "detector", "--minutes", "2", "--rate", "0.001", "--threads", "1", "--score", "a=b.json"]
    asked = build_parser().parse_args(given)
    assert (asked.task, asked.minutes, asked.rate, asked.threads, asked.score) == (
        "detector", 2.0, 0.001, 1, ["a=b.json"],
    )  # fmt: skip


def test_a_setting_out_of_range_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detector", "--epochs", "0", "--out", str(tmp_path / "base")]) == 2
    told = capsys.readouterr().err
    assert "epochs" in told and len(told.splitlines()) == 1


def test_data_without_people_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(3)]
    for image in images:
        cv2.imwrite(str(tmp_path / "images" / str(image["file_name"])), np.zeros((8, 8, 3), np.uint8))
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(WardposeError, match="nobody is in any of its 3 pictures"):
        make_base("detector", tmp_path, tmp_path / "base")
