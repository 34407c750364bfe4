"""A model of the weights that a tuning kept at the end of one of its first epochs, from its own model's folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from tuning.store.card import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard, read_card, verify_weights
from tuning.store.save import RECORD_FOLDER
from tuning.store.weights import OWN_ENTRY, State, read_safetensors, read_weights, write_safetensors

_NAME = re.compile(r"epoch-\d+\.safetensors")


def tuned_model_of(path: Path) -> Path | None:
    """The folder of the model whose tuning kept the weights `path`; None for any other file."""
    folder = path.absolute().parent.parent
    mine = _NAME.fullmatch(path.name) and path.parent.name == RECORD_FOLDER and (folder / CARD_FILE).is_file()
    return folder if mine else None


def take_in_epoch(path: Path, folder: Path, workplace: Path) -> ModelCard:
    """Write the weights `path` into `workplace` in the form of the model in `folder`, whose tuning kept them.

    Returns that model's card as it holds for them: without its scores, which are of the last epoch. WardposeError where
    they are not its.
    """
    card = read_card(folder)
    state, _ = read_safetensors(path)
    if card.format == "onnx":
        from tuning.families.onnx_graph import graph_of
        from tuning.train.torch_state import load_into

        graph = graph_of(verify_weights(folder, card))
        load_into(graph, state, str(path))
        write_bytes(workplace / ONNX_FILE, graph.written().SerializeToString())
    else:
        _check(state, read_weights(folder, card), path)
        # Where the model is kept in halves, so is this: twice as large, its export would not go into one file.
        half = (folder / card.weights).stat().st_size < 0.75 * sum(value.nbytes for value in state.values())
        write_safetensors(workplace / WEIGHTS_FILE, state, half=half, metadata={OWN_ENTRY: card.architecture})
    return card.model_copy(update={"parent": folder.name, "scores": {}})


def _check(state: State, known: State, path: Path) -> None:
    wrong = sorted(
        name
        for name in state.keys() | known.keys()
        if name not in state or name not in known or np.shape(state[name]) != np.shape(known[name])
    )
    if wrong:
        raise WardposeError(
            f"its weights are not those of its model ({len(wrong)} tensors differ, first {wrong[0]})", where=str(path),
            mend="tune again",
        )  # fmt: skip
