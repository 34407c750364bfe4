"""The page's words: every sentence has its German and its French, and the page's structure suits any direction."""

from __future__ import annotations

import re
from string import Formatter
from typing import get_args

import pytest

from appliance.site.settings import DisplaySettings
from calibration.errors import WardposeError
from runtime.display.words import LOCALE, direction, language, languages
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "runtime" / "display" / "page"
TRANSLATED = [tongue for tongue in languages() if tongue != "en"]
# Sentences of the page that are said by name: whatever stands in quotation marks and reads like one.
SENTENCE = re.compile(
    r'"((?:[A-Z][A-Z ,]+|[A-Z][a-z]+[^"]* [^"]*|\{[^"]*|In bed|Out of bed|Pause|Resume|Cancel|Look|Head|by \{name\}'
    r'|since [^"]*|hidden now|nobody detected|1 person drawn|somebody at [^"]*))"'
)


def sentences() -> set[str]:
    found = {said for path in PAGE.glob("*.js") for said in SENTENCE.findall(path.read_text())}
    return {said for said in found if not said.startswith("NO_") and "(" not in said}


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


@pytest.mark.parametrize("tongue", TRANSLATED)
def test_every_sentence_of_the_page_is_translated_and_none_that_it_does_not_say(tongue: str) -> None:
    words = language(tongue)["words"]
    assert set(words) == sentences()
    assert all(fields(ours) == fields(theirs) for ours, theirs in words.items())


def test_the_languages_of_the_page_are_those_that_the_settings_offer() -> None:
    assert set(get_args(DisplaySettings.model_fields["language"].annotation)) == set(languages())
    assert {"de", "fr"} <= set(TRANSLATED)
    assert language("en") == {"lang": "en", "dir": "ltr", "words": {}}
    with pytest.raises(WardposeError, match="choose de, en, fr"):
        language("../en")


def test_a_catalogue_has_no_sentence_twice() -> None:
    for path in LOCALE.rglob("*.po"):
        known = re.findall(r"^msgid (.+)$", path.read_text(), re.M)
        assert len(known) == len(set(known)), path


def test_a_language_written_from_the_right_is_laid_out_from_the_right() -> None:
    assert [direction(tongue) for tongue in ("ar", "he", "fa-IR", "de", "en")] == ["rtl", "rtl", "rtl", "ltr", "ltr"]
    style = (PAGE / "page.css").read_text()
    physical = r"(?<![\w-])(?:left|right|(?:margin|padding|border)-(?:left|right)|text-align:\s*(?:left|right))\s*:"
    # The colours of left and right limbs are no directions.
    assert not re.search(physical, re.sub(r"--(?:left|right):", "", style))
