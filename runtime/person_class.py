"""Which of a model's or a file's classes is the person: told by their names, never guessed from their order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

PERSON = "person"
# What data sets call people who are not called persons: CrowdHuman, CityPersons, KAIST, nuScenes, VisDrone.
_OTHER_WORDS = frozenset({"persons", "people", "pedestrian", "pedestrians", "human", "humans", "human body"})


def person_classes(names: Mapping[Key, str]) -> list[Key]:
    """The classes that are called a person; where none is, those with one of the words that mean the same.

    Capitals, spaces at the ends, hyphens and underscores make no difference.
    """
    plain = {key: " ".join(name.replace("_", " ").replace("-", " ").split()).casefold() for key, name in names.items()}
    called = [key for key, name in plain.items() if name == PERSON]
    return called or [key for key, name in plain.items() if name in _OTHER_WORDS]


def listed(names: Mapping[Key, str], most: int = 8) -> str:
    """The names for a message, cut short."""
    shown = ", ".join(repr(name) for name in list(names.values())[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
