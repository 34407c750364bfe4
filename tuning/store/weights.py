"""Weights on disk, and bringing foreign ones in: `.pt` by allow-list, `.safetensors`, `.onnx`; nothing is executed."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from runtime.model_info import METADATA_KEY, ModelInfo
from tuning.store.card import ONNX_FILE, WEIGHTS_FILE, ModelCard, sha256_of, verify_weights, write_card
from tuning.store.checkpoint import read_checkpoint

State = dict[str, NDArray[Any]]
MAX_ONNX_BYTES = 2 * 2**30


def read_weights(folder: Path, card: ModelCard) -> State:
    """Every tensor of a model folder as numpy arrays, halves widened to float32, after its SHA-256 was checked."""
    return read_safetensors(verify_weights(folder, card))[0]


def read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """The tensors (halves widened to float32) and the metadata of a `.safetensors` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            state = {key: np.asarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise WardposeError("no such file", where=str(path), mend="check the path") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise WardposeError(f"not a safetensors file ({error})", where=str(path), mend="copy the file again") from None
    return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in state.items()}, metadata


def write_safetensors(path: Path, state: State, *, half: bool = False, metadata: dict[str, str] | None = None) -> None:
    """Write atomically; `half` stores float32 as float16 (refused where a value would overflow).

    metadata: of one entry at most where the same weights must give the same file (safetensors shuffles several).
    """
    from safetensors.numpy import save

    stored: State = {}
    for name, value in state.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WardposeError(f"the tensor {name} is not finite", where=str(path), mend="lower the learning rate")
        if half and value.dtype == np.float32:
            if value.size and np.abs(value).max() > np.finfo(np.float16).max:
                raise WardposeError(f"the tensor {name} does not fit half precision", where=str(path))
            value = value.astype(np.float16)
        stored[name] = np.ascontiguousarray(value).reshape(value.shape)
    write_bytes(path, save(stored, metadata=metadata))


def import_model(
    path: Path,
    models_dir: Path,
    name: str,
    *,
    architecture: str | None = None,
    width: int = 640,
    height: int = 640,
    licence: str = "unknown",
) -> ModelCard:
    """Copy a foreign model into `models_dir/name` in a form that cannot execute anything, and describe it.

    `.pt`: an ultralytics detector, converted once. `.safetensors`: a state dict of an ultralytics detector whose
    architecture is `architecture`, the file's own metadata, or else recognised from the tensors' shapes. `.onnx`: a
    YOLO, end-to-end YOLO or YOLOX detector, recognised from its output's shape. width, height: the input size (an ONNX
    file with a fixed size decides itself). Raises WardposeError; an unfinished import leaves nothing behind.
    """
    target = models_dir / name
    if target.exists():
        raise WardposeError(
            f"a model named {name!r} is already here", where=str(models_dir), mend="choose another name"
        )
    if not path.is_file():
        raise WardposeError("no such file", where=str(path), mend="check the path")
    models_dir.mkdir(parents=True, exist_ok=True)
    made = {"command": "wardpose models import", "file": path.name, "sha256": sha256_of(path)}
    workplace = Path(tempfile.mkdtemp(dir=models_dir, prefix=f".{name}."))
    try:
        suffix = path.suffix.lower()
        if suffix == ".onnx":
            card = _import_onnx(path, workplace, name, made, licence)
        elif suffix in (".pt", ".pth", ".safetensors"):
            card = _import_state(path, workplace, name, made, licence, architecture, width, height)
        else:
            raise WardposeError(
                f"weights of the kind {suffix or 'without suffix'!r} are not known",
                where=str(path),
                mend="give a .pt, .safetensors or .onnx file",
            )
        write_card(workplace, card)
        workplace.chmod(0o755)
        workplace.rename(target)
    except BaseException:
        shutil.rmtree(workplace, ignore_errors=True)
        raise
    return card


