"""Weights between a model and the one tuned from it."""

from __future__ import annotations

from pathlib import Path

from calibration.errors import WardposeError
from tuning.store.card import ModelCard, read_card, verify_weights
from tuning.store.save import save_graph, save_model
from tuning.store.weights import read_weights


def mix(before: Path, tuned: Path, alpha: float, out: Path) -> ModelCard:
    """Write the model whose weights lie `alpha` (0…1) of the way from `before` to `tuned`; the rest is the tuned's."""
    if not 0 <= alpha <= 1:
        raise WardposeError(f"alpha {alpha} is not within 0 … 1", where="bench carry-over", mend="give such as 0.5")
    from tuning.train.torch_state import interpolate

    first, last = read_card(before), read_card(tuned)
    if last.format == "safetensors":
        return save_model(out, interpolate(read_weights(before, first), read_weights(tuned, last), alpha), last)
    from tuning.families.onnx_graph import OnnxGraph, load_graph

    start, graph = (OnnxGraph(load_graph(verify_weights(*one))) for one in ((before, first), (tuned, last)))
    graph.load_state(interpolate(start.state(), graph.state(), alpha))
    return save_graph(out, graph.written(), last)
