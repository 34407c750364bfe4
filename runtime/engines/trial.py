"""Running a foreign ONNX model once on a picture, in a process of its own with bounds of time and memory.

What a graph does is known only when it runs, and a foreign one may crash the library, never end or fill the memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.confinement import confined, hurried, is_confined, run_confined
from calibration.errors import WardposeError

SECONDS = 120.0
_ANSWER_BYTES = 2**28
_MEND = "export it again for ONNX Runtime, with opset 17"


def run_once(model: bytes, where: str, *, seconds: float = SECONDS) -> list[NDArray[np.float32]]:
    """The outputs, in order, for one picture of noise, areas and edges, RGB of 0…1 (of 0…255 where it takes bytes).

    Raises WardposeError where this box cannot run the model: not at all, not within `seconds` of processor time or the
    fewer that `calibration.confinement.hurried` gives it, not in the memory that a model of its size may want, or with
    an answer that is no tensor of numbers. where: what the error names. What is confined already runs it itself.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-trial-") as folder:
        path, answer = Path(folder) / "model.onnx", Path(folder) / "answer.npz"
        path.write_bytes(model)
        if is_confined():
            return _run(path, where)
        run_confined(
            "runtime.engines.trial", [str(path), str(answer), where], where=where, size=len(model), cpu_seconds=seconds,
            mend="choose a smaller model, or export it again",
        )  # fmt: skip
        with np.load(answer, allow_pickle=False) as outputs:
            return [np.asarray(outputs[name], np.float32) for name in sorted(outputs.files, key=int)]


def _run(model: Path, where: str) -> list[NDArray[np.float32]]:
    from runtime.engines.onnx_engine import raw_run

    try:
        with hurried("its first run", model.stat().st_size):
            outputs = raw_run(model, _picture)
    except MemoryError:
        raise
    except Exception as error:  # whatever the library raises is told in one line
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(str(model), "it")
        raise WardposeError(f"this box cannot run it ({said[:200]})", where=where, mend=_MEND) from None
    if sum(output.nbytes for output in outputs) > _ANSWER_BYTES:
        raise WardposeError("its answer is larger than any model's", where=where, mend=_MEND)
    return outputs


def _main() -> None:
    model, answer, where = sys.argv[1:]
    outputs = _run(Path(model), where)
    np.savez(answer, **{str(place): output for place, output in enumerate(outputs)})  # type: ignore[arg-type]


def _picture(height: int, width: int) -> NDArray[np.float32]:
    """(3, height, width) RGB of 0…255 with smooth areas, edges and noise: the same on every box and day."""
    rng = np.random.default_rng(20260418)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = np.stack([127 + 90 * np.sin(x / (11 + 7 * c) + c) * np.cos(y / (17 - 3 * c)) for c in range(3)])
    planes += rng.normal(0, 12, planes.shape).astype(np.float32)
    planes[:, height // 4 : height // 2, width // 3 : width // 2] = 220
    return np.clip(planes, 0, 255).astype(np.float32)


if __name__ == "__main__":
    sys.exit(confined(_main))
