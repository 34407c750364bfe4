"""The course of a training, step by step, as files that a researcher opens: CSV, and TensorBoard's event files.

Nothing is served and nothing is sent: `tensorboard --logdir FOLDER`, wherever somebody has it, reads the latter.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibration.atomic import write_text

METRICS_FILE = "metrics.csv"
EVENT_FILES = "events.out.tfevents.*"
_FLUSHED_S = 10.0  # at least so often, for whoever looks on
_FIRST = ("step", "epoch", "images", "seconds", "learning_rate", "loss")


class MetricsLog:
    """Appends one row for every step of the optimiser; of a training that goes on, the rows after its checkpoint are
    dropped first, so that each step stands there once."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: how many batches are behind the training."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS_FILE
        self._columns = self._cut(step) if step else []
        if not step:
            for old in (self._path, *folder.glob(EVENT_FILES)):
                old.unlink(missing_ok=True)
        self._events = _EventFile(folder, step)

    def add(self, row: Mapping[str, float], terms: Mapping[str, float]) -> None:
        """row: the columns that every training has; terms: its loss's own."""
        values = {name: row[name] for name in _FIRST} | {f"loss {name}": value for name, value in terms.items()}
        text = io.StringIO()
        writer = csv.writer(text)
        if not self._columns:
            self._columns = list(values)
            writer.writerow(self._columns)
        writer.writerow([f"{values.get(name, float('nan')):.9g}" for name in self._columns])
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())
        course = {"learning_rate": row["learning_rate"], "loss/sum": row["loss"]}
        self._events.add(int(row["step"]), course | {f"loss/{name}": value for name, value in terms.items()})

    def close(self) -> None:
        self._events.close()

    def _cut(self, step: int) -> list[str]:
        """Leave the rows up to `step`; returns the columns' names."""
        try:
            rows = list(csv.reader(io.StringIO(self._path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return []
        if not rows:
            return []
        kept = [rows[0], *(row for row in rows[1:] if len(row) == len(rows[0]) and float(row[0]) <= step)]
        text = io.StringIO()
        csv.writer(text).writerows(kept)
        write_text(self._path, text.getvalue())
        return rows[0]


class _EventFile:
    """One of TensorBoard's event files, written by the thread that trains: tensorboardX's own writer has a thread and a
    queue, on which a training waited for ever when the disk had filled under it."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: after which earlier files' events no longer hold; 0 where there are none."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        self._event: Any = Event
        self._file: Any = RecordWriter(str(folder / f"events.out.tfevents.{time.time_ns()}.wardpose"))
        self._flushed = time.monotonic()
        self._write(file_version="brain.Event:2")
        if step:
            self._write(step=step, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        told = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=Summary(value=told))
        if time.monotonic() - self._flushed >= _FLUSHED_S:
            self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._file.close()

    def _write(self, **said: Any) -> None:
        self._file.write(self._event(wall_time=time.time(), **said).SerializeToString())
