"""What a training came to, as a model's card tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """steps: batches; epochs: how often each picture was seen; images: in the data set; loss: a picture's, the mean of
    the last fifty batches."""

    steps: int
    epochs: float
    seconds: float
    loss: float
    images: int
