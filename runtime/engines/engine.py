"""The engine protocol, the engines that come with the product, and opening one that agrees with the CPU's numbers.

Every engine is held against ONNX Runtime on the CPU before it may be used: an engine that builds but answers with
other numbers is worse than a slow one. Here the raw numbers are compared; the live path's choice goes by people
(`runtime.engine_choice.qualify`), which also tells which engine is the fastest.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.plugins import load_plugin, plugin_names
from runtime.model_info import ModelInfo

REFERENCE = "onnxruntime-cpu"
INT8 = "onnxruntime-int8"
# Which engines work with the model's own numbers, so that work that is not live may use them unasked.
BEST_FIRST = ("tensorrt", "onnxruntime-cuda", REFERENCE)
SHIPPED = ("tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda", "openvino", INT8, REFERENCE)
ON_CPU = ("openvino", INT8, REFERENCE)
# Largest difference from the reference, as a part of the output's own range. TF32 convolutions stay under 0.2 %,
# half precision under 1 %; a wrong layout is off by tens of percent.
AGREEMENT = 0.02
_PACKAGES = {"tensorrt": "tensorrt", "openvino": "openvino"}


class InferenceEngine(Protocol):
    """One loaded model. `run` blocks until the numbers are on the host; one thread at a time may call it.

    name: which engine this is, one of `SHIPPED` or a plug-in's name. why: one line for each faster engine that was
    refused on this box, empty where the fastest is in use.
    """

    name: str
    info: ModelInfo
    why: tuple[str, ...]

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(N, 3, info.height, info.width) float32, normalised, to the model's outputs, each with N leading."""
        ...


def engine_names() -> tuple[str, ...]:
    """Every engine that can be asked for by name: the product's, then a site's own plug-ins."""
    return tuple(dict.fromkeys((*SHIPPED, *plugin_names("inference_engines"))))


def require_engine_name(name: str) -> None:
    """Raise WardposeError unless an engine is called that."""
    if name not in engine_names():
        raise WardposeError(
            f"no inference engine is called {name!r}", mend=f"choose one of: {', '.join(engine_names())}"
        )


def build_engine(
    name: str,
    onnx: Path,
    info: ModelInfo,
    *,
    threads: int | None = None,
    pinned: bool = False,
    place: Path | None = None,
) -> InferenceEngine:
    """The engine `name` of an ONNX file, whatever it answers; raises WardposeError where this box can't have it.

    place: folder of what is compiled or quantised (None: beside the model). threads: of an engine on the CPU; pinned:
    each stays on a core of its own.
    """
    from runtime.engines.onnx_engine import OnnxEngine, int8_file

    package = _PACKAGES.get(name)
    if package is not None and find_spec(package) is None:
        raise WardposeError(f"{package} is not installed", mend=f"install {package} on this box")
    if name == "tensorrt":
        from runtime.engines.tensorrt_engine import TensorRTEngine

        return TensorRTEngine(onnx, info, cache=place)
    if name == "openvino":
        from runtime.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(onnx, info, threads=threads, pinned=pinned)
    if name == "onnxruntime-tensorrt":
        return OnnxEngine(onnx, provider="TensorrtExecutionProvider", place=place, info=info)
    if name == "onnxruntime-cuda":
        return OnnxEngine(onnx, provider="CUDAExecutionProvider")
    if name == INT8:
        quantised = int8_file(onnx, place)
        if not quantised.is_file():
            raise WardposeError("not quantised yet", where=str(onnx), mend="wardpose engines --measure")
        engine = OnnxEngine(quantised, threads=threads, pinned=pinned, info=info)
        engine.name = INT8
        return engine
    if name == REFERENCE:
        return OnnxEngine(onnx, threads=threads, pinned=pinned)
    plugin: InferenceEngine = load_plugin("inference_engines", name)(onnx, info)
    return plugin


def open_engine(onnx: Path, *, prefer: str | None = None, threads: int | None = None) -> InferenceEngine:
    """Open an ONNX model on the best engine of `BEST_FIRST` that runs here and agrees with the CPU's numbers.

    prefer: an engine's name; it is then used or an error says why it can't be (never silently another one).
    threads: CPU threads for the CPU engine, None for the library's own choice.
    Raises WardposeError for a file that is no ONNX model, one that says nothing of how to feed it, and a preferred
    engine that does not qualify.
    """
    from runtime.engines.onnx_engine import OnnxEngine

    if prefer is not None:
        require_engine_name(prefer)
    reference = OnnxEngine(onnx, threads=threads)
    if prefer == REFERENCE:
        return reference
    refused: list[str] = []
    for name in BEST_FIRST[:-1] if prefer is None else (prefer,):
        try:
            engine = build_engine(name, onnx, reference.info, threads=threads)
            require_agreement(engine, reference)
        except WardposeError as error:
            refused.append(f"{name}: {error.what}")
            continue
        engine.why = tuple(refused)
        return engine
    if prefer is not None:
        raise WardposeError(
            f"engine {prefer} does not qualify on this box: {'; '.join(refused)}",
            where=str(onnx),
            mend=f"choose another engine, for example {REFERENCE}",
        )
    reference.why = tuple(refused)
    return reference


def require_agreement(engine: InferenceEngine, reference: InferenceEngine, tolerance: float = AGREEMENT) -> float:
    """The largest difference between two engines on a fixed picture-like batch, as a part of the output's range.

    Raises WardposeError when it passes `tolerance`, or when an output's shape differs or isn't finite.
    """
    batch = probe_batch(reference.info)
    expected, actual = reference.run(batch), engine.run(batch)
    if [a.shape for a in actual] != [e.shape for e in expected]:
        raise WardposeError(f"outputs {[a.shape for a in actual]}, the CPU gives {[e.shape for e in expected]}")
    worst = 0.0
    for answer, truth in zip(actual, expected, strict=True):
        if not np.isfinite(answer).all():
            raise WardposeError("its output is not finite")
        span = max(float(np.ptp(truth)), 1e-6)
        worst = max(worst, float(np.abs(answer.astype(np.float64) - truth).max()) / span)
    if worst > tolerance:
        raise WardposeError(f"differs from the CPU by {worst:.1%} of the output's range, allowed {tolerance:.1%}")
    return worst


def probe_batch(info: ModelInfo) -> NDArray[np.float32]:
    """A (1, 3, H, W) normalised batch with smooth areas, edges and noise: the same on every box and day."""
    rng = np.random.default_rng(20260418)
    y, x = np.mgrid[: info.height, : info.width].astype(np.float32)
    planes = [127 + 90 * np.sin(x / (11 + 7 * c) + c) * np.cos(y / (17 - 3 * c)) for c in range(3)]
    picture = np.stack(planes) + rng.normal(0, 12, (3, info.height, info.width))
    picture[:, info.height // 4 : info.height // 2, info.width // 3 : info.width // 2] = 220
    mean, std = (np.asarray(v, np.float32).reshape(3, 1, 1) for v in (info.mean, info.std))
    return ((np.clip(picture, 0, 255) - mean) / std)[None].astype(np.float32)
