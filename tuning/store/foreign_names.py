"""What a foreign model file says of its classes, its task and its input, in the entries that exporters write."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from calibration.json_text import parse_json

# ultralytics and YOLOv5 write `names`; others one of these.
_NAMES = ("names", "class_names", "classes", "labels", "class_labels")
_LONGEST = 1 << 20  # characters of an entry that is looked at


def class_names(metadata: Mapping[str, str]) -> dict[int, str]:
    """The names by class, where an entry lists them: an object, a list, or words between commas or line ends."""
    for key in _NAMES:
        if names := listed_names(_value(metadata.get(key, ""))):
            return names
    return {}


def input_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Width and height (px) that a file with an open input was exported for (`imgsz`)."""
    size = _value(metadata.get("imgsz", ""))
    sides = [size, size] if isinstance(size, int) else size
    if isinstance(sides, list | tuple) and len(sides) == 2 and all(isinstance(side, int) for side in sides):
        height, width = sides
        return int(width), int(height)
    return None


def task(metadata: Mapping[str, str]) -> str | None:
    """What the file says it does, such as `detect` or `segment`."""
    return metadata.get("task", "").strip().casefold() or None


def suppresses(metadata: Mapping[str, str]) -> bool:
    """Whether the file says that it chooses one box a person itself."""
    arguments = _value(metadata.get("args", ""))
    said = arguments.get("nms") if isinstance(arguments, dict) else None
    return said is True or any(metadata.get(key, "").strip().casefold() == "true" for key in ("nms", "end2end"))


def speaks_of_a_person(metadata: Mapping[str, str]) -> bool:
    """Whether any entry has the word."""
    return any(re.search(r"\bpersons?\b", value, re.I) for value in metadata.values() if len(value) <= _LONGEST)


def _value(text: str) -> Any:
    """What an entry's text writes down: JSON, Python's literals, or the text itself. Nothing of it is executed."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    for read in (parse_json, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def listed_names(value: Any) -> dict[int, str]:
    """The names by class of what lists them, an object, a list or words between commas; none of anything else."""
    if isinstance(value, str):
        value = [word.strip() for word in re.split(r"[,\n;]", value) if word.strip()]
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    try:
        names = {int(key): name for key, name in value.items()}
    except (ValueError, TypeError):
        return {}
    return names if all(isinstance(name, str) for name in names.values()) else {}
