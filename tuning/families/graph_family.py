"""What every family shares whose models came as ONNX: the graph is kept, trained and exported as the graph it is.

Convolutions are trained, the rest stands as it came, and the new numbers go back into the same file: a tuned model is
its own export, so that there is no export error and no batch-norm statistic to drift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ValidationError

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from runtime.model_info import METADATA_KEY, ModelInfo
from tuning.coco_folder import Picture, read_people
from tuning.families.family import ImportWish, Reference, TuneSettings, input_size
from tuning.store.card import ONNX_FILE, ModelCard, read_card, verify_weights
from tuning.store.foreign import ForeignModel
from tuning.store.save import made_by_tuning, save_graph
from tuning.store.unfinished import unfinished

if TYPE_CHECKING:
    from tuning.store.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training of a graph came to. outcome: the loop's; recipe: the numbers it was done by, for the card; info:
    fields of the model's description that changed with it; alpha: how far from the untuned weights to the trained ones
    those lie that are kept, where the settings don't say."""

    outcome: Outcome
    recipe: BaseModel
    info: Mapping[str, Any] = field(default_factory=dict)
    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class Finished:
    """What is found out about a trained graph. info: fields of the model's description; made: entries of the card."""

    info: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)


class GraphFamily(ABC):
    """A model family by ONNX graph. A subclass names its layouts, recognises its graphs and trains them."""

    name: ClassVar[str]
    task: ClassVar[Literal["detect", "pose"]]
    layouts: ClassVar[frozenset[str]]

    @abstractmethod
    def fields(self, foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
        """Fields of `ModelInfo` (all but name and task) for a foreign graph of this family; None for any other.

        `turned` beside them: the output's axes are to be swapped. WardposeError where what the graph means is not
        certain.
        """

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        """Train the `OnnxGraph` in place. checkpoint: kept up to date, and gone on from where it is there."""
        raise WardposeError(
            f"a {self.name} model of the layout {info.layout!r} can be run but not tuned",
            where=info.name,
            mend="tune nanodet, or bring the detector's raw outputs",
        )

    def finish(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, progress: Progress | None
    ) -> Finished:
        """Look at the graph as it will be kept, after training and interpolation; it is not changed any more."""
        return Finished()

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        if foreign.graph is None:
            return None
        told = self._described(foreign, wish)
        if told is None:
            return None
        info, graph = told
        width, height = wish.width or info.width, wish.height or info.height
        if (width, height) != (info.width, info.height):
            from tuning.families.onnx_graph import with_input_size

            graph, info = with_input_size(graph, width, height), _sized(info, width, height)
        write_bytes(folder / ONNX_FILE, described(graph, info).SerializeToString())
        architecture = wish.architecture or foreign.path.stem[:100]
        return _card(info, wish.name, architecture)

    def knows(self, card: ModelCard) -> bool:
        return card.format == "onnx" and card.layout in self.layouts

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        if card.info is None:
            raise WardposeError("the card says nothing of the model's input", where=card.name, mend="import it again")
        if (width % 32 or height % 32) and (width, height) != (card.width, card.height):
            raise WardposeError(
                f"{card.name} cannot take {width}×{height}", mend="give multiples of 32, such as 416×256"
            )
        return _sized(card.info.model_copy(update={"name": card.name}), width, height)

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        path = verify_weights(folder, card)
        if (width, height) == (card.width, card.height):
            draft.write_bytes(path.read_bytes())
            return None
        from tuning.families.onnx_graph import load_graph, with_input_size

        draft.write_bytes(with_input_size(load_graph(path), width, height).SerializeToString())
        return None

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        from tuning.families.onnx_graph import OnnxGraph, load_graph, with_input_size
        from tuning.train.torch_state import interpolate

        card = read_card(folder)
        model = load_graph(verify_weights(folder, card))
        pictures = read_people(data_dir / "annotations.json", keypoints=self.task == "pose")
        if not any(len(picture.boxes) for picture in pictures):
            raise WardposeError("the data set shows nobody", where=str(data_dir), mend="make one with people in it")
        width, height = card.width, card.height
        if self.task == "detect":  # a crop of a person has the shape it has
            width, height = input_size(card, settings, pictures)
        if (width, height) != (card.width, card.height):
            model = with_input_size(model, width, height)
        info = self.describe(card, width, height).model_copy(update={"name": out_dir.name})
        graph = OnnxGraph(model)
        before = graph.state()
        asked = settings.asked() | {"size": [width, height]}
        with unfinished(out_dir, card, data_dir, asked) as checkpoint:
            trained = self.train(graph, info, pictures, settings, checkpoint, progress)
            alpha = trained.alpha if settings.alpha is None else settings.alpha
            if alpha < 1:
                graph.load_state(interpolate(before, graph.state(), alpha))
            info = info.model_copy(update=dict(trained.info))
            finished = self.finish(graph, info, pictures, settings, progress)
            info = ModelInfo.model_validate(info.model_dump() | dict(finished.info))
            tuned = _card(info, out_dir.name, card.architecture).model_copy(
                update={
                    "family": card.family,
                    "parent": card.name,
                    "licence": card.licence,
                    "made": made_by_tuning(self.name, data_dir, settings, trained.outcome, trained.recipe)
                    | dict(finished.made),
                }
            )
            return save_graph(out_dir, described(graph.written(), info), tuned, record=checkpoint.parent)

    def _described(self, foreign: ForeignModel, wish: ImportWish) -> tuple[ModelInfo, Any] | None:
        """The description, by the file's own where it has one, else by its graph and answer; and the graph it is of."""
        where, mend = str(foreign.path), "export the model again"
        if METADATA_KEY in foreign.metadata:
            try:
                info = ModelInfo.model_validate(parse_json(foreign.metadata[METADATA_KEY]))
            except ValueError:
                raise WardposeError("its description does not hold", where=where, mend=mend) from None
            if info.layout not in self.layouts:
                return None
            foreign.answer()  # runs on this box
            return info.model_copy(update={"name": wish.name}), foreign.graph
        fields = self.fields(foreign, wish)
        if fields is None or fields["layout"] not in self.layouts:
            return None
        graph = turned_round(foreign.graph) if fields.get("turned") else foreign.graph
        fields = {name: value for name, value in fields.items() if name != "turned"}
        try:
            return ModelInfo(name=wish.name, task=self.task, **fields), graph
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
            raise WardposeError(f"the model cannot be run here ({problem})", where=where, mend=mend) from None


def turned_round(model: Any) -> Any:
    """A copy of the ONNX model whose one output (1, A, B) comes as (1, B, A)."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    output = copy.graph.output[0]
    axes = list(output.type.tensor_type.shape.dim)
    lengths = [axis.dim_value or axis.dim_param or None for axis in axes]
    name = f"{output.name}_turned"
    copy.graph.node.append(onnx.helper.make_node("Transpose", [output.name], [name], perm=[0, 2, 1]))
    shape = [lengths[0], lengths[2], lengths[1]] if len(lengths) == 3 else None
    turned = onnx.helper.make_tensor_value_info(name, output.type.tensor_type.elem_type, shape)
    del copy.graph.output[:]
    copy.graph.output.append(turned)
    return copy


def described(model: Any, info: ModelInfo) -> Any:
    """A copy of the ONNX model that carries this description."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [entry for entry in copy.metadata_props if entry.key != METADATA_KEY]
    del copy.metadata_props[:]
    copy.metadata_props.extend(kept)
    entry = copy.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, info.model_dump_json()
    return copy


def _sized(info: ModelInfo, width: int, height: int) -> ModelInfo:
    return info.model_copy(update={"width": width, "height": height})


def _card(info: ModelInfo, name: str, architecture: str) -> ModelCard:
    return ModelCard(
        name=name, task=info.task, format="onnx", architecture=architecture, layout=info.layout, width=info.width,
        height=info.height, classes=info.classes, built_classes=info.classes, person_class=info.person_class,
        weights=ONNX_FILE, sha256="0" * 64, info=info,
    )  # fmt: skip
