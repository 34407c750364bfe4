"""One training in several processes, each on a part of every batch, by torch.distributed: one for each GPU.

Every process runs the same program on the same pictures. Gradients are summed, so that all of them take the same step;
the first writes what is kept.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

_ENDING_SECONDS = 60.0
_PATIENCE = timedelta(minutes=20)  # the first may still write a checkpoint or look at a large data set
FINE, OUT_OF_MEMORY, NOT_FINITE = 0, 1, 2


class RankFinished(BaseException):
    """Ends a process that is not the first: the training is over, and what it came to is the first one's to keep."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a training. rank: this one, from 0; world: how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, indices: list[int]) -> list[int]:
        """This process's samples of a batch; the last of a few may have none."""
        return indices[self.rank :: self.world]

    def worst(self, code: int, device: str) -> int:
        """The worst of what befell any process: FINE, OUT_OF_MEMORY or NOT_FINITE."""
        if self.world == 1:
            return code
        told = torch.tensor(code, device=device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return int(told)

    def of_the_first(self, value: float, device: str) -> float:
        """The first process's number, for all."""
        if self.world == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(told, 0)
        return float(told)

    def sum_gradients(self, model: Any) -> None:
        """Every parameter's gradient becomes the sum over the processes."""
        if self.world == 1:
            return
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.reshape(-1) for parameter in trained])
        dist.all_reduce(flat)
        for parameter, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad.copy_(part.view_as(parameter))


_present = Ranks()


def ranks() -> Ranks:
    """The processes of the training that goes on in this one: itself alone, outside of `taking_part`."""
    return _present


@contextlib.contextmanager
def taking_part(rank: int, world: int, meeting_point: str, device: str) -> Iterator[None]:
    """Be process `rank` of `world` that meet by the file `meeting_point`; they speak over this machine's own
    loopback."""
    global _present
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    if device.startswith("cuda"):
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo", init_method=f"file://{meeting_point}", rank=rank,
        world_size=world, timeout=_PATIENCE,
    )  # fmt: skip
    _present = Ranks(rank, world)
    try:
        yield
    finally:
        _present = Ranks()
        dist.destroy_process_group()


@contextlib.contextmanager
def ended_with(others: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """The processes that the first has started for a training: it waits for them when the block is done, and they are
    gone however it ends."""
    try:
        yield
        for other in others:
            with contextlib.suppress(subprocess.TimeoutExpired):
                other.wait(_ENDING_SECONDS)
    finally:
        for other in others:
            other.kill()
            other.wait()
