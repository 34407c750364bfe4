"""Batches for training: in which order, who prepares them, and on which device they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch

from calibration.errors import WardposeError
from calibration.processes import end_with_parent


class TrainingData(Protocol):
    def __len__(self) -> int: ...
    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        """Samples as one batch of arrays or tensors; what is random depends on (seed, epoch, index) alone."""
        ...


class _Prepared:
    """Batches by (epoch, indices), as torch's loader asks for them."""

    def __init__(self, data: TrainingData) -> None:
        self._data = data

    def __getitem__(self, key: tuple[int, list[int]]) -> tuple[int, dict[str, Any]]:
        try:
            return len(key[1]), self._data.batch(*key) if key[1] else {}
        except WardposeError as error:  # handed over as it is: the loader would wrap it in its own words
            return 0, {"error": error}


def prepared_batches(
    data: TrainingData,
    size: int,
    epochs: int,
    seed: int,
    *,
    first: int = 0,
    workers: int = 0,
    share: Callable[[list[int]], list[int]] = list,
    parts: int = 1,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """How many samples, and the samples, of the batches from number `first` on, every epoch in an order of its own.

    share: which of a batch's samples are wanted here; none give an empty batch. parts: each batch comes as so many
    smaller ones, one after the other. workers: processes that prepare them ahead; 0 prepares each when it is asked
    for, in this process: on a CPU, training itself wants the cores. Raises what `data` raises.
    """
    whole = _keys(len(data), size, epochs, seed, first)
    keys = ((epoch, part) for epoch, indices in whole for part in divided(share(indices), parts))
    prepared = _Prepared(data)
    for count, batch in (
        torch.utils.data.DataLoader(
            prepared, batch_size=None, sampler=keys, num_workers=workers, worker_init_fn=_begin_worker
        )
        if workers
        else map(prepared.__getitem__, keys)
    ):
        if "error" in batch:
            raise batch["error"]
        yield count, batch


def divided(indices: list[int], parts: int) -> list[list[int]]:
    """The samples in so many parts of nearly one size, in order; parts of too many are empty."""
    ends = [len(indices) * place // parts for place in range(parts + 1)]
    return [indices[begin:end] for begin, end in pairwise(ends)]


def _begin_worker(number: int) -> None:
    end_with_parent()


def _keys(samples: int, size: int, epochs: int, seed: int, first: int) -> Iterator[tuple[int, list[int]]]:
    """Epoch and samples of each batch."""
    batches = math.ceil(samples / size)
    started, skipped = divmod(first, batches)
    for epoch in range(started, epochs):
        order = np.random.default_rng((seed, epoch)).permutation(samples).tolist()
        for place in range(skipped if epoch == started else 0, batches):
            yield epoch, order[place * size : (place + 1) * size]


def to_device(batch: dict[str, Any], device: str) -> dict[str, Any]:
    moved = {}
    for key, value in batch.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        moved[key] = value.to(device) if isinstance(value, torch.Tensor) else value
    return moved
