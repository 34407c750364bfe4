"""Reading a foreign model file without executing anything: what it holds, for the families to recognise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from tuning.store.checkpoint import read_checkpoint
from tuning.store.foreign_names import class_names, listed_names
from tuning.store.weights import OWN_ENTRY, State, read_safetensors

MAX_BYTES = {".onnx": 2 * 2**30, ".safetensors": 4 * 2**30, ".pt": 4 * 2**30, ".pth": 4 * 2**30}
FOLDER_CONFIG, FOLDER_WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A file's content. Either `state` (tensors of a `.pt` or `.safetensors`, halves widened) or `graph` (an ONNX
    model) is there, or `config`: transformers' description, in a folder beside its weights. layers: ultralytics'
    description of the architecture; names: its classes; metadata: text entries.
    takes_bytes: the graph was given pictures of bytes, and divides them itself.
    """

    path: Path
    state: State | None = None
    graph: Any | None = None
    layers: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    names: dict[int, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    takes_bytes: bool = False
    _answer: list[list[NDArray[np.float32]]] = field(default_factory=list, repr=False, compare=False)

    def shapes(self) -> tuple[list[list[int]], list[list[int]]]:
        """Shapes of an ONNX model's inputs and outputs in order; an axis without a fixed size is 0."""
        assert self.graph is not None
        initial = {tensor.name for tensor in self.graph.graph.initializer}
        inputs = [value for value in self.graph.graph.input if value.name not in initial]
        inside, outside = (
            [[axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values]
            for values in (inputs, self.graph.graph.output)
        )
        return inside, outside

    def answer(self) -> list[NDArray[np.float32]]:
        """What an ONNX model answers to one picture, run once in bounds; WardposeError where this box cannot run it."""
        from runtime.engines.trial import run_once

        assert self.graph is not None
        if not self._answer:
            self._answer.append(run_once(self.graph.SerializeToString(), str(self.path)))
        return self._answer[0]

    def having(self, **changes: Any) -> ForeignModel:
        """The model with these fields changed, its answer still to be found."""
        return replace(self, **changes, _answer=[])


def read_foreign(path: Path) -> ForeignModel:
    """The content of a `.pt`, `.pth`, `.safetensors` or `.onnx` file, or of a folder that transformers wrote;
    WardposeError where it is none."""
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise WardposeError("no such file", where=str(path), mend="check the path")
    suffix = path.suffix.lower()
    if path.stat().st_size > MAX_BYTES.get(suffix, path.stat().st_size):
        raise WardposeError("larger than any model", where=str(path), mend="check which file this is")
    if suffix == ".onnx":
        return _read_onnx(path)
    if suffix == ".safetensors":
        state, metadata = read_safetensors(path)
        # What we wrote ourselves says its architecture, and finds people alone.
        names = class_names(metadata) or ({0: "person"} if OWN_ENTRY in metadata else {})
        return ForeignModel(path, state=state, metadata=metadata, names=names)
    if suffix in (".pt", ".pth"):
        checkpoint = read_checkpoint(path)
        state = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in checkpoint.state.items()}
        return ForeignModel(path, state=state, layers=checkpoint.architecture_yaml, names=checkpoint.names)
    raise WardposeError(
        f"weights of the kind {suffix or 'without suffix'!r} are not known",
        where=str(path),
        mend="give a .pt, .safetensors or .onnx file",
    )


def _read_folder(path: Path) -> ForeignModel:
    """`config.json` and `model.safetensors`; the weights are read when the description has been understood."""
    where = str(path)
    if not (path / FOLDER_CONFIG).is_file() or not (path / FOLDER_WEIGHTS).is_file():
        raise WardposeError(
            f"a folder without {FOLDER_CONFIG} and {FOLDER_WEIGHTS}", where=where,
            mend="give a file, or a folder that transformers wrote; weights in .bin files are not read",
        )  # fmt: skip
    try:
        if (path / FOLDER_CONFIG).stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError("larger than any description")
        config = parse_json((path / FOLDER_CONFIG).read_bytes())
        if not isinstance(config, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise WardposeError(f"{FOLDER_CONFIG} does not hold ({error})", where=where, mend="copy it again") from None
    return ForeignModel(path, config=config, names=listed_names(config.get("id2label")))


def _read_onnx(path: Path) -> ForeignModel:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    where = str(path)
    try:
        model = onnx.load(where, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise WardposeError(
            f"not an ONNX file ({type(error).__name__})", where=where, mend="copy the file again"
        ) from None
    if lies_elsewhere(model):
        raise WardposeError("its weights lie in other files", where=where, mend="save it as one ONNX file")
    if not model.graph.node or not model.graph.output:
        raise WardposeError("the ONNX file is cut off or empty", where=where, mend="copy the file again")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return ForeignModel(path, graph=model, metadata=metadata, names=class_names(metadata))


def lies_elsewhere(model: Any) -> bool:
    """Whether any tensor of an ONNX model, however deep it lies, is to be read from another file.

    protobuf refuses messages nested more than 100 deep, so this walk ends.
    """
    import onnx

    waiting: list[Any] = [model]
    while waiting:
        message = waiting.pop()
        if isinstance(message, onnx.TensorProto):
            if message.data_location == onnx.TensorProto.EXTERNAL or message.external_data:
                return True
            continue
        for about, value in message.ListFields():
            if about.type == about.TYPE_MESSAGE:
                waiting.extend([value] if hasattr(value, "ListFields") else value)
    return False
