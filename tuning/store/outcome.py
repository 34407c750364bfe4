"""What a training came to, as a model's card tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """steps: batches; epochs: how often each picture was seen; images: in the data set; loss: a picture's, the mean of
    the last fifty batches; loop: every number that the weights were moved by, and on what."""

    steps: int
    epochs: float
    seconds: float
    loss: float
    images: int
    loop: Mapping[str, Any] = field(default_factory=dict)
