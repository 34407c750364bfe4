"""Writing a trained model as a folder, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tuning.store.card import WEIGHTS_FILE, ModelCard, sha256_of, write_card
from tuning.store.weights import State, write_safetensors


def save_model(out_dir: Path, state: State, card: ModelCard, *, half: bool = False) -> ModelCard:
    """Write a model folder whole or not at all; its name is the folder's."""
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}."))
    try:
        write_safetensors(workplace / WEIGHTS_FILE, state, half=half, metadata={"architecture": card.architecture})
        card = card.model_copy(
            update={"name": out_dir.name, "weights": WEIGHTS_FILE, "sha256": sha256_of(workplace / WEIGHTS_FILE)}
        )
        write_card(workplace, card)
        workplace.chmod(0o755)
        workplace.rename(out_dir)
    except BaseException:
        shutil.rmtree(workplace, ignore_errors=True)
        raise
    return card
