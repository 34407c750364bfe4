"""Bringing a foreign model in, whole or not at all: read without executing it, recognised by a family, described."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from calibration.atomic import whole_folder
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from runtime.model_info import DetectorLayout
from tuning.families.family import BuildableFamily, ImportWish, buildable, families
from tuning.kept_epoch import take_in_epoch, tuned_model_of
from tuning.store.card import ModelCard, weights_path, write_card
from tuning.store.foreign import FOLDER_WEIGHTS, ForeignModel, read_foreign
from tuning.store.foreign_names import input_size


def import_model(
    path: Path,
    models_dir: Path,
    name: str,
    *,
    architecture: str | None = None,
    width: int | None = None,
    height: int | None = None,
    layout: str | None = None,
    person_class: str | None = None,
    licence: str = "unknown",
) -> ModelCard:
    """Copy a foreign model into `models_dir/name` in a form that cannot execute anything, and describe it.

    `.pt`: a checkpoint, converted once. `.safetensors`: a state dict whose architecture is `architecture`, the file's
    own metadata, or else recognised from the tensors' shapes; what a tuning kept of an epoch, in the `training/` of a
    model's folder, is that model with those weights. `.onnx`: by its description, else by its names, its
    outputs and what it answers to a picture. A folder: a detector of transformers, by its `config.json`. width, height:
    the input size in pixels where it is to be chosen; layout, person_class: of a detector's output, where the file
    leaves them open (a class by its number or name). Raises WardposeError; an unfinished import leaves nothing behind.
    Everything happens in this process, so what a hostile file may do to it is for the caller to bear;
    `tuning.import_process` bounds it.
    """
    target, wish = models_dir / name, ImportWish(name, architecture, width, height, layout, person_class)
    require_importable(path, target, wish)
    with whole_folder(target) as workplace:
        return take_in(path, workplace, wish, licence=licence)


def require_importable(path: Path, target: Path, wish: ImportWish) -> None:
    """Raise `WardposeError` for what needs no look into the file."""
    if target.exists():
        raise WardposeError(
            f"a model named {wish.name!r} is already here", where=str(target.parent), mend="choose another name"
        )
    if not path.is_file() and not path.is_dir():
        raise WardposeError("no such file", where=str(path), mend="check the path")
    if wish.layout is not None and wish.layout not in get_args(DetectorLayout):
        raise WardposeError(
            f"no layout is called {wish.layout!r}",
            where=str(path),
            mend=f"choose one of: {', '.join(get_args(DetectorLayout))}",
        )


def weights_of(path: Path) -> Path:
    """The file that holds a foreign model's weights."""
    return path / FOLDER_WEIGHTS if path.is_dir() else path


def take_in(path: Path, workplace: Path, wish: ImportWish, *, licence: str = "unknown") -> ModelCard:
    """`import_model` into an empty folder that is there."""
    folder = tuned_model_of(path)
    if folder is not None:
        card = take_in_epoch(path, folder, workplace)
    else:
        card = _recognised(_fed(read_foreign(path), wish), wish, workplace)
    card = card.model_copy(
        update={
            "name": wish.name,
            "licence": licence,
            "made": {"command": "wardpose models import", "file": path.name, "sha256": sha256_of(weights_of(path))},
            "sha256": sha256_of(weights_path(workplace, card)),
        }
    )
    write_card(workplace, card)
    return card


def build_model(
    architecture: str,
    models_dir: Path,
    name: str,
    *,
    width: int | None = None,
    height: int | None = None,
    seed: int = 0,
) -> ModelCard:
    """A model of random weights in `models_dir/name`, of an architecture that a family builds: to try the way from
    tuning to export without weights, or to train from nothing. It finds nobody. Raises WardposeError for a name that no
    family knows; an unfinished one leaves nothing behind."""
    from tuning.train.torch_state import seed_everything

    target = models_dir / name
    if target.exists():
        raise WardposeError(
            f"a model named {name!r} is already here", where=str(models_dir), mend="choose another name"
        )
    family = _family_of(architecture, "wardpose models build")
    with whole_folder(target) as workplace:
        seed_everything(seed)
        card = family.build(architecture, ImportWish(name, width=width, height=height), workplace)
        made = {"command": "wardpose models build", "from": "random weights", "seed": seed}
        card = card.model_copy(
            update={"made": made, "licence": "none: random weights", "family": family.name,
                    "sha256": sha256_of(weights_path(workplace, card))}
        )  # fmt: skip
        write_card(workplace, card)
    return card


def _fed(foreign: ForeignModel, wish: ImportWish) -> ForeignModel:
    """An ONNX model that takes one picture of numbers, of a size that is declared: how the runtime feeds all."""
    return foreign if foreign.graph is None else _sized(_given_numbers(foreign), wish)


def _sized(foreign: ForeignModel, wish: ImportWish) -> ForeignModel:
    """An input that leaves its size open is declared for the size that was asked for, or that it was exported for."""
    inputs, _ = foreign.shapes()
    if len(inputs) != 1 or len(inputs[0]) != 4 or all(inputs[0][2:]):
        return foreign
    width, height = wish.width, wish.height
    if width is None or height is None:
        width, height = input_size(foreign.metadata) or (width, height)
    if width is None or height is None:
        raise WardposeError(
            "its input leaves the picture's size open",
            where=str(foreign.path),
            mend="choose one, such as --size 416x256",
        )
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(foreign.graph)
    initial = {tensor.name for tensor in model.graph.initializer}
    picture = next(value for value in model.graph.input if value.name not in initial)
    for axis, length in zip(picture.type.tensor_type.shape.dim, (1, 3, height, width), strict=True):
        axis.dim_value = axis.dim_value or length
    del model.graph.value_info[:]
    for value in model.graph.output:  # what it answers follows from what it is given
        value.type.tensor_type.ClearField("shape")
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # of onnx's own kinds, none of which it exports
        raise WardposeError(
            f"its graph does not hold ({str(error).splitlines()[0][:200]})", where=str(foreign.path),
            mend="copy the file again",
        ) from None  # fmt: skip
    return foreign.having(graph=model)


def _given_numbers(foreign: ForeignModel) -> ForeignModel:
    """A graph that takes a picture of bytes takes whole numbers of 0…255 instead."""
    import onnx

    initial = {tensor.name for tensor in foreign.graph.graph.initializer}  # type: ignore[union-attr]
    inputs = [value for value in foreign.graph.graph.input if value.name not in initial]  # type: ignore[union-attr]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        return foreign
    model = onnx.ModelProto()
    model.CopyFrom(foreign.graph)
    name = inputs[0].name
    for node in model.graph.node:
        for place, given in enumerate(node.input):
            if given == name:
                node.input[place] = f"{name}_bytes"
    cast = onnx.helper.make_node("Cast", [name], [f"{name}_bytes"], to=onnx.TensorProto.UINT8)
    model.graph.node.insert(0, cast)
    picture = next(value for value in model.graph.input if value.name == name)
    picture.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return foreign.having(graph=model, takes_bytes=True)


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
    if wish.architecture:
        _family_of(wish.architecture, where)
        raise WardposeError(
            f"the weights are no {wish.architecture}", where=where,
            mend="without --architecture every known one is tried",
        )  # fmt: skip
    raise WardposeError("the weights fit no model that is known here", where=where, mend="name its --architecture")


def _family_of(architecture: str, where: str) -> BuildableFamily:
    known = buildable()
    if architecture not in known:
        raise WardposeError(
            f"no architecture is called {architecture!r}", where=where, mend=f"choose one of: {', '.join(known)}"
        )
    return known[architecture]
