"""The colours: three themes, and the few inks that texts are written in, which follow the theme.

A text names an ink ("good", "warn", "bad", "faint", "accent" and their bold forms) and no colour; the console knows
what each is in the theme of the moment. Signs and words say the same, so that colour is nowhere the only sign.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

from rich.console import Console
from rich.text import Text
from rich.theme import Theme as Inks
from textual.theme import Theme

GOOD, WARN, BAD, FAINT, ACCENT, LEFT, RIGHT = "good", "warn", "bad", "faint", "accent", "left", "right"
BOLD = {name: f"{name}_bold" for name in (GOOD, WARN, BAD, FAINT, ACCENT)}


@dataclass(frozen=True, slots=True)
class Look:
    """One theme. ground, panel, raised: backgrounds from the deepest up; the others are what is written on them."""

    words: str
    dark: bool
    ground: str
    panel: str
    raised: str
    text: str
    good: str
    warn: str
    bad: str
    faint: str
    accent: str
    left: str
    right: str


LOOKS = {
    "dark": Look(
        "dark", True, "#11151b", "#1d2530", "#2c3a4c", "#e6ebf0", "#4ac97e", "#f2b83e", "#ff7b72", "#9aa4af", "#8cc4ff",
        "#40b4ff", "#ffd9a0",
    ),
    "light": Look(
        "light", False, "#fbfaf7", "#e9e6df", "#cfd9e6", "#1b2026", "#0b6b37", "#7a4d00", "#a81818", "#565e66",
        "#0b4f8f", "#0b5cad", "#8a4b00",
    ),
    "contrast": Look(
        "high contrast", True, "#000000", "#000000", "#303030", "#ffffff", "#00ff7f", "#ffd800", "#ff8f8f", "#d8d8d8",
        "#8fd3ff", "#66ccff", "#ffd800",
    ),
}  # fmt: skip
DEFAULT = "dark"


def look_of(name: str, system: str | None) -> Look:
    """A theme in the colours of a terminal, as `rich.console.Console.color_system` has them.

    Of 256 colours the nearest are taken here: a library that goes by hue makes blue and teal of our dark greys.
    """
    look = LOOKS.get(name, LOOKS[DEFAULT])
    if system != "256":
        return look
    colours = (getattr(look, each.name) for each in fields(look)[2:])
    return Look(look.words, look.dark, *map(_nearest, colours))


def _nearest(colour: str) -> str:
    """The nearest to #rrggbb of a terminal's 256 colours, without the first sixteen, which differ by terminal."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    cube = (0, 95, 135, 175, 215, 255)
    known = [*product(cube, cube, cube), *((8 + 10 * step,) * 3 for step in range(24))]
    near = min(known, key=lambda one: sum((a - b) ** 2 for a, b in zip(one, wanted, strict=True)))
    return "#{:02x}{:02x}{:02x}".format(*near)


def themes(system: str | None) -> list[Theme]:
    """The themes as Textual wants them."""
    looks = {name: look_of(name, system) for name in LOOKS}
    return [
        Theme(
            name=name, primary=look.accent, secondary=look.faint, accent=look.accent, foreground=look.text,
            background=look.ground, surface=look.raised, panel=look.panel, success=look.good, warning=look.warn,
            error=look.bad, boost=look.raised, dark=look.dark,
            variables={
                "footer-background": look.panel,
                "footer-description-foreground": look.text, "footer-key-foreground": look.accent,
                "block-cursor-background": look.raised, "block-cursor-foreground": look.text,
                "block-cursor-text-style": "bold", "input-selection-background": look.raised,
            },
        )
        for name, look in looks.items()
    ]  # fmt: skip


def inked(text: str, ink: str) -> Text:
    """A text in one ink; as a span of it, since Textual knows no names in a text's own style."""
    return Text.assemble((text, ink))


class InkPot:
    """The inks that a console knows, changed with the theme."""

    def __init__(self, console: Console) -> None:
        self._console, self._filled = console, False

    def fill(self, name: str) -> None:
        """Write in the inks of theme `name` from here on."""
        if self._filled:
            self._console.pop_theme()
        self._console.push_theme(inks(name, self._console.color_system))
        self._filled = True


def inks(name: str, system: str | None) -> Inks:
    """What each ink is in a theme."""
    look = look_of(name, system)
    named = {ink: getattr(look, ink) for ink in (GOOD, WARN, BAD, FAINT, ACCENT, LEFT, RIGHT)}
    bold = {BOLD[ink]: f"bold {named[ink]}" for ink in BOLD}
    return Inks(named | bold | {"letter": f"bold {look.ground} on {look.warn}"})
