"""ONNX Runtime, on the CPU, through CUDA or TensorRT, and its quantiser. The one module that imports onnxruntime."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from runtime.model_info import METADATA_KEY, ModelInfo

_NAMES = {
    "CPUExecutionProvider": "onnxruntime-cpu",
    "CUDAExecutionProvider": "onnxruntime-cuda",
    "TensorrtExecutionProvider": "onnxruntime-tensorrt",
}
_ERRORS_ONLY = 3


def _onnxruntime() -> Any:
    # Read when the library is loaded: without it, onnxruntime looks up a Microsoft host.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise WardposeError(
            "onnxruntime is not installed", mend="pip install onnxruntime (or onnxruntime-gpu, never both)"
        ) from error
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxEngine:
    """An ONNX model in ONNX Runtime.

    Raises WardposeError when the file is no usable ONNX model, when it says nothing of how to feed it, and when the
    provider asked for is not the one the session really got (the library itself would fall back silently).
    """

    def __init__(
        self,
        onnx: Path,
        *,
        provider: str = "CPUExecutionProvider",
        threads: int | None = None,
        pinned: bool = False,
        place: Path | None = None,
        info: ModelInfo | None = None,
    ) -> None:
        """pinned: each thread stays on a core of its own, but for the one that asks. place: where TensorRT's provider
        keeps what it compiles (None: nothing is kept). info: what is known of the model, where its file need not be
        asked."""
        ort = _onnxruntime()
        if provider not in ort.get_available_providers():
            raise WardposeError(f"this onnxruntime has no {provider}", mend="pip install onnxruntime-gpu")
        if not onnx.is_file():
            raise WardposeError("no such model file", where=str(onnx), mend="name an existing .onnx file")
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        # Spinning threads take the core that capture and display need, for a gain of a few percent.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            if pinned and (others := _cores_of_its_own(threads)):
                options.add_session_config_entry("session.intra_op_thread_affinities", others)
        # The base of everything onnxruntime's bindings raise is Exception itself (Fail, InvalidProtobuf, NoModel...).
        try:
            self._session = ort.InferenceSession(str(onnx), options, providers=[_with_options(provider, place)])
        except Exception as error:
            raise WardposeError(
                f"not an ONNX model this box can run ({_first_line(error)})",
                where=str(onnx),
                mend="export it again with `wardpose export`, or import the original once more",
            ) from error
        actual = self._session.get_providers()[0]
        if actual != provider:
            raise WardposeError(f"asked for {provider}, the session got {actual}", where=str(onnx))
        self.name = _NAMES.get(provider, provider)
        self.why: tuple[str, ...] = ()
        self.info = info or _model_info(onnx, dict(self._session.get_modelmeta().custom_metadata_map))
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise WardposeError(
                f"a model with one picture input is expected, this has {[i.shape for i in inputs]}", where=str(onnx)
            )
        self._input = inputs[0].name
        fixed, _, height, width = inputs[0].shape
        for actual_size, stated, side in ((height, self.info.height, "height"), (width, self.info.width, "width")):
            if isinstance(actual_size, int) and actual_size != stated:
                raise WardposeError(
                    f"input {side} is {actual_size}, its description says {stated}",
                    where=str(onnx),
                    mend="correct the description",
                )
        self._half = inputs[0].type == "tensor(float16)"
        self._fixed_batch = fixed if isinstance(fixed, int) else None

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(N, 3, H, W) float32 to the outputs. A model exported for one batch size is called as often as needed."""
        size = self._fixed_batch
        if size is None or len(batch) == size:
            return self._call(batch)
        padded = np.concatenate([batch, np.zeros((-len(batch) % size, *batch.shape[1:]), np.float32)])
        parts = [self._call(padded[i : i + size]) for i in range(0, len(padded), size)]
        return [np.concatenate(outputs)[: len(batch)] for outputs in zip(*parts, strict=True)]

    def _call(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        feed = batch.astype(np.float16) if self._half else np.ascontiguousarray(batch, np.float32)
        try:
            outputs = self._session.run(None, {self._input: feed})
        except Exception as error:
            raise WardposeError(f"inference failed ({_first_line(error)})", where=self.info.name) from error
        return [np.asarray(output, np.float32) for output in outputs]


def _cores_of_its_own(threads: int) -> str:
    """A core for each thread but the first, which is the caller's: counted from 1 as ONNX Runtime does."""
    may_use = sorted(os.sched_getaffinity(0))
    return ";".join(str(may_use[thread % len(may_use)] + 1) for thread in range(1, threads))


def _with_options(provider: str, place: Path | None) -> str | tuple[str, dict[str, str]]:
    if provider != "TensorrtExecutionProvider" or place is None:
        return provider
    place.mkdir(parents=True, exist_ok=True)
    # Its own file names hold the model's hash, the GPU's architecture and TensorRT's version.
    return provider, {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(place)}


def int8_file(onnx: Path, place: Path | None) -> Path:
    """Where the INT8 form of a model lies, by the model's content."""
    return (place or onnx.parent / "engines") / f"{onnx.stem}-{sha256_of(onnx)[:16]}-int8.onnx"


def quantise(onnx: Path, target: Path, batches: Iterator[NDArray[np.float32]]) -> None:
    """Write the INT8 form of a model: pairs of quantise and dequantise around its convolutions and nothing else,
    activations U8 by the ranges that `batches` (1, 3, H, W) give, weights S8 a channel.

    So measured: S8 activations or other operators make it slower than the original on many processors. Raises
    WardposeError where the quantiser can't take the model.
    """
    from calibration.atomic import write_bytes

    ort = _onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = ort.InferenceSession(str(onnx), providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(batches, None)
            return None if batch is None else {name: batch}

    draft = target.with_suffix(".draft")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet():
            quantize_static(
                str(onnx), str(draft), Batches(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        write_bytes(target, draft.read_bytes())
    except Exception as error:  # whatever the quantiser or the graph's checker raise
        raise WardposeError(f"it can't be quantised ({_first_line(error)})", where=str(onnx)) from error
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice on the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def raw_run(onnx: Path, picture: Callable[[int, int], NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """A model's outputs for one picture of its own size, whatever it says of itself; Exception where it cannot run.

    picture: (3, height, width) RGB of 0…255 for a height and a width; models of real numbers get 0…1.
    """
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(f"its inputs {[entry.shape for entry in inputs]} are not one picture")
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    if inputs[0].type not in kinds:
        raise ValueError(f"its input is {inputs[0].type}")
    batch, _, height, width = inputs[0].shape
    pixels = picture(height, width)
    if inputs[0].type != "tensor(uint8)":
        pixels = pixels / np.float32(255)
    count = batch if isinstance(batch, int) and batch > 0 else 1
    feed = np.repeat(pixels[None], count, axis=0).astype(kinds[inputs[0].type])
    return [np.asarray(output, np.float32) for output in session.run(None, {inputs[0].name: feed})]


def _model_info(onnx: Path, metadata: dict[str, str]) -> ModelInfo:
    """The description inside the file, or for a foreign model the one beside it (`<file>.json`)."""
    sidecar = onnx.with_name(onnx.name + ".json")
    if METADATA_KEY in metadata:
        text, where = metadata[METADATA_KEY], f"{onnx} (metadata {METADATA_KEY!r})"
    elif sidecar.is_file():
        text, where = sidecar.read_text(encoding="utf-8"), str(sidecar)
    else:
        raise WardposeError(
            "the model does not say how it wants its pictures and what its output means",
            where=str(onnx),
            mend=f"import it with `wardpose models import`, or describe it in {sidecar.name}",
        )
    try:
        return ModelInfo.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the description"
        raise WardposeError(f"{field}: {first['msg']}", where=where, mend="correct the description") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
