"""Writing a trained model as a folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.atomic import whole_folder, write_bytes
from calibration.file_digest import sha256_of
from calibration.json_text import parse_json
from tuning.store.card import ONNX_FILE, WEIGHTS_FILE, ModelCard, write_card
from tuning.store.weights import OWN_ENTRY, State, write_safetensors

RECORD_FOLDER = "training"
_RECORD = ("metrics.csv", "metrics.jsonl", "events.out.tfevents.*", "epoch-*.safetensors")

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tuning.store.outcome import Outcome


def save_model(
    out_dir: Path, state: State, card: ModelCard, *, half: bool = False, record: Path | None = None
) -> ModelCard:
    """Write a model folder of tensors, whole or not at all; its name is the folder's. record: see `_save`."""
    card = card.model_copy(update={"weights": WEIGHTS_FILE, "format": "safetensors"})
    metadata = {OWN_ENTRY: card.architecture}
    return _save(out_dir, card, lambda path: write_safetensors(path, state, half=half, metadata=metadata), record)


def save_graph(out_dir: Path, model: Any, card: ModelCard, *, record: Path | None = None) -> ModelCard:
    """Write a model folder of an ONNX model, whole or not at all; its name is the folder's. record: see `_save`."""
    card = card.model_copy(update={"weights": ONNX_FILE, "format": "onnx"})
    return _save(out_dir, card, lambda path: write_bytes(path, model.SerializeToString()), record)


def _save(
    out_dir: Path, card: ModelCard, write_weights: Callable[[Path], None], record: Path | None = None
) -> ModelCard:
    """record: the folder of the training, whose course and kept weights come along as `training/`."""
    with whole_folder(out_dir) as workplace:
        if record is not None and (kept := record_files(record)):
            (workplace / RECORD_FOLDER).mkdir()
            for path in kept:
                shutil.copyfile(path, workplace / RECORD_FOLDER / path.name)
        write_weights(workplace / card.weights)
        card = card.model_copy(update={"name": out_dir.name, "sha256": sha256_of(workplace / card.weights)})
        write_card(workplace, card)
    return card


def made_by_tuning(
    family: str, data_dir: Path, settings: BaseModel, outcome: Outcome, recipe: BaseModel | None = None
) -> dict[str, Any]:
    """What a tuned model's card says of how it was made: what was asked for, and the family's own numbers."""
    made = {
        "command": "wardpose tune",
        "family": family,
        "data": data_dir.name,
        "samples": outcome.images,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 1),
        "loss": outcome.loss,
        "settings": parse_json(settings.model_dump_json(exclude_none=True)),
    }
    if outcome.loop:
        made["loop"] = dict(outcome.loop)
    return made if recipe is None else made | {"recipe": parse_json(recipe.model_dump_json())}


def record_files(folder: Path) -> list[Path]:
    """What of a training's folder belongs to its record: its course, and the weights at the ends of epochs."""
    return sorted(path for pattern in _RECORD for path in folder.glob(pattern))
