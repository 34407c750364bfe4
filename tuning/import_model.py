"""Bringing a foreign model in, whole or not at all: read without executing it, recognised by a family, described."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calibration.errors import WardposeError
from tuning.families.family import ImportWish, families
from tuning.store.card import ModelCard, sha256_of, weights_path, write_card
from tuning.store.foreign import ForeignModel, read_foreign
from tuning.store.save import whole_folder


def import_model(
    path: Path,
    models_dir: Path,
    name: str,
    *,
    architecture: str | None = None,
    width: int | None = None,
    height: int | None = None,
    licence: str = "unknown",
) -> ModelCard:
    """Copy a foreign model into `models_dir/name` in a form that cannot execute anything, and describe it.

    `.pt`: a checkpoint, converted once. `.safetensors`: a state dict whose architecture is `architecture`, the file's
    own metadata, or else recognised from the tensors' shapes. `.onnx`: recognised from its description or its outputs.
    width, height: the input size in pixels where it is to be chosen. Raises WardposeError; an unfinished import leaves
    nothing behind.
    """
    target = models_dir / name
    if target.exists():
        raise WardposeError(
            f"a model named {name!r} is already here", where=str(models_dir), mend="choose another name"
        )
    if not path.is_file():
        raise WardposeError("no such file", where=str(path), mend="check the path")
    with whole_folder(target) as workplace:
        wish = ImportWish(name, architecture, width, height)
        card = _recognised(_sized(read_foreign(path), wish), wish, workplace)
        card = card.model_copy(
            update={
                "name": name,
                "licence": licence,
                "made": {"command": "wardpose models import", "file": path.name, "sha256": sha256_of(path)},
                "sha256": sha256_of(weights_path(workplace, card)),
            }
        )
        write_card(workplace, card)
    return card


def _sized(foreign: ForeignModel, wish: ImportWish) -> ForeignModel:
    """An ONNX model whose input leaves its size open, declared for the size that was asked for."""
    if foreign.graph is None:
        return foreign
    inputs, _ = foreign.shapes()
    if len(inputs) != 1 or len(inputs[0]) != 4 or all(inputs[0][2:]):
        return foreign
    if wish.width is None or wish.height is None:
        raise WardposeError(
            "its input leaves the picture's size open",
            where=str(foreign.path),
            mend="choose one, such as --size 416x256",
        )
    import onnx

    from tuning.families.onnx_graph import load_graph

    model = load_graph(foreign.path, width=wish.width, height=wish.height)
    for value in model.graph.output:  # what it answers follows from what it is given
        value.type.tensor_type.ClearField("shape")
    return replace(foreign, graph=onnx.shape_inference.infer_shapes(model, data_prop=True))


def _recognised(foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard:
    for family in families():
        card = family.recognise(foreign, wish, folder)
        if card is not None:
            return card.model_copy(update={"family": family.name})
    where = str(foreign.path)
    if foreign.graph is not None:
        inputs, outputs = foreign.shapes()
        raise WardposeError(
            f"a model of the inputs {inputs} and outputs {outputs} is not known",
            where=where,
            mend="give a person detector or a pose model of one of the families in the README",
        )
    raise WardposeError("the weights fit no model that is known here", where=where, mend="name its --architecture")
