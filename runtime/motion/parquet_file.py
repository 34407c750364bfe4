"""Skeletons as Parquet: written while they come, a row group every few seconds. The one user of pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from calibration.errors import WardposeError
from runtime.motion.motion import Motion, rows_of
from runtime.skeleton import KEYPOINTS

VERSION = "1"
_GROUP_ROWS = 256
_TEXT = ("role", "place")
_BOX = ("x1", "y1", "x2", "y2")
_PIXELS, _METRES = ("x", "y", "score"), ("x_m", "y_m", "z_m", "error_m")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise WardposeError(
            "pyarrow is not installed", mend="run `./wardpose setup`, or pip install pyarrow"
        ) from error
    return pyarrow, pyarrow.parquet


def _columns() -> list[str]:
    """The numbers of a row, in their order."""
    joints = [f"{joint}_{part}" for joint in KEYPOINTS for part in (*_PIXELS, *_METRES)]
    return [*_BOX, "detection_score", *joints]


def _schema(pyarrow: Any, metadata: Mapping[str, str]) -> Any:
    fields = [("time_s", pyarrow.float64()), ("person", pyarrow.int64())]
    fields += [(name, pyarrow.string()) for name in _TEXT]
    fields += [(name, pyarrow.float32()) for name in _columns()]
    return pyarrow.schema(fields, metadata={f"wardpose_{name}": text for name, text in metadata.items()})


class SkeletonWriter:
    """Writes live messages into a stream. metadata: what else the file says of itself, such as when it expires.

    For one thread. A message that isn't live, shows nobody, or is of a frame that was there before adds nothing.
    """

    def __init__(self, stream: IO[bytes], width: int, height: int, began: str, metadata: Mapping[str, str]) -> None:
        self._pyarrow, parquet = _pyarrow()
        told = {"version": VERSION, "width": str(width), "height": str(height), "began": began, **metadata}
        self._schema = _schema(self._pyarrow, told)
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._waiting: list[list[Any]] = []
        self._first_s: float | None = None
        self._last_s = -np.inf
        self.rows = self.frames = 0
        self.duration_s = 0.0

    def write(self, message: Mapping[str, Any]) -> None:
        if message["state"] != "live" or message["captured_at"] <= self._last_s:
            return
        self._last_s = float(message["captured_at"])
        if self._first_s is None:
            self._first_s = self._last_s
        self.duration_s = self._last_s - self._first_s
        rows = rows_of(message)
        self.frames += bool(rows)
        self._waiting += [_flat(self.duration_s, row) for row in rows]
        if len(self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        columns = list(zip(*self._waiting, strict=True))
        arrays = [self._pyarrow.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(self._waiting)
        self._waiting = []

    def finish(self) -> None:
        """Write what is left and the file's end."""
        self._flush()
        self.close()

    def close(self) -> None:
        """Let go of the stream; without `finish` what was written is to be thrown away."""
        self._writer.close()


def _flat(time_s: float, row: Mapping[str, Any]) -> list[Any]:
    flat: list[Any] = [time_s, row["person"], row["role"], row["place"], *row["box"], row["score"]]
    lifted = row["joints_m"] or [None] * len(KEYPOINTS)
    for pixels, metres in zip(row["joints"], lifted, strict=True):
        flat += [*pixels, *(metres if metres is not None else (None,) * len(_METRES))]
    return flat


def read_motion(file: Path) -> Motion:
    """The skeletons of a file; raises WardposeError where it is none of ours or damaged."""
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(file)
        told = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items() if k.startswith(b"wardpose_")}
        told = {name.removeprefix("wardpose_"): text for name, text in told.items()}
        if told.get("version") != VERSION:
            raise ValueError(f"it has version {told.get('version', 'none')}, this program reads version {VERSION}")
        if table.schema.names != _schema(pyarrow, {}).names:
            raise ValueError("its columns are others than those of skeletons")
        numbers = (
            np.stack([table[name].to_numpy().astype(np.float32) for name in _columns()], axis=1)
            if table.num_rows
            else np.empty((0, len(_columns())), np.float32)
        )
        joints = numbers[:, 5:].reshape(len(numbers), len(KEYPOINTS), len(_PIXELS) + len(_METRES))
        return Motion(
            table["time_s"].to_numpy(), table["person"].to_numpy(), np.array(table["role"].to_pylist(), np.str_),
            np.array(table["place"].to_pylist(), np.str_), numbers[:, :4], numbers[:, 4], joints[..., :3],
            joints[..., 3:], int(told["width"]), int(told["height"]), told["began"],
            {k: v for k, v in told.items() if k not in ("version", "width", "height", "began")},
        )  # fmt: skip
    except (OSError, ValueError, KeyError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        why = " ".join(str(error).split())[:200]
        raise WardposeError(f"it can't be read as skeletons ({why})", where=str(file)) from error
