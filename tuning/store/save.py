"""Writing a trained model as a folder, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.atomic import write_bytes
from runtime.model_info import METADATA_KEY
from tuning.store.card import ONNX_FILE, WEIGHTS_FILE, ModelCard, sha256_of, write_card
from tuning.store.weights import State, write_safetensors

if TYPE_CHECKING:
    import onnx


def save_model(out_dir: Path, state: State, card: ModelCard, *, half: bool = False) -> ModelCard:
    """Write a model folder whole or not at all; its name is the folder's."""
    metadata = {"architecture": card.architecture}
    return _saved(
        out_dir,
        card.model_copy(update={"weights": WEIGHTS_FILE}),
        lambda path: write_safetensors(path, state, half=half, metadata=metadata),
    )


def save_onnx_model(out_dir: Path, model: onnx.ModelProto, card: ModelCard) -> ModelCard:
    """Write the folder of an ONNX model whole or not at all; its name, and its own description's, is the folder's."""
    info = card.info.model_copy(update={"name": out_dir.name}) if card.info else None
    described = type(model)()
    described.CopyFrom(model)
    if info is not None:
        kept = {entry.key: entry.value for entry in model.metadata_props} | {METADATA_KEY: info.model_dump_json()}
        del described.metadata_props[:]
        for key in sorted(kept):
            described.metadata_props.add(key=key, value=kept[key])
    return _saved(
        out_dir,
        card.model_copy(update={"weights": ONNX_FILE, "format": "onnx", "info": info}),
        lambda path: write_bytes(path, described.SerializeToString()),
    )


def _saved(out_dir: Path, card: ModelCard, write_weights: Callable[[Path], object]) -> ModelCard:
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}."))
    try:
        write_weights(workplace / card.weights)
        card = card.model_copy(update={"name": out_dir.name, "sha256": sha256_of(workplace / card.weights)})
        write_card(workplace, card)
        workplace.chmod(0o755)
        workplace.rename(out_dir)
    except BaseException:
        shutil.rmtree(workplace, ignore_errors=True)
        raise
    return card
