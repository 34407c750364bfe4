"""A trainer with an environment of its own: followed, stopped, gone on with, cut off from the network; the example."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.box.setup_full import external_plan
from calibration.errors import WardposeError
from tests.tuning.drawn import draw_people
from tuning.external.contract import CHECKPOINT, METRICS, ONNX, ExternalTask
from tuning.external.environments import ENVIRONMENTS, Architecture
from tuning.external.run import run_external
from tuning.families.external import known_architecture
from tuning.families.family import TuneSettings, tune
from tuning.import_model import build_model, import_model
from tuning.store.weights import read_safetensors, write_safetensors

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


SIDES = st.integers(1, 30).map(lambda n: 32 * n)


@given(SIDES, SIDES, st.integers(1, 4000))
def test_a_size_that_is_too_small_is_told_the_least_that_is_not(width: int, height: int, cells: int) -> None:
    model = Architecture(80, 0, least_cells=cells)
    try:
        model.check_size("dino", width, height)
    except WardposeError as error:
        assert f"{width}×{height}" in error.what and "\n" not in str(error)
        wide, high = map(int, str(error.mend).rsplit(" ", 1)[1].split("x"))
        model.check_size("dino", wide, high)
        assert wide >= width and high >= height and (wide == width or abs(wide * height / width - high) <= 32)


@pytest.mark.parametrize("size", [(100, 64), (96, 65)])
def test_sides_are_multiples_of_32(size: tuple[int, int]) -> None:
    with pytest.raises(WardposeError, match="multiples of 32"):
        Architecture(80, 0, least_cells=1).check_size("dino", *size)


@pytest.mark.parametrize("architecture", [name for known in ENVIRONMENTS.values() for name in known.architectures])
def test_what_it_cannot_take_is_said_before_anything_begins(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"cannot take 96×64.*and there are 128") as told:
        build_model(architecture, tmp_path, "small", width=96, height=64)
    assert told.value.mend and "--size" in told.value.mend
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("architecture", [name for known in ENVIRONMENTS.values() for name in known.architectures])
def test_a_checkpoint_of_another_architecture_is_named(architecture: str, tmp_path: Path) -> None:
    known = known_architecture(architecture)
    tensors = {name: np.zeros((known.classes, 2), np.float32) for name in known.tensors}
    write_safetensors(tmp_path / "right.safetensors", tensors)
    assert import_model(tmp_path / "right.safetensors", tmp_path, "right", architecture=architecture).layout == "detr"
    write_safetensors(tmp_path / "other.safetensors", {"model.0.weight": np.zeros((3, 3), np.float32)})
    with pytest.raises(WardposeError, match=f"is no checkpoint of {architecture}: it has no"):
        import_model(tmp_path / "other.safetensors", tmp_path, "other", architecture=architecture)
    write_safetensors(tmp_path / "few.safetensors", tensors | {known.tensors[0]: np.zeros((2, 2), np.float32)})
    with pytest.raises(WardposeError, match=f"scores 2 classes, and {architecture} as published {known.classes}"):
        import_model(tmp_path / "few.safetensors", tmp_path, "few", architecture=architecture)
    assert not (tmp_path / "other").exists() and not (tmp_path / "few").exists()


def test_a_trainer_that_needs_its_authors_code_is_given_it_or_says_where_it_is_published(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"nothing comes with wardpose.*Salience-DETR: --checkout DIR"):
        external_plan("salience-detr")
    with pytest.raises(WardposeError, match=r"is no checkout of https.*models/detectors/salience_detr.py is not there"):
        external_plan("salience-detr", tmp_path)
    (code := tmp_path / "models" / "detectors" / "salience_detr.py").parent.mkdir(parents=True)
    code.write_text("")
    environment, checkout = external_plan("salience-detr", tmp_path)
    assert str(tmp_path) in checkout.why and not environment.needs_root
    with pytest.raises(WardposeError, match="mmdetection needs no checkout"):
        external_plan("mmdetection", tmp_path)


@pytest.mark.parametrize(("architecture", "size"), [("dino-r50", (256, 192)), ("salience-detr-r50", (512, 288))])
@pytest.mark.timeout(900)
def test_a_paper_model_is_built_tuned_a_step_exported_and_read(
    architecture: str, size: tuple[int, int], tmp_path: Path
) -> None:
    from runtime.detector_layouts import decode_boxes
    from runtime.engines.onnx_engine import OnnxEngine
    from tuning.export import export_onnx

    environment = next(known for known in ENVIRONMENTS.values() if architecture in known.architectures)
    if not environment.python.is_file() or (environment.code and environment.noted_checkout() is None):
        pytest.skip(f"{environment.name}'s own environment was not set up: wardpose setup --external")
    width, height = size
    built = build_model(architecture, tmp_path, "own", width=width, height=height)
    settings = TuneSettings(batch=2, threads=1, width=width, height=height, recipe="paper")
    tuned = tune(tmp_path / "own", draw_people(tmp_path / "data", 2), tmp_path / "tuned", settings)
    assert tuned.made["steps"] == 1 and tuned.sha256 != built.sha256
    assert (tmp_path / "tuned" / "training" / "epoch-1.safetensors").is_file()
    assert not export_onnx(tmp_path / "tuned", tmp_path / "model.onnx").compared  # the trainer answers nothing
    engine = OnnxEngine(tmp_path / "model.onnx")
    boxes, scores = decode_boxes(engine.run(np.zeros((1, 3, height, width), np.float32)), engine.info)
    assert boxes.shape == (len(scores), 4) and np.isfinite(boxes).all() and ((scores >= 0) & (scores <= 1)).all()
