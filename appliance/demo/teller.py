"""To whom the demo tells what it does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from calibration.progress import Progress


class Teller(Protocol):
    """The command line's output, or anybody else's."""

    def say(self, text: str) -> None: ...

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None: ...

    def progress(self, stage: str) -> AbstractContextManager[Progress]: ...
