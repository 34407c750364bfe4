"""The model card: what a model is, how it was made, what it scores; `model.json` beside the weights.

A model is a folder: `model.json` and one weights file (`weights.safetensors` or `model.onnx`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from runtime.model_info import DetectorLayout, ModelInfo, PoseLayout

CARD_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"


class ModelCard(BaseModel):
    """Everything known about one model.

    `classes` counts what it reports, `built_classes` what its head was sized for before it was cut to one person.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    version: Literal[1] = Field(default=1, title="Card format")
    name: str = Field(title="Name", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    task: Literal["detect", "pose"] = Field(title="Task")
    family: str | None = Field(default=None, title="Model family; None: the first that knows the model", max_length=100)
    format: Literal["safetensors", "onnx"] = Field(default="safetensors", title="Weights format")
    architecture: str = Field(title="Architecture, such as yolo11n or movenet-thunder", min_length=1, max_length=100)
    architecture_yaml: dict[str, Any] | None = Field(default=None, title="Layers, where no name says them all")
    layout: DetectorLayout | PoseLayout = Field(title="Output layout")
    width: int = Field(title="Input width (px)", ge=32, le=4096)
    height: int = Field(title="Input height (px)", ge=32, le=4096)
    classes: int = Field(default=1, title="Classes reported", ge=1, le=10_000)
    built_classes: int = Field(default=1, title="Classes the head was sized for", ge=1, le=10_000)
    person_class: int = Field(default=0, title="Index of the person class", ge=0)
    weights: str = Field(
        default=WEIGHTS_FILE, title="Weights file, beside the card", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    sha256: str = Field(title="SHA-256 of the weights file", pattern=r"^[0-9a-f]{64}$")
    parent: str | None = Field(default=None, title="Model it was tuned from")
    made: dict[str, Any] = Field(default_factory=dict, title="How it was made: command, seed, data, settings")
    scores: dict[str, dict[str, float]] = Field(default_factory=dict, title="Scores by evaluation set")
    licence: str = Field(default="unknown", title="Licence")
    aim: Literal["upright", "body"] | None = Field(default=None, title="How a person's crop stands (see ModelInfo)")
    confidence: tuple[tuple[float, float], ...] = Field(
        default=(), title="Pairs of a keypoint's raw score and its probability, both rising"
    )
    info: ModelInfo | None = Field(default=None, title="What the runtime must know, for an ONNX model")


def weights_path(folder: Path, card: ModelCard) -> Path:
    return folder / card.weights


def read_card(folder: Path) -> ModelCard:
    """The card in `folder`; WardposeError where there is none or it does not hold."""
    path = folder / CARD_FILE
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise WardposeError(
            "no model here (model.json is missing)",
            where=str(folder),
            mend="see `wardpose models list`",
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WardposeError(
            f"the model card does not hold: {field}: {first['msg']}",
            where=str(path),
            mend="import or train the model again",
        ) from None


def write_card(folder: Path, card: ModelCard) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / CARD_FILE, (card.model_dump_json(indent=2) + "\n").encode())


def verify_weights(folder: Path, card: ModelCard) -> Path:
    """The weights file, after its SHA-256 was compared with the card's."""
    path = weights_path(folder, card)
    if not path.is_file():
        raise WardposeError("the weights file is missing", where=str(path), mend="import or train the model again")
    if sha256_of(path) != card.sha256:
        raise WardposeError(
            "the weights are not those of the card (SHA-256 differs)",
            where=str(path),
            mend="import or train the model again",
        )
    return path
