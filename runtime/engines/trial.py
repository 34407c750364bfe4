"""Running a foreign ONNX model once on a picture, in a process of its own with bounds of time and memory.

What a graph does is known only when it runs, and a foreign one may crash the library, never end or fill the memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps

SECONDS = 120.0
_MEMORY_BYTES = 16 * 2**30
_ANSWER_BYTES = 2**30


def run_once(model: bytes, where: str, *, seconds: float = SECONDS) -> list[NDArray[np.float32]]:
    """The outputs, in order, for one picture of noise, areas and edges, RGB of 0…1 (of 0…255 where it takes bytes).

    Raises WardposeError where this box cannot run the model: not at all, not within `seconds`, or with an answer that
    is no tensor of numbers. where: what the error names.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-trial-") as folder:
        path, answer = Path(folder) / "model.onnx", Path(folder) / "answer.npz"
        path.write_bytes(model)
        command = [sys.executable, "-m", "runtime.engines.trial", str(path), str(answer)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise WardposeError(
                f"it did not answer within {seconds:.0f} s", where=where, mend="choose a smaller model"
            ) from None
        said = done.stderr.decode(errors="replace").replace(str(path), "it").strip().splitlines()
        if done.returncode or not answer.is_file():
            raise WardposeError(
                f"this box cannot run it ({said[-1][:200] if said else f'exit code {done.returncode}'})", where=where,
                mend="export it again for ONNX Runtime, with opset 17",
            )  # fmt: skip
        with np.load(answer, allow_pickle=False) as outputs:
            return [np.asarray(outputs[name], np.float32) for name in sorted(outputs.files, key=int)]


def _main(model: Path, answer: Path) -> int:
    from runtime.engines.onnx_engine import raw_run

    keep_out_of_dumps()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        outputs = raw_run(model, _picture)
    except Exception as error:  # whatever the library raises is told in one line
        print((str(error).strip().splitlines() or [type(error).__name__])[0][:300], file=sys.stderr)
        return 1
    if sum(output.nbytes for output in outputs) > _ANSWER_BYTES:
        print("its answer is larger than any detector's", file=sys.stderr)
        return 1
    np.savez(answer, **{str(place): output for place, output in enumerate(outputs)})  # type: ignore[arg-type]
    return 0


def _picture(height: int, width: int) -> NDArray[np.float32]:
    """(3, height, width) RGB of 0…255 with smooth areas, edges and noise: the same on every box and day."""
    rng = np.random.default_rng(20260418)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = np.stack([127 + 90 * np.sin(x / (11 + 7 * c) + c) * np.cos(y / (17 - 3 * c)) for c in range(3)])
    planes += rng.normal(0, 12, planes.shape).astype(np.float32)
    planes[:, height // 4 : height // 2, width // 3 : width // 2] = 220
    return np.clip(planes, 0, 255).astype(np.float32)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2])))
