"""Pictures in a terminal's cells, two pixels to each; with the bed drawn on them where a calibration is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.estimate import CalibrationEstimate

OUTLINE = (255, 212, 0)


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

    from calibration.outline import bed_ends, project_bed_outline

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
