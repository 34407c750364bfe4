"""A model of an external trainer, asked: to be written as ONNX, and what it says of pictures by its own framework."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from tuning.external.contract import ANSWERS, ExternalTask
from tuning.external.environments import Environment
from tuning.external.run import run_external
from tuning.store.card import ModelCard
from tuning.store.weights import read_safetensors, write_safetensors

Pictures = NDArray[np.float32]
_PLACE = "wardpose-external-"
_CONTRACT = "see the contract in tuning/external/contract.py"


@dataclass(frozen=True, slots=True)
class ExternalModel:
    """What a trainer is asked of: a card's architecture on weights (None: random ones), with an input in pixels."""

    environment: Environment
    card: ModelCard
    weights: Path | None
    width: int
    height: int

    def written(self, place: Path, pictures: Pictures | None = None) -> None:
        """Have the trainer write its checkpoint and its ONNX file into `place`, and answer `pictures` (N, 3, height,
        width) there too, where some are given."""
        self._ask("export", place, pictures)

    def answers(self, pictures: Pictures) -> Pictures | None:
        """What the trainer answers to (N, 3, height, width): (N, M, 4 + classes); None where it has no answers."""
        with tempfile.TemporaryDirectory(prefix=_PLACE) as place:
            self._ask("probe", Path(place), pictures)
            return self.answered(Path(place), len(pictures))

    def answered(self, place: Path, pictures: int) -> Pictures | None:
        """The answers that lie in `place`, of so many pictures; None where there are none."""
        if not (place / ANSWERS).exists():
            return None
        answers = read_safetensors(place / ANSWERS)[0].get("answers")
        if (
            answers is None
            or answers.ndim != 3
            or (len(answers), answers.shape[2]) != (pictures, 4 + self.card.classes)
        ):
            raise WardposeError(
                f"the trainer of {self.card.architecture} answered {pictures} pictures of {self.card.classes} classes "
                f"with {'no tensor of that name' if answers is None else f'the shape {list(answers.shape)}'}",
                where=ANSWERS, mend=_CONTRACT,
            )  # fmt: skip
        return answers.astype(np.float32)

    def _ask(self, action: Literal["export", "probe"], place: Path, pictures: Pictures | None) -> None:
        card, environment, shown = self.card, self.environment, place / "pictures.safetensors"
        environment.require(card.architecture)
        if pictures is not None:
            write_safetensors(shown, {"pictures": pictures})
        task = ExternalTask(
            action=action, architecture=card.architecture, out=str(place), width=self.width, height=self.height,
            weights=str(self.weights.absolute()) if self.weights else None, device="cpu",
            checkout=str(environment.checkout) if environment.code else None,
            pictures=str(shown) if pictures is not None else None, classes=card.classes, person_class=card.person_class,
        )  # fmt: skip
        run_external(environment.python, environment.trainer, task)


class AskedTrainer:
    """A trained model as a reference, by its trainer's own answers; it is started for what it was not asked before."""

    def __init__(self, model: ExternalModel, pictures: Pictures, answers: Pictures) -> None:
        self._model, self._known = model, dict(zip(map(_digest, pictures), answers, strict=True))

    def ask(self, pictures: Pictures) -> None:
        """Have all of (N, 3, height, width) answered at once; later calls with any of them start nothing."""
        new = {digest: picture for picture in pictures if (digest := _digest(picture)) not in self._known}
        if not new:
            return
        answers = self._model.answers(np.stack(list(new.values())))
        if answers is None:
            raise WardposeError(
                f"the trainer of {self._model.card.architecture} answered beside an export, and now has no answers",
                where=self._model.card.name, mend=_CONTRACT,
            )  # fmt: skip
        self._known |= zip(new, answers, strict=True)

    def __call__(self, batch: Pictures) -> list[Pictures]:
        self.ask(batch)
        return [np.stack([self._known[_digest(picture)] for picture in batch])]


def _digest(picture: Pictures) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).digest()
