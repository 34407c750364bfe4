"""TOML that a person edits as well: one value changed, everything else left as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_value(text: str, section: str, name: str, value: Any) -> str:
    """`text` with one setting of a section replaced or added, whichever way the section is written."""
    import tomlkit

    document = tomlkit.parse(text)
    if section not in document:
        document.add(section, tomlkit.table())
    document[section][name] = value  # type: ignore[index]
    return tomlkit.dumps(document)


def described(title: str, sections: Mapping[str, tuple[str, Mapping[str, tuple[Any, str]]]]) -> str:
    """A file that explains itself: each section with what it is about, each value with what it means."""
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment(title))
    for section, (about, values) in sections.items():
        table = tomlkit.table()
        table.add(tomlkit.comment(about))
        for name, (value, meaning) in values.items():
            item = tomlkit.item(value).comment(meaning)
            item.trivia.comment_ws = "  "
            table.add(name, item)
        document.add(section, table)
    return tomlkit.dumps(document)
