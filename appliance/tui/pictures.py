"""Pictures of the camera in half-block cells: only when a person asks, with a reason, and each time written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from appliance.site_folder import SiteFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.estimate import CalibrationEstimate
    from runtime.frames import Frame

FIRST_PICTURE_SECONDS = 60.0
OUTLINE = (255, 212, 0)


def take_picture(site: SiteFolder, source: str) -> Frame:
    """One frame: of the running camera's process where there is one (a camera can't be opened twice), else of `source`.

    Raises `WardposeError` when none comes.
    """
    from appliance.live import ring_name, ring_status
    from appliance.measure import take_pictures
    from runtime.capture.ring import RingReader

    if ring_status(site)["state"] == "streaming":
        with RingReader(ring_name(site)) as reader:
            return reader.read_next(timeout_s=5.0, max_age_ms=2000.0)
    return take_pictures(source, 1)[0]


def fitted(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """The cells (columns, rows) a picture takes up within the given ones; a cell is twice as high as it is wide."""
    zoom = min(columns / width, 2 * rows / height)
    return max(1, int(width * zoom)), max(1, int(height * zoom / 2))


def in_cells(color: NDArray[np.uint8], columns: int, rows: int, estimate: CalibrationEstimate | None = None) -> Text:
    """The picture (H, W, 3) RGB in half blocks, within `columns` × `rows`; with the bed of `estimate` drawn on it."""
    import cv2

    columns, rows = fitted(color.shape[1], color.shape[0], columns, rows)
    small = cv2.resize(color, (columns, 2 * rows), interpolation=cv2.INTER_AREA)
    labels: dict[tuple[int, int], str] = {}
    if estimate is not None:
        small = (0.6 * small).astype("uint8")
        labels = _draw_bed(small, estimate)
    text = Text(no_wrap=True, end="")
    for row in range(rows):
        for column in range(columns):
            upper, lower = small[2 * row, column].tolist(), small[2 * row + 1, column].tolist()
            if letter := labels.get((column, row)):
                text.append(letter, "bold #11151b on #ffd400")
            else:
                text.append("▀", f"rgb({upper[0]},{upper[1]},{upper[2]}) on rgb({lower[0]},{lower[1]},{lower[2]})")
        text.append("\n" if row < rows - 1 else "")
    return text


def _draw_bed(small: NDArray[np.uint8], estimate: CalibrationEstimate) -> dict[tuple[int, int], str]:
    """Draw the outline onto the small picture, one pixel wide; returns the letters of HEAD and FOOT by cell."""
    import itertools

    import cv2
    import numpy as np

    from calibration.outline import project_bed_outline

    zoom = np.array([small.shape[1] / estimate.camera.width, small.shape[0] / estimate.camera.height])
    line = project_bed_outline(estimate) * zoom
    for start, end in itertools.pairwise(line):
        if np.isfinite([*start, *end]).all():
            first, second = (tuple(np.floor(point).astype(int).tolist()) for point in (start, end))
            cv2.line(small, first, second, OUTLINE, 1)
    labels: dict[tuple[int, int], str] = {}
    columns, rows = small.shape[1], small.shape[0] // 2
    for word, place in zip(("HEAD", "FOOT"), bed_ends(estimate) or (), strict=False):
        x, y = int(place[0] * zoom[0]), int(place[1] * zoom[1] / 2)
        left, row = min(max(x - 2, 0), columns - 4), min(max(y, 0), rows - 1)
        labels |= {(left + index, row): letter for index, letter in enumerate(word)}
    return labels


def bed_ends(estimate: CalibrationEstimate) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The middles of the head end and the foot end in the picture (px); None when one is behind the camera."""
    import numpy as np

    ends = np.array([[-estimate.bed.length / 2, 0.0, 0.0], [estimate.bed.length / 2, 0.0, 0.0]])
    seen = ends @ estimate.camera_from_bed[:3, :3].T + estimate.camera_from_bed[:3, 3]
    if (seen[:, 2] <= 0.05).any():
        return None
    head, foot = estimate.camera.project(seen)
    return head, foot


class PictureScreen(ModalScreen[str]):
    """A picture as large as the terminal allows; gone for good when it is closed.

    choices: (key, answer, words) besides closing, offered below the picture; the answer is what the screen returns.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q", "answer('')", "Close")]

    def __init__(
        self, color: NDArray[np.uint8], title: str, estimate: CalibrationEstimate | None = None,
        choices: tuple[tuple[str, str, str], ...] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self._color, self._title, self._estimate, self._choices = color, title, estimate, choices

    def compose(self) -> ComposeResult:
        keys = [f"{key} {words}" for key, _, words in self._choices] + ["Esc close"]
        with Vertical(classes="dialog picture"):
            yield Static(Text(self._title), id="title")
            yield Static(id="picture")
            yield Static(Text(" · ".join(keys), "bold"), id="keys")

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_key(self, event: events.Key) -> None:
        for key, answer, _ in self._choices:
            if event.key == key:
                event.stop()
                self.dismiss(answer)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def _draw(self) -> None:
        columns, rows = self.app.size
        self.query_one("#picture", Static).update(in_cells(self._color, columns - 2, rows - 3, self._estimate))
