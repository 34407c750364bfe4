"""Reading JSON that somebody else wrote: whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes | bytearray) -> Any:
    """The value of a JSON text; ValueError for anything else, brackets within brackets without end among it.

    The one place of the product that parses JSON, beside pydantic, whose parser has a bound of its own.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
