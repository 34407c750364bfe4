"""What the gate has said of each candidate of a trial, kept, so that a trial that was ended goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from calibration.code_digest import code_digest
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.json_text import parse_json

_OWN = sorted(Path(__file__).parent.glob("gate*.py"))
_CODE = ("tuning/evaluate", "tuning/gate", *(f"benchmarks/{path.name}" for path in _OWN))


def everything_judged_by(seed: int, files: Iterable[Path]) -> str:
    """A digest of what a verdict depends on: the seed, the files of models and labels, and the code that judges."""
    parts = (str(seed), code_digest(*_CODE), *map(sha256_of, files))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Decided:
    """By candidate: whether it passed, and why not.

    file: keeps a line each, none where it is None. of: what they depend on; a file of anything else is begun anew.
    """

    def __init__(self, file: Path | None = None, of: str = "") -> None:
        self._file, self._said = file, dict[str, tuple[bool, str]]()
        if file is None:
            return
        head = {"of": of}
        rows = _whole_rows(file)
        if rows[:1] == [head]:
            self._said = {row["candidate"]: (row["passed"], row["why"]) for row in rows[1:]}
        rows = [head, *(self._row(name) for name in self._said)]
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    def get(self, name: str) -> tuple[bool, str] | None:
        return self._said.get(name)

    def add(self, name: str, said: tuple[bool, str]) -> None:
        self._said[name] = said
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(f"{json.dumps(self._row(name))}\n")

    def _row(self, name: str) -> dict[str, object]:
        passed, why = self._said[name]
        return {"candidate": name, "passed": passed, "why": why}


def _whole_rows(file: Path) -> list[Any]:
    """Without one that a process began and did not end."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    try:
        return [parse_json(line) for line in lines if line.endswith("\n")]
    except ValueError:
        raise WardposeError("is damaged", where=str(file), mend="delete it: every candidate is tried again") from None
