"""A command's own streams as they come: closed, full, without a terminal, or of an encoding that lacks our letters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
import unicodedata

# What stands for a character that an encoding does not have.
_PLAIN = {
    "─": "-", "═": "=", "│": "|", "┼": "+", "–": "-", "—": "-", "−": "-", "·": "-", "•": "*", "…": "...", "×": "x",
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "±": "+/-", "°": " deg",
    "µ": "u", "μ": "u", "∞": "inf", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "✓": "yes", "✗": "no", "█": "#",
    "▀": "#", "▄": "#", "━": "-", "╸": "-", "╺": "-", "ß": "ss", "€": "EUR",
}  # fmt: skip
_HANDLER = "wardpose-plain"
# Control characters but tab and line ends; the marks that override the order of letters.
_STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


def usable_streams() -> frozenset[int]:
    """Give the process three streams that can be written whatever they are, and return which of 0, 1, 2 were closed.

    A closed one becomes /dev/null, so that no file of ours is opened in its place. Characters that the encoding lacks
    are written in plain letters.
    """
    codecs.register_error(_HANDLER, plain_letters)
    closed = set()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)
    return frozenset(closed)


def plain_letters(error: UnicodeError) -> tuple[str, int]:
    """The error handler: what is written instead of characters that the encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(letter) for letter in error.object[error.start : error.end]), error.end


def _plain(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return bare or "?"


def visible(text: str) -> str:
    """The text with what would steer a terminal or turn its order round spelled out: names come from others' files."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def give_up(descriptor: int) -> None:
    """From here on what is written there goes nowhere, and nobody stumbles over what is still in a buffer."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def is_terminal() -> bool:
    """Whether somebody sits at a terminal: what is typed and what is shown both go there."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()
