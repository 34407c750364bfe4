"""Picking the mattress's four corners on the picture, by keys or mouse: cells, a cursor, and a magnifier around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from appliance.tui.cells import fitted, in_cells, in_few_colours
from appliance.tui.pictures import GONE_WITHIN_SECONDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.pause import PauseSwitch

LARGEST_ZOOM, LEAP = 16, 8
CURSOR, PICKED, FRAME = (255, 95, 95), (255, 215, 0), (255, 255, 255)
KEYS = "arrows move (Shift: farther) · + − zoom · Enter or a click on the cross sets it · Backspace back · Esc leaves"
# Where a corner is, for somebody who stands beside the bed; by its name in `calibration.corners`.
PLACES = {
    "head right": "pillow end, at the patient's right hand",
    "head left": "pillow end, at the patient's left hand",
    "foot left": "foot end, at the patient's left hand",
    "foot right": "foot end, at the patient's right hand",
}
MAGNIFIED, MAGNIFIER = 8, (22, 8)  # how much, and the magnifier's columns and rows


class CornerPicker(ModalScreen[list[tuple[float, float]]]):
    """The picture in half blocks; returns the four corners in the order of `Bed.corners`, px, or [] when left.

    One press of an arrow moves by half a cell's width at the present zoom, so at full zoom by less than a pixel.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            (key, f"move({x}, {y})", "")
            for key, x, y in (("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1))
        ),
        *(
            (f"shift+{key}", f"move({LEAP * x}, {LEAP * y})", "")
            for key, x, y in (("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1))
        ),
        ("plus,equals_sign", "zoom(2)", "Closer"),
        ("minus", "zoom(0.5)", "Farther"),
        ("enter", "pick", "Set"),
        ("backspace", "take_back", "Back"),
        ("escape,q", "leave", "Leave"),
    ]

    def __init__(self, color: NDArray[np.uint8], pause: PauseSwitch | None = None) -> None:
        """pause: of the site whose camera the picture comes from: a pause closes the screen."""
        from calibration.corners import CORNER_NAMES

        super().__init__()
        self._names = CORNER_NAMES
        self._color, self._pause = color, pause
        self._cursor = (color.shape[1] / 2, color.shape[0] / 2)
        self._zoom = 1.0
        self.corners: list[tuple[float, float]] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog picture"):
            yield Static(id="title")
            yield Static(id="picture")
            yield Static(Text(KEYS, "bold"), id="keys")

    def on_mount(self) -> None:
        if self._close_when_paused():
            return
        self.set_interval(GONE_WITHIN_SECONDS, self._close_when_paused)
        self._draw()

    def _close_when_paused(self) -> bool:
        if self._pause is None or not self._pause.active:
            return False
        self.dismiss([])
        return True

    def on_resize(self) -> None:
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """A click brings the cursor there; one where it is sets the corner."""
        picture = self.query_one("#picture", Static)
        place = event.get_content_offset(picture)
        columns, rows = self._cells()
        if place is None or place.x >= columns or place.y >= rows:
            return
        left, top, span_x, span_y = self._window()
        height, width = self._color.shape[:2]
        here = ((self._cursor[0] + 0.5 - left) * columns / span_x, (self._cursor[1] + 0.5 - top) * rows / span_y)
        if (int(here[0]), int(here[1])) == (place.x, place.y):
            self.action_pick()
            return
        x = left + (place.x + 0.5) * span_x / columns - 0.5
        y = top + (place.y + 0.5) * span_y / rows - 0.5
        self._cursor = (min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0))
        self._draw()

    def action_move(self, x: int, y: int) -> None:
        height, width = self._color.shape[:2]
        step = self._window()[2] / self._cells()[0] / 2
        self._cursor = (
            min(max(self._cursor[0] + x * step, 0.0), width - 1.0),
            min(max(self._cursor[1] + y * step, 0.0), height - 1.0),
        )
        self._draw()

    def action_zoom(self, factor: float) -> None:
        self._zoom = min(max(self._zoom * factor, 1.0), float(LARGEST_ZOOM))
        self._draw()

    def action_pick(self) -> None:
        self.corners.append(self._cursor)
        if len(self.corners) == len(self._names):
            self.dismiss(self.corners)
        else:
            self._zoom = 1.0
            self._draw()

    def action_take_back(self) -> None:
        if self.corners:
            self._cursor = self.corners.pop()
            self._draw()

    def action_leave(self) -> None:
        self.dismiss([])

    def _cells(self) -> tuple[int, int]:
        columns, rows = self.app.size
        return fitted(self._color.shape[1], self._color.shape[0], columns - 2, rows - 5)

    def _window(self) -> tuple[int, int, int, int]:
        """Left, top, width and height (px) of the part on show; the cursor is in it."""
        height, width = self._color.shape[:2]
        span_x, span_y = round(width / self._zoom), round(height / self._zoom)
        left = min(max(round(self._cursor[0] - span_x / 2), 0), width - span_x)
        top = min(max(round(self._cursor[1] - span_y / 2), 0), height - span_y)
        return left, top, span_x, span_y

    def _draw(self) -> None:
        import cv2
        import numpy as np

        columns, rows = self._cells()
        left, top, span_x, span_y = self._window()
        part = self._color[top : top + span_y, left : left + span_x]
        shrinking = span_x > columns
        small = cv2.resize(part, (columns, 2 * rows), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        system = self.app.console.color_system
        small = in_few_colours(np.asarray(small, np.uint8), system)
        zoom = np.array([columns / span_x, 2 * rows / span_y])
        for corner in self.corners:
            _mark(small, np.floor((np.array(corner) + 0.5 - [left, top]) * zoom), PICKED, arm=1)
        here = np.floor((np.array(self._cursor) + 0.5 - [left, top]) * zoom)
        _mark(small, here, CURSOR, arm=3)
        if self._zoom < MAGNIFIED:
            self._magnify(small, here, system)
        # The picture has the right size and colours already, so drawing it in cells changes nothing.
        self.query_one("#picture", Static).update(in_cells(small, columns, rows))
        number = len(self.corners)
        name = self._names[min(number, len(self._names) - 1)]
        x, y = self._cursor
        self.query_one("#title", Static).update(
            Text.assemble(
                (f"Corner {number + 1} of 4: {name}", "bold"),
                f" ({PLACES[name]}, lying on the back)\n",
                (f"{x:.1f}, {y:.1f} px, zoom {self._zoom:g}", "dim"),
            )
        )

    def _magnify(self, small: NDArray[np.uint8], here: NDArray[np.float64], system: str | None) -> None:
        """Draw what is around the cursor into the corner of the picture that is farthest from it."""
        import cv2
        import numpy as np

        columns, rows = min(MAGNIFIER[0], small.shape[1] // 3), min(2 * MAGNIFIER[1], small.shape[0] // 2)
        step = self._color.shape[1] / small.shape[1] / MAGNIFIED  # px of the picture a dot of the magnifier
        grid_x = self._cursor[0] + (np.arange(columns) - columns // 2) * step
        grid_y = self._cursor[1] + (np.arange(rows) - rows // 2) * step
        across, down = (grid.astype(np.float32) for grid in np.meshgrid(grid_x, grid_y))
        near = cv2.remap(self._color, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        part = np.asarray(near, np.uint8)
        part = in_few_colours(part, system)
        _mark(part, np.array([columns // 2, rows // 2], np.float64), CURSOR, arm=2)
        part[[0, -1]] = part[:, [0, -1]] = FRAME
        x = 0 if here[0] > small.shape[1] / 2 else small.shape[1] - columns
        y = 0 if here[1] > small.shape[0] / 2 else small.shape[0] - rows
        small[y : y + rows, x : x + columns] = part


def _mark(small: NDArray[np.uint8], place: NDArray[np.float64], shade: tuple[int, int, int], arm: int) -> None:
    """A cross at place (column, row) whose middle stays open, so that what is under it can be seen."""
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        for away in range(1, arm + 1):
            column, row = int(place[0]) + x * away, int(place[1]) + y * away
            if 0 <= column < small.shape[1] and 0 <= row < small.shape[0]:
                small[row, column] = shade
