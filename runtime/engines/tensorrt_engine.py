"""TensorRT, built from the ONNX file on the box that runs it. The one module that imports tensorrt.

Precision lives in the ONNX file (fp16 weights, or quantise/dequantise pairs for int8): the network is strongly typed,
which TensorRT 10 and 11 both know, while 11 dropped the builder's precision flags. Built engines are bound to the
GPU, its driver and TensorRT's version, so the cache is keyed by all of them and by the model's own hash.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from runtime.engines.cuda_driver import CudaDevice
from runtime.model_info import ModelInfo

_MOST_PEOPLE = 8


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise WardposeError(
            "tensorrt is not installed", mend="install NVIDIA's tensorrt package on this box"
        ) from error
    return tensorrt


class TensorRTEngine:
    """An ONNX model as a TensorRT engine. The first use on a box builds it (minutes); later ones read the cache.

    Not safe to call from two threads at once. Raises WardposeError without tensorrt, without an NVIDIA GPU, and when
    the model can't be parsed or built.
    """

    name = "tensorrt"

    def __init__(self, onnx: Path, info: ModelInfo, *, cache: Path | None = None) -> None:
        trt = _tensorrt()
        self.info = info
        self.why: tuple[str, ...] = ()
        self._trt, self._device = trt, CudaDevice()
        self._logger = trt.Logger(trt.Logger.ERROR)
        plan = (cache or onnx.parent / "engines") / f"{onnx.stem}-{self._key(onnx)}.plan"
        if not plan.is_file():
            write_bytes(plan, self._build(onnx))
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            plan.unlink(missing_ok=True)
            raise WardposeError(
                "the cached engine could not be read and was removed", where=str(plan), mend="try again"
            )
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = trt.TensorIOMode.INPUT
        (self._input,) = (n for n in names if self._engine.get_tensor_mode(n) == is_input)
        self._outputs = [n for n in names if n != self._input]
        self._fixed_batch = self._engine.get_tensor_shape(self._input)[0]
        self._buffers: dict[str, tuple[int, int]] = {}

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(N, 3, H, W) float32 to the outputs, in as many calls as the engine's batch size needs."""
        size = self._fixed_batch if self._fixed_batch > 0 else _MOST_PEOPLE
        parts: list[list[NDArray[np.float32]]] = []
        for start in range(0, max(len(batch), 1), size):
            part = batch[start : start + size]
            short = self._fixed_batch - len(part) if self._fixed_batch > 0 else 0
            if short > 0:
                part = np.concatenate([part, np.zeros((short, *batch.shape[1:]), np.float32)])
            parts.append(self._call(part))
        return [np.concatenate(outputs)[: len(batch)] for outputs in zip(*parts, strict=True)]

    def _call(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        device, context = self._device, self._context
        device.make_current()
        feed = np.ascontiguousarray(batch, self._dtype(self._input))
        context.set_input_shape(self._input, feed.shape)
        context.set_tensor_address(self._input, self._buffer(self._input, feed.nbytes))
        device.copy_in(self._buffers[self._input][0], feed)
        answers = []
        for name in self._outputs:
            answer = np.empty(tuple(context.get_tensor_shape(name)), self._dtype(name))
            context.set_tensor_address(name, self._buffer(name, answer.nbytes))
            answers.append(answer)
        if not context.execute_async_v3(device.stream):
            raise WardposeError("inference failed", where=self.info.name, mend="see TensorRT's message above")
        for name, answer in zip(self._outputs, answers, strict=True):
            device.copy_out(answer, self._buffers[name][0])
        device.synchronize()
        return [answer.astype(np.float32, copy=False) for answer in answers]

    def _dtype(self, name: str) -> Any:
        return self._trt.nptype(self._engine.get_tensor_dtype(name))

    def _buffer(self, name: str, nbytes: int) -> int:
        address, held = self._buffers.get(name, (0, 0))
        if held < nbytes:
            if address:
                self._device.free(address)
            address = self._device.allocate(nbytes)
            self._buffers[name] = (address, nbytes)
        return address

    def _key(self, onnx: Path) -> str:
        parts = (self._device.name, self._device.driver_version, str(self._trt.__version__))
        return sha256_of(onnx, "\n".join(parts).encode())[:24]

    def _build(self, onnx: Path) -> bytes:
        trt = self._trt
        builder = trt.Builder(self._logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(onnx)):
            reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
            raise WardposeError(f"TensorRT can't read the model ({reasons[:300]})", where=str(onnx))
        config = builder.create_builder_config()
        picture = network.get_input(0)
        if picture.shape[0] < 0:
            rest = (3, self.info.height, self.info.width)
            profile = builder.create_optimization_profile()
            profile.set_shape(picture.name, (1, *rest), (1, *rest), (_MOST_PEOPLE, *rest))
            config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise WardposeError("TensorRT could not build the engine", where=str(onnx), mend="see its message above")
        return bytes(plan)
