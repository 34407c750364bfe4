"""A trainer with an environment of its own: followed, stopped, gone on with, cut off from the network; the example."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.box.setup_full import external_plan
from calibration.errors import WardposeError
from calibration.processes import process_identity
from tests.tuning.drawn import draw_people
from tests.tuning.external_trainers import HONEST, LIAR, MUTE, register_small, small_environment, starts, torch_toy
from tuning.export import export_onnx
from tuning.external.contract import ANSWERS, CHECKPOINT, METRICS, ONNX, ExternalTask
from tuning.external.environments import ENVIRONMENTS, Architecture, Environment
from tuning.external.run import run_external
from tuning.families.external import External
from tuning.families.family import BuildableFamily, ImportWish, TuneSettings, tune
from tuning.families.together import tune_together
from tuning.import_model import build_model, import_model
from tuning.store.weights import read_safetensors, write_safetensors

EXAMPLE = Path(__file__).resolve().parents[2] / "tuning" / "external" / "example_trainer.py"
PYTHON = Path(sys.executable)
ARCHITECTURES = {name: one for known in ENVIRONMENTS.values() for name, one in known.architectures.items()}


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
    lines = run_external(PYTHON, EXAMPLE, part)
    assert [line["step"] for line in lines] == list(range(1, 7)) and lines[-1]["seconds"] > 0
    (one, _), (other, _) = (read_safetensors(tmp_path / name / CHECKPOINT) for name in ("whole", "part"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    (answer,) = run_once((tmp_path / "part" / ONNX).read_bytes(), "example")
    assert answer.shape == (1, 1, 5) and (answer >= 0).all() and (answer <= 1).all()

    shown = np.random.default_rng(0).random((2, 3, 64, 96), np.float32)
    write_safetensors(tmp_path / "pictures.safetensors", {"pictures": shown})
    asked = {"weights": str(tmp_path / "part" / CHECKPOINT), "pictures": str(tmp_path / "pictures.safetensors")}
    assert run_external(PYTHON, EXAMPLE, task(tmp_path / "asked", action="probe", **asked)) == []
    assert [path.name for path in (tmp_path / "asked").iterdir()] == [ANSWERS]
    answers = read_safetensors(tmp_path / "asked" / ANSWERS)[0]["answers"]
    session = onnxruntime.InferenceSession(tmp_path / "part" / ONNX)
    for picture, said in zip(shown, answers, strict=True):
        assert np.allclose(session.run(None, {"images": picture[None]})[0][0], said, atol=1e-6)


def test_an_export_is_held_against_what_its_trainer_says_of_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = register_small(tmp_path, monkeypatch)
    pictures = sorted((draw_people(tmp_path / "data", 3) / "images").iterdir())
    for architecture in (HONEST, LIAR, MUTE):
        build_model(architecture, tmp_path, architecture, width=96, height=64)
    before = len(starts(program))
    report = export_onnx(tmp_path / HONEST, tmp_path / "honest.onnx", pictures=pictures)
    assert report.compared and report.pictures == 3 and report.max_error < 1e-5
    assert len(starts(program)) - before == 2, "once for the file, and once for all pictures"
    with pytest.raises(WardposeError, match="the export differs from the trained model by 5"):
        export_onnx(tmp_path / LIAR, tmp_path / "liar.onnx")
    assert not (tmp_path / "liar.onnx").exists()
    assert not export_onnx(tmp_path / MUTE, tmp_path / "mute.onnx", pictures=pictures).compared


def test_a_sites_own_trainer_is_a_family_of_a_few_lines(tmp_path: Path) -> None:
    class Own(External):
        name = "own"
        environments: ClassVar[Mapping[str, Environment]] = {"small": small_environment(tmp_path)}

    family = Own()
    assert isinstance(family, BuildableFamily)
    assert HONEST in family.architectures() and not set(family.architectures()) & set(ARCHITECTURES)
    (tmp_path / "model").mkdir()
    card = family.build(HONEST, ImportWish("own", width=96, height=64), tmp_path / "model")
    assert family.knows(card) and not External().knows(card)


def test_an_interpreter_of_its_own_that_is_not_there_is_named(tmp_path: Path) -> None:
    class Own(External):
        environments: ClassVar[Mapping[str, Environment]] = {
            "small": replace(small_environment(tmp_path), interpreter=tmp_path / "python")
        }

    with pytest.raises(WardposeError, match="small-honest wants small's own environment, which is not there"):
        Own().build(HONEST, ImportWish("own", width=96, height=64), tmp_path)


@pytest.mark.parametrize(("rows", "message"), [((2, 1, 5), r"shape \[2, 1, 5\]"), ((1, 1, 4), r"shape \[1, 1, 4\]")])
def test_answers_that_are_none_are_named(
    rows: tuple[int, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = register_small(tmp_path, monkeypatch)
    build_model(HONEST, tmp_path, "own", width=96, height=64)
    program.write_text(program.read_text().replace('"answers": rows', f'"answers": np.zeros({rows}, np.float32)'))
    with pytest.raises(WardposeError, match=f"answered 1 pictures of 1 classes with the {message}"):
        export_onnx(tmp_path / "own", tmp_path / "own.onnx")
    assert not (tmp_path / "own.onnx").exists()


def test_its_trainer_starts_the_processes_that_train_together_and_its_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = register_small(tmp_path, monkeypatch)
    build_model(HONEST, tmp_path, "own", width=96, height=64)
    told = list[str]()
    settings = TuneSettings(processes=3, minutes=7, width=96, height=64, device="cpu")
    tuned = tune_together(
        tmp_path / "own", draw_people(tmp_path / "data", 2), tmp_path / "tuned", settings,
        lambda done, total, note: told.append(note),
    )  # fmt: skip
    (asked,) = [ExternalTask.model_validate_json(line) for line in starts(program)[1:]]
    assert (asked.processes, asked.minutes, asked.action) == (3, 7, "tune")
    assert told[-1] == "loss 1  quite well"
    assert (tuned.made["seconds"], tuned.made["loop"]["batch_parts"]) == (2.5, 1)


@pytest.mark.timeout(280)
def test_two_processes_that_are_short_of_memory_train_as_one_that_is_not(tmp_path: Path) -> None:
    """Batches of three, the last of one picture: each process has one or two, then one of them has none."""
    data, toy = draw_people(tmp_path / "data", 4), torch_toy(tmp_path)
    asked = {"data": str(data), "batch": 3, "learning_rate": 1e-2, "flip": 0.5}
    one = run_external(PYTHON, toy, task(tmp_path / "one", architecture="toy-9", **asked))
    two = run_external(PYTHON, toy, task(tmp_path / "two", architecture="toy-1", processes=2, **asked))
    assert [line["step"] for line in two] == [line["step"] for line in one] == [1, 2, 3, 4]
    assert (two[-1]["processes"], two[-1]["batch_parts"]) == (2, 2)
    assert two[-1]["note"] == "memory was short: 1 at a time, 3 a batch as before" and "note" not in one[-1]
    (alone, _), (together, _) = (read_safetensors(tmp_path / name / CHECKPOINT) for name in ("one", "two"))
    assert all(np.allclose(alone[name], together[name], atol=1e-4) for name in alone)


@pytest.mark.timeout(280)
def test_memory_that_does_not_suffice_for_one_picture_is_told(tmp_path: Path) -> None:
    asked = task(tmp_path / "out", architecture="toy-0", data=str(draw_people(tmp_path / "data", 2)))
    with pytest.raises(WardposeError, match="memory does not suffice for one picture at a time"):
        run_external(PYTHON, torch_toy(tmp_path), asked)


@pytest.mark.timeout(280)
def test_when_its_time_is_over_it_ends_with_what_is_done(tmp_path: Path) -> None:
    asked = task(
        tmp_path / "out", architecture="toy-9", epochs=500, minutes=1e-6, data=str(draw_people(tmp_path / "data", 2))
    )
    (line,) = run_external(PYTHON, torch_toy(tmp_path), asked)
    assert (line["step"], line["steps"]) == (1, 500) and line["seconds"] > 0
    assert (tmp_path / "out" / ONNX).is_file() and (tmp_path / "out" / CHECKPOINT).is_file()


def test_what_a_trainer_has_started_ends_with_it(tmp_path: Path) -> None:
    leaves = program(
        tmp_path / "leaves.py",
        "import subprocess\n"
        "left = subprocess.Popen(['sleep', '600'])\n"
        "open(os.path.join(task['out'], 'left'), 'w').write(str(left.pid))\n"
        "for name in ('checkpoint.safetensors', 'model.onnx'): open(os.path.join(task['out'], name), 'w')\n",
    )
    run_external(PYTHON, leaves, task(tmp_path / "out"))
    pid = int((tmp_path / "out" / "left").read_text())
    until = time.monotonic() + 30
    while process_identity(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not process_identity(pid)


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
        ("os.kill(os.getpid(), 9)", "it was killed, as the system does when memory runs out"),
        ("pass", "ended without writing checkpoint.safetensors"),
    ],
)
def test_how_it_failed_is_told_in_its_own_words(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=message):
        run_external(PYTHON, program(tmp_path / "t.py", text), task(tmp_path / "out"))


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel groups no sessions")
def test_it_weighs_no_more_than_the_job_that_started_it(tmp_path: Path) -> None:
    """A trainer has a session of its own, which the kernel would give as much as the live path's."""
    look = program(
        tmp_path / "look.py",
        "row = {'step': 1, 'weight': open('/proc/self/autogroup').read().split()[-1], 'nice': os.nice(0)}\n"
        "open(os.path.join(task['out'], 'metrics.jsonl'), 'w').write(json.dumps(row) + '\\n')\n"
        "for name in ('checkpoint.safetensors', 'model.onnx'): open(os.path.join(task['out'], name), 'w')\n",
    )
    (job := tmp_path / "job.py").write_text(
        "import sys; from pathlib import Path; from appliance.job_process import give_way; give_way()\n"
        "from tuning.external.contract import ExternalTask; from tuning.external.run import run_external\n"
        f"task = ExternalTask.model_validate_json({task(tmp_path / 'out').model_dump_json()!r})\n"
        f"print(run_external(Path(sys.executable), Path({str(look)!r}), task))\n"
    )
    said = subprocess.run(
        [sys.executable, str(job)], capture_output=True, text=True, check=True, start_new_session=True
    )
    assert "'weight': '10', 'nice': 15" in said.stdout


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


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_it_cannot_take_is_said_before_anything_begins(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"cannot take 96×64.*and there are 128") as told:
        build_model(architecture, tmp_path, "small", width=96, height=64)
    assert told.value.mend and "--size" in told.value.mend
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_of_another_architecture_is_named(architecture: str, tmp_path: Path) -> None:
    known = ARCHITECTURES[architecture]
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

    environment = next(known for known in ENVIRONMENTS.values() if architecture in known.architectures)
    if not environment.python.is_file() or (environment.code and environment.noted_checkout() is None):
        pytest.skip(f"{environment.name}'s own environment was not set up: wardpose setup --external")
    width, height = size
    built = build_model(architecture, tmp_path, "own", width=width, height=height)
    settings = TuneSettings(batch=2, threads=1, width=width, height=height, recipe="paper")
    tuned = tune(tmp_path / "own", draw_people(tmp_path / "data", 2), tmp_path / "tuned", settings)
    assert tuned.made["steps"] == 1 and tuned.sha256 != built.sha256
    assert (tmp_path / "tuned" / "training" / "epoch-1.safetensors").is_file()
    report = export_onnx(tmp_path / "tuned", tmp_path / "model.onnx")
    assert report.compared and report.max_error <= report.tolerance, "its own framework says the same of the picture"
    engine = OnnxEngine(tmp_path / "model.onnx")
    boxes, scores = decode_boxes(engine.run(np.zeros((1, 3, height, width), np.float32)), engine.info)
    assert boxes.shape == (len(scores), 4) and np.isfinite(boxes).all() and ((scores >= 0) & (scores <= 1)).all()
