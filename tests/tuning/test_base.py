"""Base models: made from random weights, stopped and resumed, scored and stored small."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.errors import WardposeError
from tuning.base import MAX_BYTES, main, make_base
from tuning.store.card import read_card, verify_weights


def test_a_base_model_can_be_stopped_and_goes_on(drawn_people: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(done: int, total: int, note: str) -> None:
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    options = {"epochs": 2, "size": 64, "batch": 8, "seed": 3, "threads": 1}
    with pytest.raises(KeyboardInterrupt):
        make_base("detector", drawn_people, tmp_path / "base", progress=stop, **options)
    assert not (tmp_path / "base").exists()
    again: list[int] = []
    card = make_base(
        "detector",
        drawn_people,
        tmp_path / "base",
        resume=True,
        progress=lambda *step: again.append(step[0]),
        **options,
    )
    assert seen == [1, 2] and again[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert read_card(tmp_path / "base") == card
    assert verify_weights(tmp_path / "base", card).stat().st_size < MAX_BYTES
    assert card.made["seed"] == 3 and card.made["steps"] == 6 and card.scores["synthetic held out"]["people"] == 1


def test_the_command_trains_a_pose_model_within_its_minutes(
    drawn_people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pose"
    arguments = [
        "pose",
        "--data",
        str(drawn_people),
        "--out",
        str(out),
        "--minutes",
        "0.03",
        "--size",
        "128",
        "--batch",
        "8",
    ]
    assert main([*arguments, "--threads", "1", "--epochs", "1000"]) == 0
    card = read_card(out)
    assert card.made["epochs"] < 1000 and "keypoints_AP" in card.scores["synthetic held out"]
    assert "loss" in capsys.readouterr().out
    assert main(arguments) == 2 and "already here" in capsys.readouterr().err


def test_data_without_people_is_refused(tmp_path: Path) -> None:
    import json

    import cv2
    import numpy as np

    (tmp_path / "images").mkdir()
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(3)]
    for image in images:
        cv2.imwrite(str(tmp_path / "images" / str(image["file_name"])), np.zeros((8, 8, 3), np.uint8))
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(WardposeError, match="too few pictures with people"):
        make_base("detector", tmp_path, tmp_path / "base")
