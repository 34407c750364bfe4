"""A trainer with an environment of its own: followed, stopped, gone on with, cut off from the network; the example."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from tests.tuning.drawn import draw_people
from tuning.external.contract import CHECKPOINT, METRICS, ONNX, ExternalTask
from tuning.external.run import run_external
from tuning.store.weights import read_safetensors

EXAMPLE = Path(__file__).resolve().parents[2] / "tuning" / "external" / "example_trainer.py"
PYTHON = Path(sys.executable)


def task(place: Path, **changes: object) -> ExternalTask:
    told = {"action": "tune", "architecture": "toy", "out": str(place), "width": 96, "height": 64, "batch": 2,
            "epochs": 2, "learning_rate": 0.1, "threads": 1, "device": "cpu"}  # fmt: skip
    return ExternalTask.model_validate(told | changes)


def program(place: Path, text: str) -> Path:
    place.write_text("import sys, json, time, os\ntask = json.load(open(sys.argv[1]))\n" + text)
    return place


@pytest.mark.timeout(280)
def test_the_example_trains_stops_goes_on_to_the_same_weights_and_answers_as_promised(tmp_path: Path) -> None:
    from runtime.engines.trial import run_once

    data = draw_people(tmp_path / "data", 6)
    lines = run_external(PYTHON, EXAMPLE, task(tmp_path / "whole", data=str(data)))
    assert [line["step"] for line in lines] == list(range(1, 7)) and lines[0]["steps"] == 6

    def stop(done: int, total: int, note: str) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    part = task(tmp_path / "part", data=str(data))
    with pytest.raises(KeyboardInterrupt):
        run_external(PYTHON, EXAMPLE, part, stop)
    assert [line["step"] for line in run_external(PYTHON, EXAMPLE, part)] == list(range(1, 7))
    (one, _), (other, _) = (read_safetensors(tmp_path / name / CHECKPOINT) for name in ("whole", "part"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    (answer,) = run_once((tmp_path / "part" / ONNX).read_bytes(), "example")
    assert answer.shape == (1, 1, 5) and (answer >= 0).all() and (answer <= 1).all()


def test_it_reaches_no_network_and_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    look = program(
        tmp_path / "look.py",
        "interfaces = [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]\n"
        "row = {'step': 1, 'steps': 1, 'loss': 0, 'interfaces': interfaces, 'token': os.environ.get('SOME_TOKEN')}\n"
        "open(os.path.join(task['out'], 'metrics.jsonl'), 'w').write(json.dumps(row) + '\\n')\n"
        "for name in ('checkpoint.safetensors', 'model.onnx'): open(os.path.join(task['out'], name), 'w')\n",
    )
    (seen,) = run_external(PYTHON, look, task(tmp_path / "out"))
    if seen["interfaces"] != ["lo"]:
        pytest.skip("this kernel gives its users no network namespace")
    assert seen["token"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print('loading', file=sys.stderr); sys.exit('no module named mmdet')", "toy failed: no module named mmdet"),
        ("sys.exit(3)", "exit code 3, without a word"),
        ("pass", "ended without writing checkpoint.safetensors"),
    ],
)
def test_how_it_failed_is_told_in_its_own_words(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=message):
        run_external(PYTHON, program(tmp_path / "t.py", text), task(tmp_path / "out"))


def test_lines_that_are_cut_off_or_no_json_are_passed_over(tmp_path: Path) -> None:
    odd = program(
        tmp_path / "odd.py",
        f"open(os.path.join(task['out'], {METRICS!r}), 'w').write("
        '\'{"step": 1, "loss": 2}\\nnonsense\\n{"step": 1, "loss": 3}\\n{"step": 2, \')\n'
        "for name in ('checkpoint.safetensors', 'model.onnx'): open(os.path.join(task['out'], name), 'w')\n",
    )
    assert run_external(PYTHON, odd, task(tmp_path / "out"), lambda *told: None) == [{"step": 1, "loss": 3}]


def test_an_environment_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="its environment is not there"):
        run_external(tmp_path / "python", EXAMPLE, task(tmp_path / "out"))
