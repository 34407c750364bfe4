"""Tuning a detector: what moves, what must not, how it stops and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.errors import WardposeError
from tuning.coco_folder import read_people
from tuning.families.family import TuneSettings, tune
from tuning.families.yolo_models import build_detector
from tuning.families.yolo_training import train_detector
from tuning.store.card import ModelCard, read_card
from tuning.store.save import save_model
from tuning.store.weights import read_weights
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit

QUICK = TuneSettings(width=64, height=64, batch=8, threads=1, learning_rate=5e-3)


@pytest.fixture(scope="module")
def tuned(random_detector: Path, drawn_people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "tuned"
    tune(random_detector, drawn_people, out, QUICK)
    return out


def test_tuning_moves_the_free_layers_and_leaves_the_frozen_ones_and_the_statistics(
    random_detector: Path, tuned: Path
) -> None:
    before = read_weights(random_detector, read_card(random_detector))
    after = read_weights(tuned, read_card(tuned))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if int(name.split(".")[1]) < 10 or "running_" in name or ".dfl" in name]


def test_the_card_says_how_the_model_was_made(random_detector: Path, tuned: Path) -> None:
    card = read_card(tuned)
    assert card.parent == "random" and card.name == "tuned"
    assert card.made["samples"] == 24 and card.made["steps"] == 3 and card.made["settings"]["seed"] == 0


def test_the_same_seed_gives_the_same_weights(
    random_detector: Path, drawn_people: Path, tuned: Path, tmp_path: Path
) -> None:
    again = tune(random_detector, drawn_people, tmp_path / "tuned", QUICK)
    assert again.sha256 == read_card(tuned).sha256


def test_batches_prepared_by_other_processes_give_the_same_weights(random_detector: Path, drawn_people: Path) -> None:
    card, pictures = read_card(random_detector), read_people(drawn_people / "annotations.json")
    states = []
    for workers in (0, 2):
        built = build_detector(card, read_weights(random_detector, card))
        loop = LoopSettings(batch=8, nominal_batch=8, threads=1, workers=workers)
        train_detector(built, pictures, loop, size=64, augmentation={"mosaic": 0.0, "scale": 0.3})
        states.append(built.state())
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


def test_alpha_zero_is_the_base(random_detector: Path, drawn_people: Path, tmp_path: Path) -> None:
    card = tune(random_detector, drawn_people, tmp_path / "a", QUICK.model_copy(update={"alpha": 0.0}))
    before = read_weights(random_detector, read_card(random_detector))
    for name, value in read_weights(tmp_path / "a", card).items():
        if value.dtype.kind == "f":
            np.testing.assert_array_equal(value, before[name])


def test_a_cancelled_tuning_leaves_no_model(random_detector: Path, drawn_people: Path, tmp_path: Path) -> None:
    def cancel(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(random_detector, drawn_people, tmp_path / "out" / "a", QUICK, cancel)
    assert not (tmp_path / "out" / "a").exists()


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(drawn_people: Path, tmp_path: Path) -> None:
    import torch

    card = ModelCard(
        name="r", task="detect", architecture="yolo11n", layout="yolo", width=64, height=64, sha256="0" * 64
    )
    pictures = read_people(drawn_people / "annotations.json")
    loop = LoopSettings(epochs=2, batch=8, nominal_batch=8, optimizer="adamw", average_decay=0.9, threads=1)

    def train(checkpoint: Path, stop_at: int | None, resume: bool) -> Any:
        def progress(done: int, total: int, note: str) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        torch.manual_seed(3)
        built = build_detector(card, None)
        # No scaling or mosaic: mosaic draws from pictures seen before, which a new process has not seen.
        augmentation = {"mosaic": 0.0}
        train_detector(built, pictures, loop, size=64, augmentation=augmentation, checkpoint=checkpoint, resume=resume,
                       progress=progress)  # fmt: skip
        return built.state()

    whole = train(tmp_path / "whole.safetensors", None, False)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part.safetensors", 4, False)
    resumed = train(tmp_path / "part.safetensors", None, True)
    for name, value in whole.items():
        np.testing.assert_allclose(resumed[name], value, atol=1e-6, err_msg=name)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    fit(_line(), _Numbers(), _square, LoopSettings(epochs=1, threads=1), checkpoint=checkpoint)
    with pytest.raises(WardposeError, match="other settings"):
        fit(_line(), _Numbers(), _square, LoopSettings(epochs=1, threads=1, seed=1), checkpoint=checkpoint, resume=True)


def test_a_time_budget_ends_the_training_and_its_schedule() -> None:
    rates: list[float] = []

    def progress(done: int, total: int, note: str) -> None:
        rates.append(float(note.split("rate ")[1].split()[0]))

    loop = LoopSettings(epochs=10_000, minutes=0.01, batch=2, learning_rate=0.1, final_factor=0.0, threads=1)
    outcome = fit(_line(), _Numbers(), _square, loop, progress=progress)
    assert outcome.steps < 10_000 * 4
    assert rates[0] > 0.09 and rates[-1] < 0.01


def test_a_loss_that_is_no_number_stops_the_training_naming_step_and_term() -> None:
    with pytest.raises(WardposeError, match=r"step 1.*square"):
        fit(_line(), _Numbers(np.nan), _square, LoopSettings(threads=1))


def test_a_head_of_many_classes_keeps_what_it_knows_of_people() -> None:
    import torch

    common = {"name": "r", "task": "detect", "architecture": "yolo11n", "layout": "yolo", "width": 64, "height": 64}
    card = ModelCard(**common, sha256="0" * 64, built_classes=80)
    from tuning.families.yolo_models import _build

    many = _build("yolo11n", None, 80).eval()
    state = {name: value.numpy() for name, value in many.state_dict().items()}
    built = build_detector(card, state, person_class=5)
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected, actual = many(picture)[0], built.module.eval()(picture)[0]
    assert actual.shape[1] == 5
    torch.testing.assert_close(actual[:, :4], expected[:, :4])
    torch.testing.assert_close(actual[:, 4], expected[:, 9])
    # What was cut is built again from its own card.
    folder_state = built.state()
    assert build_detector(card, folder_state).state().keys() == folder_state.keys()


def test_training_data_with_a_missing_picture_is_refused(
    random_detector: Path, drawn_people: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(drawn_people, tmp_path / "data")
    (tmp_path / "data/images/000003.jpg").unlink()
    with pytest.raises(WardposeError, match=r"the picture '000003.jpg' is missing"):
        tune(random_detector, tmp_path / "data", tmp_path / "out", QUICK)


def test_saved_models_are_named_by_their_folder(random_detector: Path, tmp_path: Path) -> None:
    card = read_card(random_detector)
    assert save_model(tmp_path / "other", read_weights(random_detector, card), card, half=True).name == "other"
    assert (tmp_path / "other/weights.safetensors").stat().st_size < 8 * 2**20


class _Numbers:
    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def __len__(self) -> int:
        return 8

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        return {"x": np.full((len(indices), 1), self.value, np.float32)}


def _line() -> Any:
    import torch

    return torch.nn.Linear(1, 1)


def _square(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return {"square": (model(batch["x"]) ** 2).sum()}
