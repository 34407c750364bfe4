"""What a command prints: lines and tables for a person, one JSON object for a program."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from appliance.cli.streams import give_up, visible
from calibration.progress import Progress
from calibration.redaction import redacted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.estimate import CalibrationEstimate

PLAIN_SECONDS = 10.0  # between progress lines where there is no terminal


class Told(str):
    """What is said as it stands though a secret of this box's own is in it: somebody with the right to it asked."""

    __slots__ = ()


class Output:
    """Where a command says things. With `as_json`, words go to standard error, only the answer to standard output.

    lost: why what was said could not be written, empty where it was. A command does its deed all the same.
    """

    def __init__(self, *, as_json: bool, closed: bool = False) -> None:
        self.as_json = as_json
        self._closed, self.lost = closed, ""
        self._answer_descriptor = 1
        if as_json:
            # Libraries that print would spoil the answer: from here on their standard output is standard error.
            with self._written(1):
                sys.stdout.flush()
            self._answer_descriptor = os.dup(1)
            os.dup2(2, 1)

    def say(self, text: str) -> None:
        """One line for a person; a camera's password in it is hidden."""
        with self._written(2 if self.as_json else 1):
            print(
                visible(text if isinstance(text, Told) else redacted(text)),
                file=sys.stderr if self.as_json else sys.stdout,
                flush=True,
            )

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under their headings, for a person; numbers to the right."""
        if self.as_json:
            return
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
        right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
        for line in [list(columns), ["─" * width for width in widths], *cells]:
            padded = (text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True))
            self.say("  ".join(padded).rstrip())

    @property
    def is_terminal(self) -> bool:
        """Whether somebody may be looking at what is said."""
        return (sys.stderr if self.as_json else sys.stdout).isatty()

    def picture(self, color: NDArray[np.uint8], estimate: CalibrationEstimate | None = None) -> bool:
        """A picture (H, W, 3) RGB in half blocks, the bed of `estimate` on it; False, and nothing, off a terminal."""
        if not self.is_terminal:
            return False
        stream = sys.stderr if self.as_json else sys.stdout
        import shutil

        from rich.console import Console

        from appliance.tui.cells import in_cells

        size = shutil.get_terminal_size()
        with self._written(2 if self.as_json else 1):
            Console(file=stream).print(in_cells(color, size.columns - 1, size.lines - 4, estimate))
        return True

    def answer(self, values: dict[str, Any]) -> None:
        """The command's one JSON object, without a camera's password; nothing for a person."""
        if self.as_json:
            text = json.dumps(_fit(values), default=_plain, allow_nan=False) + "\n"
            rest = text.encode()
            with self._written(self._answer_descriptor):
                while rest:  # a pipe or a disk may take a part
                    rest = rest[os.write(self._answer_descriptor, rest) :]

    @contextlib.contextmanager
    def _written(self, descriptor: int) -> Iterator[None]:
        """Write it down where what is written in it cannot be: `lost`, unless it was but words beside an answer."""
        wanted = descriptor != 2
        if self._closed and wanted:
            self.lost = "is closed"
        try:
            yield
        except BrokenPipeError:
            if wanted:
                raise
        except OSError as error:
            give_up(descriptor)
            if wanted:
                self.lost = f"fails ({(error.strerror or str(error)).lower()})"

    @contextlib.contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        """A bar for one stage on standard error; plain lines, one every ten seconds, where that is no terminal."""
        if not sys.stderr.isatty():
            yield _PlainProgress(stage)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}", style="dim"),
        )  # fmt: skip
        with Bars(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(stage, total=None, note="")

            def report(done: int, total: int, note: str) -> None:
                bars.update(task, completed=done, total=total if total > 0 else None, note=note)

            yield report


class _PlainProgress:
    def __init__(self, stage: str) -> None:
        self.stage, self.told_at, self.told = stage, time.monotonic(), -1

    def __call__(self, done: int, total: int, note: str) -> None:
        finished = done >= total > 0
        if (total <= 0 and not note) or done == self.told:
            return
        if finished or time.monotonic() - self.told_at >= PLAIN_SECONDS:
            self.told_at, self.told = time.monotonic(), done
            counted = f"{done} of {total}{f' ({note})' if note else ''}" if total > 0 else note
            print(visible(redacted(f"{self.stage}: {counted}")), file=sys.stderr, flush=True)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _fit(value: Any) -> Any:
    """NaN and infinity, which JSON does not have, become null; no text holds a camera's password."""
    if isinstance(value, dict):
        return {key: _fit(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(item) for item in value]
    if isinstance(value, str):
        return value if isinstance(value, Told) else redacted(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: object) -> object:
    """JSON's form of paths and numpy's numbers, told by what they can do so that numpy need not be imported."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for name in ("tolist", "model_dump"):
        if callable(method := getattr(value, name, None)):
            return method()
    raise TypeError(f"{type(value).__name__} has no JSON form")
