"""Batches come in an order of each epoch's own, whoever prepares them, from wherever a training goes on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import psutil
import pytest

from calibration.errors import WardposeError
from tuning.train.torch_batches import prepared_batches


class Numbers:
    """Ten samples that say which they are."""

    def __len__(self) -> int:
        return 10

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        return {"epoch": epoch, "sample": np.array(indices)}


def test_the_workers_die_with_a_training_that_is_killed() -> None:
    script = (
        "import time\nfrom tests.tuning.test_torch_batches import Numbers\n"
        "from tuning.train.torch_batches import prepared_batches\n"
        "batches = prepared_batches(Numbers(), 4, 1000, 7, workers=2)\nnext(batches)\nprint('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    training = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None and training.stdout.readline() == "ready\n"
    workers = psutil.Process(training.pid).children(recursive=True)
    assert len(workers) >= 2
    training.kill()
    training.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def drawn(**options: Any) -> list[tuple[int, int, list[int]]]:
    return [
        (count, int(batch["epoch"]), [int(index) for index in batch["sample"]])
        for count, batch in prepared_batches(Numbers(), 4, 3, 7, **options)
    ]


def test_every_epoch_shows_every_sample_once_in_an_order_of_its_own() -> None:
    epochs: dict[int, list[int]] = {}
    for _, epoch, samples in drawn():
        epochs.setdefault(epoch, []).extend(samples)
    assert [sorted(samples) for samples in epochs.values()] == [list(range(10))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_last_batch_of_an_epoch_is_what_is_left() -> None:
    assert [count for count, _, _ in drawn()] == [4, 4, 2] * 3


@pytest.mark.parametrize("first", range(9))
def test_a_training_goes_on_where_it_stopped(first: int) -> None:
    assert drawn(first=first) == drawn()[first:]


def test_workers_prepare_the_same_batches_in_the_same_order() -> None:
    assert drawn(workers=2, first=1) == drawn(first=1)


class Torn(Numbers):
    """Samples of which one cannot be read."""

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        if 3 in indices:
            raise WardposeError("a picture cannot be read", where="3.jpg", mend="make the data set again")
        return super().batch(epoch, indices)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_read_is_told_in_its_own_words(workers: int) -> None:
    with pytest.raises(WardposeError, match=r"^3\.jpg: a picture cannot be read; make the data set again$"):
        list(prepared_batches(Torn(), 4, 1, 7, workers=workers))
