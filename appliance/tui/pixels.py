"""Pictures in real pixels, where the terminal can show them: by Kitty's protocol or Sixel, through textual-image.

Everywhere else they are drawn in cells. A terminal can only be asked before the terminal UI has it, and only one whose
name promises something is: the others would keep their user waiting for an answer that does not come.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.widget import Widget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SETTING = "WARDPOSE_PICTURES"  # cells, kitty or sixel, whatever the terminal says of itself
_PROGRAMS = ("kitty", "ghostty", "WezTerm", "iTerm.app", "mintty", "contour", "rio")
_TERMS = ("xterm-kitty", "xterm-ghostty", "foot", "foot-extra", "mlterm", "contour", "wezterm")

_chosen: Any = None  # the widget's class; None where pictures are drawn in cells


def may_show(environment: Mapping[str, str]) -> bool:
    """Whether the terminal, by its names, may show pixels."""
    wanted = environment.get(SETTING, "")
    if wanted:
        return wanted in ("kitty", "sixel")
    names = (environment.get("TERM_PROGRAM", ""), environment.get("LC_TERMINAL", ""))
    return (
        environment.get("TERM", "") in _TERMS
        or any(name in _PROGRAMS for name in names)
        or ("KITTY_WINDOW_ID" in environment)
    )


def look(environment: Mapping[str, str] = os.environ) -> None:
    """Find out what the terminal can show; to be called before the terminal UI takes it."""
    global _chosen
    _chosen = None
    if not may_show(environment) or (
        (sys.__stdout__ is None or not sys.__stdout__.isatty()) and (SETTING not in environment)
    ):
        return
    with contextlib.suppress(Exception):  # a terminal that answers oddly is one without pixels
        from textual_image import renderable, widget

        kitty = _kitty_widget()
        named = {"kitty": kitty, "sixel": widget.SixelImage}.get(environment.get(SETTING, ""))
        found = {renderable.TGPImage: kitty, renderable.SixelImage: widget.SixelImage}
        _chosen = named or found.get(renderable.Image)


def _kitty_widget() -> type[Widget]:
    """textual-image's widget for Kitty's protocol, whose pictures leave the terminal's memory.

    The library deletes by `a=d` and the picture's number, which the protocol reads as `take what is on the screen off
    it`: the data stays. `d=I` with the `i` that it was sent by frees them.
    """
    from textual_image import renderable, widget

    class Freed(renderable.TGPImage):
        def cleanup(self) -> None:
            if self.terminal_image_id and sys.__stdout__ is not None:
                sys.__stdout__.write(f"\x1b_Ga=d,d=I,i={self.terminal_image_id},q=2\x1b\\")
                sys.__stdout__.flush()
            self.terminal_image_id = None

    class KittyPicture(widget.TGPImage, Renderable=Freed):
        def on_unmount(self) -> None:
            forget(self)

    return KittyPicture


def available() -> bool:
    return _chosen is not None


def picture_widget(color: NDArray[np.uint8]) -> Widget:
    """A widget that shows the picture (H, W, 3) RGB as large as it may; `forget` takes it from the terminal."""
    widget: Widget = _chosen(_image(color), id="pixels")
    return widget


def show(widget: Widget, color: NDArray[np.uint8]) -> None:
    """Another picture in the same place."""
    widget.image = _image(color)  # type: ignore[attr-defined]


def forget(widget: Widget) -> None:
    """Take the picture out of the terminal's memory as well."""
    widget.image = None  # type: ignore[attr-defined]


def _image(color: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(color)
