"""The loop keeps what it did and survives what happens: kills, loss of memory, numbers that are none."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import WardposeError
from tests.conftest import REPOSITORY
from tuning.store.weights import State, read_safetensors
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit
from tuning.train.torch_state import state_of

PICTURES = 11


class Numbers:
    """Samples of random numbers; the answer is their sum."""

    def __len__(self) -> int:
        return PICTURES

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        rows = [np.random.default_rng((epoch, index)).normal(size=6).astype(np.float32) for index in indices]
        return {"x": np.stack(rows), "y": np.stack([row.sum(keepdims=True) for row in rows])}


def model() -> Any:
    torch.manual_seed(0)
    layers = (torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    return torch.nn.Sequential(*layers)


def loss(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return {"square": (module(batch["x"]) - batch["y"]).square().mean()}


def loop(**changes: Any) -> LoopSettings:
    told = {"epochs": 3, "batch": 3, "nominal_batch": 6, "optimizer": "adamw", "threads": 1, "device": "cpu"}
    return LoopSettings(**{**told, "average_decay": 0.9, **changes})


def course(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def equal(one: State, other: State) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_stopped_anywhere_any_number_of_times_it_ends_with_the_same_weights_and_one_course(
    stops: list[int], tmp_path: Path
) -> None:
    """Between two steps of the optimiser too, with batch norms that move, dropped numbers and averaged weights."""
    place = tmp_path / "-".join(map(str, stops))
    whole = model()
    fit(whole, Numbers(), loss, loop(), checkpoint=place / "whole" / "c.safetensors")
    for stop in stops:
        seen: list[int] = []

        def again(done: int, total: int, note: str, stop: int = stop, seen: list[int] = seen) -> None:
            seen.append(done)
            if len(seen) == stop:
                raise KeyboardInterrupt

        try:
            fit(model(), Numbers(), loss, loop(), checkpoint=place / "c.safetensors", resume=True, progress=again)
        except KeyboardInterrupt:
            continue
        break
    ended = model()
    fit(ended, Numbers(), loss, loop(), checkpoint=place / "c.safetensors", resume=True)
    assert equal(state_of(whole), state_of(ended))
    rows, expected = course(place), course(place / "whole")
    assert [(row["step"], row["loss"]) for row in rows] == [(row["step"], row["loss"]) for row in expected]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.tuning.test_training_loop import Numbers, loop, loss, model
from tuning.train import torch_loop
torch_loop.SECONDS_BETWEEN_CHECKPOINTS = 0.0
def progress(done, total, note):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
torch_loop.fit(model(), Numbers(), loss, loop(), checkpoint=Path(sys.argv[1]), resume=True, progress=progress)
"""


def test_killed_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = model()
    fit(whole, Numbers(), loss, loop(), checkpoint=tmp_path / "whole" / "c.safetensors")
    place = tmp_path / "c.safetensors"
    command = [sys.executable, "-c", KILLED, str(place), "7"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL and place.is_file()
    resumed = model()
    fit(resumed, Numbers(), loss, loop(), checkpoint=place, resume=True)
    assert equal(state_of(whole), state_of(resumed))


@pytest.mark.parametrize("fits", [1, 2])
def test_where_memory_is_short_batches_are_taken_in_parts_and_it_is_said(fits: int, tmp_path: Path) -> None:
    """The gradient of a batch in parts is that of the batch: without batch norms the weights are the same."""

    def plain() -> Any:
        torch.manual_seed(0)
        return torch.nn.Linear(6, 1)

    def short(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
        if len(batch["x"]) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(module, batch)

    asked = loop(batch=4, nominal_batch=4, average_decay=0.0)
    whole, parted, notes = plain(), plain(), []
    fit(whole, Numbers(), loss, asked)
    outcome = fit(parted, Numbers(), short, asked, progress=lambda done, total, note: notes.append(note))
    for name, value in state_of(whole).items():
        np.testing.assert_allclose(state_of(parted)[name], value, rtol=1e-4, atol=1e-6)
    assert outcome.loop["batch_parts"] == 4 // fits and outcome.loop["batch"] == 4
    assert f"memory was short: {fits} at a time, 4 a batch as before" in notes[0]


def test_memory_that_does_not_suffice_for_one_picture_is_told() -> None:
    def never(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(WardposeError, match="memory does not suffice for one picture at a time"):
        fit(model(), Numbers(), never, loop())


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(model(), Numbers(), broken, loop())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_number_that_is_none_stops_it_and_names_the_last_good_weights(where: str, tmp_path: Path) -> None:
    good: list[State] = []

    def diverging(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
        good.append(state_of(module))
        value = loss(module, batch)["square"]
        if len(good) < 6:
            return {"square": value}
        return {"square": value * torch.nan if where == "loss" else value.sqrt() * 0 + (value * 0).sqrt()}

    place = tmp_path / "c.safetensors"
    asked = loop(nominal_batch=3, average_decay=0.0)
    with pytest.raises(WardposeError, match=f"not finite at step 6, epoch 2: .*after step 5 are kept in {place}"):
        fit(model(), Numbers(), diverging, asked, checkpoint=place)
    kept, _ = read_safetensors(place)
    for name, value in good[5].items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_array_equal(kept[f"model.{name}"], value)


def test_the_weights_of_the_first_epochs_are_kept(tmp_path: Path) -> None:
    fit(model(), Numbers(), loss, loop(epochs=4, keep_epochs=2), checkpoint=tmp_path / "c.safetensors")
    assert [path.name for path in sorted(tmp_path.glob("epoch-*"))] == ["epoch-1.safetensors", "epoch-2.safetensors"]
    first, _ = read_safetensors(tmp_path / "epoch-1.safetensors")
    once = model()
    fit(once, Numbers(), loss, loop(epochs=1), checkpoint=tmp_path / "once" / "c.safetensors")
    # The schedule is constant here: the first epoch of four is the one of one.
    assert equal(first, state_of(once))


def test_the_course_is_read_by_tensorboards_own_format(tmp_path: Path) -> None:
    """Event files are records of length, checked length, message and checked message (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event

    fit(model(), Numbers(), loss, loop(), checkpoint=tmp_path / "c.safetensors")
    (file,) = tmp_path.glob("events.out.tfevents.*")
    data, told = file.read_bytes(), {}
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        told |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        data = data[16 + length :]
    rows = course(tmp_path)
    assert len(rows) == 6  # two steps of the optimiser an epoch
    for row in rows:
        assert told[("loss/square", int(row["step"]))] == pytest.approx(float(row["loss square"]), rel=1e-6)
        assert told[("learning_rate", int(row["step"]))] == pytest.approx(float(row["learning_rate"]))
