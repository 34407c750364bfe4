"""The page's words in the languages it speaks: gettext catalogues, `locale/LANGUAGE/LC_MESSAGES/page.po`.

The page's own English sentences are the keys; a sentence that a catalogue lacks is said in English.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibration.errors import WardposeError

LOCALE = Path(__file__).with_name("locale")
SOURCE = "en"
_FROM_RIGHT = frozenset({"ar", "dv", "fa", "he", "ps", "ur", "yi"})


def languages() -> list[str]:
    """Those that there is a catalogue of, and the page's own."""
    return sorted({SOURCE, *(path.parent.parent.name for path in LOCALE.glob("*/LC_MESSAGES/page.po"))})


def direction(tongue: str) -> str:
    """`rtl` of a language that is written from the right, else `ltr`."""
    return "rtl" if tongue.partition("-")[0].partition("_")[0] in _FROM_RIGHT else "ltr"


def language(tongue: str) -> dict[str, Any]:
    """What the page needs to speak it: `lang`, `dir`, `words` (its sentence by the English one).

    Raises `WardposeError` for a language without a catalogue.
    """
    if tongue not in languages():
        raise WardposeError(
            f"the page does not speak {tongue!r}", where="display.language", mend=f"choose {', '.join(languages())}"
        )
    return {"lang": tongue, "dir": direction(tongue), "words": {} if tongue == SOURCE else _catalogue(tongue)}


def _catalogue(tongue: str) -> dict[str, str]:
    import polib

    entries = polib.pofile(str(LOCALE / tongue / "LC_MESSAGES" / "page.po"), check_for_duplicates=True)
    return {entry.msgid: entry.msgstr for entry in entries if entry.translated() and not entry.obsolete}
