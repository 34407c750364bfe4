"""Who is in which group: by posture, cover, skin tone, age, build, sex, light, distance and company.

What a file does not say puts nobody into a group. Light is seen in the pixels, distance and company in the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from runtime.capture.photograph import read_photograph
from tuning.coco_folder import Picture

Groups = dict[str, dict[str, frozenset[int]]]
Band = tuple[float, str]  # what lies below the number, and its name

# Monk's scale in the three parts that its authors use (Monk 2019): light, medium, dark.
_SKIN: tuple[Band, ...] = ((4, "1 to 3 (light)"), (8, "4 to 7 (medium)"), (np.inf, "8 to 10 (dark)"))
_AGE: tuple[Band, ...] = ((2, "under 2"), (18, "2 to 17"), (65, "18 to 64"), (np.inf, "65 and over"))
# The World Health Organization's, which are for adults.
_BMI: tuple[Band, ...] = ((18.5, "under 18.5"), (25, "18.5 to 25"), (30, "25 to 30"), (np.inf, "30 and over"))
_ADULT = 18
_COVER: tuple[Band, ...] = ((1e-9, "none"), (0.5, "up to a half"), (np.inf, "more than a half"))
_LIGHT: tuple[Band, ...] = ((0.25, "dim"), (0.45, "medium"), (np.inf, "bright"))  # mean of the pixels
_DISTANCE: tuple[Band, ...] = ((2, "under 2 m"), (3, "2 to 3 m"), (np.inf, "over 3 m"))
_COMPANY: tuple[Band, ...] = ((2, "alone"), (3, "two"), (np.inf, "three and more"))


def brightness(pictures: Sequence[Picture]) -> dict[int, float]:
    """The mean of each picture's pixels, 0…1, by its id."""
    return {picture.id: float(read_photograph(picture.path)[::4, ::4].mean()) / 255 for picture in pictures}


def people_groups(pictures: Sequence[Picture], light: Mapping[int, float] | None = None) -> Groups:
    """By kind and group the annotation ids of its people, crowds left out. light: `brightness`, where it is wanted."""
    found: dict[str, dict[str, set[int]]] = {}

    def put(kind: str, group: str | None, person: int) -> None:
        if group is not None:
            found.setdefault(kind, {}).setdefault(group, set()).add(person)

    for picture in pictures:
        counted = np.flatnonzero(~picture.ignored)
        for row in counted.tolist():
            said, person = picture.attributes[row], int(picture.ids[row])
            number = _numbers(said)
            age = number("age")
            put("posture", str(said["posture"]).replace("_", " ") if said.get("posture") else None, person)
            put("cover", _band(number("blanket_coverage"), _COVER), person)
            put("skin tone", _band(number("skin_tone"), _SKIN), person)
            put("age", _band(age, _AGE), person)
            put("BMI", _band(number("bmi") if age is None or age >= _ADULT else None, _BMI), person)
            put("sex", str(said["sex"]) if said.get("sex") else None, person)
            put("light", _band(None if light is None else light[picture.id], _LIGHT), person)
            put("distance", _band(_distance(picture, row), _DISTANCE), person)
            put("people in the picture", _band(len(counted), _COMPANY), person)
    return {
        kind: {name: frozenset(groups[name]) for name in sorted(groups, key=_order(kind))}
        for kind, groups in found.items()
    }


def thin_groups(groups: Groups, enough: int) -> dict[str, list[str]]:
    """By kind that the file knows: the groups with fewer than `enough` people, those with nobody too."""
    thin = {}
    for kind, names in groups.items():
        every = dict.fromkeys([*(name for _, name in _BANDS.get(kind, ())), *names])
        if few := [name for name in every if len(names.get(name, ())) < enough]:
            thin[kind] = few
    return thin


def _band(value: float | None, bands: Sequence[Band]) -> str | None:
    return None if value is None or not np.isfinite(value) else next(name for below, name in bands if value < below)


def _numbers(said: Mapping[str, object]) -> Callable[[str], float | None]:
    def number(name: str) -> float | None:
        value = said.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    return number


def _distance(picture: Picture, row: int) -> float | None:
    """Metres from the camera to the middle of somebody's joints."""
    if picture.space is None:
        return None
    joints = picture.space.joints[row]
    known = np.isfinite(joints).all(1)
    return float(np.linalg.norm(joints[known].mean(0))) if known.any() else None


_BANDS = {
    "cover": _COVER, "skin tone": _SKIN, "age": _AGE, "BMI": _BMI, "light": _LIGHT, "distance": _DISTANCE,
    "people in the picture": _COMPANY,
}  # fmt: skip


def _order(kind: str) -> Callable[[str], tuple[int, str]]:
    names = [name for _, name in _BANDS.get(kind, ())]
    return lambda name: (names.index(name) if name in names else 0, name)
