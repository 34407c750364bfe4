"""OpenVINO on the processor. The one module that imports openvino.

OpenVINO is installed without what it asks for (`pip install --no-deps openvino`): its only need besides numpy is a
package that tells its makers what it is used for.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo


def _openvino() -> Any:
    if find_spec("openvino_telemetry") is not None:
        raise WardposeError("openvino-telemetry is installed, which calls out", mend="pip uninstall openvino-telemetry")
    try:
        import openvino
    except ImportError as error:
        raise WardposeError("openvino is not installed", mend="pip install --no-deps openvino") from error
    return openvino


class OpenVinoEngine:
    """An ONNX model in OpenVINO, in the precision that it chooses for this processor.

    Raises WardposeError where OpenVINO is absent, or can't read or compile the model.
    """

    name = "openvino"

    def __init__(self, onnx: Path, info: ModelInfo, *, threads: int | None = None, pinned: bool = False) -> None:
        openvino = _openvino()
        self.info = info
        self.why: tuple[str, ...] = ()
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": pinned}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        # What its bindings raise is RuntimeError or its subclasses, with the graph's node in the text.
        try:
            core = openvino.Core()
            model = core.read_model(str(onnx))
            if info.task == "detect":  # one picture at a time: a fixed shape is compiled better
                model.reshape([1, 3, info.height, info.width])
            self._compiled = core.compile_model(model, "CPU", options)
            self._request = self._compiled.create_infer_request()
        except Exception as error:
            raise WardposeError(f"OpenVINO can't use the model ({_first_line(error)})", where=str(onnx)) from error

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(N, 3, H, W) float32 to the outputs; a detector's pictures go one by one."""
        if self.info.task == "detect" and len(batch) != 1:
            parts = [self._call(batch[i : i + 1]) for i in range(len(batch))]
            return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
        return self._call(batch)

    def _call(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        try:
            self._request.infer([np.ascontiguousarray(batch, np.float32)])
            outputs = [self._request.get_output_tensor(i).data for i in range(len(self._compiled.outputs))]
        except Exception as error:
            raise WardposeError(f"inference failed ({_first_line(error)})", where=self.info.name) from error
        return [np.array(output, np.float32) for output in outputs]  # a copy: the request's memory is used again


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()[:200]
