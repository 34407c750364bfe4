"""One meaning a key, on every screen; a site may have keys of its own.

`keys.toml` in the site folder: `[keys]`, then a meaning and its key, as in `pause = "f9"`. A mistake there is told and
leaves the keys as they come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.toml_file import parse_toml, toml_text

FILE = "keys.toml"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a key stands for: in one word for the footer, and in a phrase for the help."""

    key: str
    word: str
    phrase: str


MEANINGS: Final[dict[str, Meaning]] = {
    "all": Meaning("a", "All steps", "all steps of retargeting, one after the other"),
    "back": Meaning("b", "Roll back", "puts the model before the present one back"),
    "calibrate": Meaning("c", "Calibrate", "calibrates: by the sheet, by depth, by the corners, by a tape"),
    "delete": Meaning("d", "Delete", "deletes what the list stands on, after a question"),
    "examine": Meaning("e", "Examine", "examines: the camera in the field, or this box"),
    "fetch": Meaning("f", "Fetch", "fetches the models trained on photographs"),
    "guide": Meaning("g", "Guide", "the set-up guide, at the step that comes next"),
    "ends": Meaning("h", "Swap ends", "head and foot are the other way round"),
    "import": Meaning("i", "Import", "imports a model from a file"),
    "judge": Meaning("j", "Judge", "lets the gate judge a model"),
    "plate": Meaning("k", "Plate", "takes a plate, a picture of the empty bed"),
    "log": Meaning("l", "Log", "the log of what the list stands on"),
    "make": Meaning("m", "Make", "makes training images"),
    "look": Meaning("o", "Look", "shows a picture, for a reason that is written down"),
    "pause": Meaning("p", "Pause", "pauses all looking at once; again: asks, and lifts the pause"),
    "quit": Meaning("q", "Quit", "leaves; the live path and the jobs go on"),
    "resume": Meaning("r", "Resume", "resumes the job that stopped or was paused"),
    "start": Meaning("s", "Start", "starts the live path"),
    "tune": Meaning("t", "Tune", "tunes a model on the newest images"),
    "undo": Meaning("u", "Undo", "undoes the last change made here, where it can be undone"),
    "score": Meaning("v", "Score", "scores a model on labelled pictures"),
    "write": Meaning("w", "Write", "writes a file: the tag sheet, a model's exported form"),
    "stop": Meaning("x", "Stop", "stops what runs: the live path, a job, the service"),
    "use": Meaning("y", "Use", "yes: use this camera, use this calibration, this step is done"),
    "skip": Meaning("n", "Leave out", "leaves a step of the guide out, or takes that back"),
    "hold": Meaning("z", "Pause job", "pauses the job; <resume> lets it go on"),
    "settings": Meaning("comma", "Settings", "the settings of this site"),
    "filter": Meaning("slash", "Filter", "shows the rows of the list that hold some letters"),
    "jump": Meaning("ctrl+o", "Jump", "a letter on everything that can be reached; press one to be there"),
    "history": Meaning("at", "History", "what this terminal asked the service to do"),
    "theme": Meaning("ctrl+t", "Theme", "the next theme: dark, light, high contrast"),
    "help": Meaning("question_mark", "Help", "help on this screen"),
    "palette": Meaning("ctrl+p", "Palette", "every action by its name"),
}
_SHOWN = {"question_mark": "?", "slash": "/", "at": "@", "comma": ",", "ctrl+o": "^o", "ctrl+t": "^t", "ctrl+p": "^p"}
_MEANT = f"<({'|'.join(MEANINGS)})>"


class Keys:
    """The keys of one site."""

    def __init__(self, own: dict[str, str] | None = None) -> None:
        self.by_meaning = {name: meaning.key for name, meaning in MEANINGS.items()} | (own or {})

    def __getitem__(self, meaning: str) -> str:
        return self.by_meaning[meaning]

    def shown(self, meaning: str) -> str:
        """The key as a person reads it."""
        return shown(self.by_meaning[meaning])

    def phrase(self, meaning: str) -> str:
        """What the key does."""
        return self.told(MEANINGS[meaning].phrase)

    def told(self, sentence: str) -> str:
        """A sentence that names keys by what they mean, as in `<resume> resumes it`, with the keys themselves."""
        return re.sub(_MEANT, lambda found: self.shown(found[1]), sentence)


def shown(key: str) -> str:
    return _SHOWN.get(key, key.replace("ctrl+", "^"))


def load_keys(site: SiteFolder) -> Keys:
    """The site's keys; raises `WardposeError` for a file that does not hold, or that gives one key two meanings."""
    path = site.root / FILE
    if not path.exists():
        return Keys()
    values = parse_toml(toml_text(path), str(path)).get("keys", {})
    if not isinstance(values, dict):
        raise WardposeError("[keys] is no table", where=str(path), mend='write [keys], then lines such as pause = "f9"')
    own: dict[str, str] = {}
    for name, key in values.items():
        if name not in MEANINGS:
            raise WardposeError(f"no key means {name!r}", where=str(path), mend=f"choose of: {', '.join(MEANINGS)}")
        if not isinstance(key, str) or not key:
            raise WardposeError(f'{name}: a key is a text such as "f9"', where=str(path), mend="quote it")
        own[name] = key
    keys = Keys(own)
    for name, key in own.items():
        if key.isdigit():
            raise WardposeError(f"{key} opens a screen", where=str(path), mend=f"give {name} another key")
        double = [other for other, held in keys.by_meaning.items() if held == key and other != name]
        if double:
            raise WardposeError(
                f"{key!r} would mean both {name} and {double[0]}", where=str(path), mend="give each its own key"
            )
    return keys