def _import_state(
    path: Path,
    folder: Path,
    name: str,
    made: dict[str, Any],
    licence: str,
    architecture: str | None,
    width: int,
    height: int,
) -> ModelCard:
    from tuning.families.yolo_models import build_detector, recognise

    if path.suffix.lower() == ".safetensors":
        state, metadata = read_safetensors(path)
        layers, person = None, 0
        architecture = architecture or metadata.get("architecture")
    else:
        checkpoint = read_checkpoint(path)
        state = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in checkpoint.state.items()}
        layers = checkpoint.architecture_yaml
        person = next((index for index, label in checkpoint.names.items() if label == "person"), 0)
    where = str(path)
    found = recognise(state, architecture=architecture, layers=layers, where=where)
    card = ModelCard(
        name=name,
        task="detect",
        architecture=found.architecture,
        architecture_yaml=found.layers,
        layout="yolo",
        width=width,
        height=height,
        built_classes=found.classes,
        classes=1,
        person_class=0,
        sha256="0" * 64,
        made=made,
        licence=licence,
    )
    model = build_detector(card, state, person_class=person, where=where)
    write_safetensors(folder / WEIGHTS_FILE, model.state(), metadata={"architecture": found.architecture})
    return card.model_copy(update={"sha256": sha256_of(folder / WEIGHTS_FILE)})


def _import_onnx(path: Path, folder: Path, name: str, made: dict[str, Any], licence: str) -> ModelCard:
    if path.stat().st_size > MAX_ONNX_BYTES:
        raise WardposeError("larger than any detector", where=str(path), mend="check which file this is")
    info, own = describe_onnx(path, name)
    write_bytes(folder / ONNX_FILE, path.read_bytes())
    if not own:  # the runtime reads the description beside a foreign model
        write_bytes(folder / f"{ONNX_FILE}.json", (info.model_dump_json(indent=2) + "\n").encode())
    return ModelCard(
        name=name,
        task=info.task,
        format="onnx",
        architecture=path.stem[:100],
        layout=info.layout,
        width=info.width,
        height=info.height,
        classes=info.classes,
        built_classes=info.classes,
        person_class=info.person_class,
        weights=ONNX_FILE,
        sha256=sha256_of(folder / ONNX_FILE),
        made=made,
        licence=licence,
        info=info,
    )


def describe_onnx(path: Path, name: str) -> tuple[ModelInfo, bool]:
    """What the runtime must know of an ONNX detector, and whether the file itself says so.

    A foreign file is recognised by its shapes: [1, M, 6] is end-to-end YOLO; [1, 4 + classes, N] YOLO; [1, N,
    5 + classes] YOLOX, whose convention is 0…255 BGR with the picture at the top left. External data is refused: such
    a file points at other files.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from pydantic import ValidationError

    where, mend = str(path), "give an ONNX detector with one picture input"
    try:
        model = onnx.load(str(path), load_external_data=False)
        initial = {tensor.name for tensor in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in initial]
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
            raise WardposeError("its weights lie in other files", where=where, mend="save it as one ONNX file")
    except (DecodeError, ValueError) as error:
        raise WardposeError(
            f"not an ONNX file ({type(error).__name__})", where=where, mend="copy the file again"
        ) from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY in metadata:
        try:
            return ModelInfo.model_validate(json.loads(metadata[METADATA_KEY])), True
        except (ValidationError, json.JSONDecodeError):
            raise WardposeError("its description does not hold", where=where, mend="export the model again") from None
    shapes = [[axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in (*inputs, *model.graph.output)]
    if (
        len(inputs) != 1
        or len(shapes) < 2
        or len(shapes[0]) != 4
        or len(shapes[1]) != 3
        or 0 in (*shapes[0][1:], *shapes[1][1:])
    ):
        raise WardposeError(f"a model of the shapes {shapes} is not known", where=where, mend=mend)
    height, width = shapes[0][2:]
    rows, columns = shapes[1][1:]
    cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    if columns == 6 and rows <= 1000:
        described: dict[str, Any] = {"layout": "yolo-end2end", "classes": 80}
    elif columns == cells and rows > 4:
        described = {"layout": "yolo", "classes": rows - 4}
    elif rows == cells and columns > 5:
        described = {
            "layout": "yolox", "classes": columns - 5,
            "std": (1.0, 1.0, 1.0), "channels": "bgr", "letterbox": "top-left",
        }  # fmt: skip
    else:
        raise WardposeError(f"an output of the shape {shapes[1]} is not known", where=where, mend=mend)
    return ModelInfo(name=name, task="detect", width=width, height=height, **described), False
