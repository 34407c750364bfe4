"""Pictures in a terminal's cells, two pixels to each, in the colours that the terminal has; with the bed drawn on them
where a calibration is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.estimate import CalibrationEstimate

OUTLINE = (255, 215, 0)
# Of the 256: a hue's place on the circle, and its quiet colours from dark to light.
_DARK = ((0, 0, 0), (38, 38, 38), (78, 78, 78))
HUES = (
    (0.0, (*_DARK, (135, 95, 95), (175, 135, 135), (215, 175, 175), (255, 215, 215))),
    (36.0, (*_DARK, (135, 95, 95), (175, 135, 95), (215, 175, 135), (255, 215, 175))),
    (72.0, (*_DARK, (135, 135, 95), (175, 175, 135), (215, 215, 175), (255, 255, 215))),
    (108.0, (*_DARK, (95, 135, 95), (135, 175, 135), (175, 215, 175), (215, 255, 215))),
    (144.0, (*_DARK, (95, 135, 95), (135, 175, 135), (175, 215, 175), (215, 255, 215))),
    (180.0, (*_DARK, (95, 135, 135), (135, 175, 175), (175, 215, 215), (215, 255, 255))),
    (216.0, (*_DARK, (95, 95, 135), (95, 135, 175), (135, 175, 215), (175, 215, 255))),
    (252.0, (*_DARK, (95, 95, 135), (135, 135, 175), (175, 175, 215), (215, 215, 255))),
    (288.0, (*_DARK, (135, 95, 135), (175, 135, 175), (215, 175, 215), (255, 215, 255))),
    (324.0, (*_DARK, (135, 95, 135), (175, 135, 175), (215, 175, 215), (255, 215, 255))),
)
SHADES = " ░▒▓█"  # where a terminal has no colours
_COLOURFUL = 56  # by how much a pixel's channels differ before it is more than grey


def fitted(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """The cells (columns, rows) a picture takes up within the given ones; a cell is twice as high as it is wide."""
    zoom = min(columns / width, 2 * rows / height)
    return max(1, int(width * zoom)), max(1, int(height * zoom / 2))


def in_cells(
    color: NDArray[np.uint8], columns: int, rows: int, estimate: CalibrationEstimate | None = None,
    system: str | None = "truecolor",
) -> Text:  # fmt: skip
    """The picture (H, W, 3) RGB in half blocks, within `columns` × `rows`; with the bed of `estimate` drawn on it.

    system: the terminal's colours as `rich.console.Console.color_system` has them; None for none at all.
    """
    import cv2
    import numpy as np

    columns, rows = fitted(color.shape[1], color.shape[0], columns, rows)
    small = np.asarray(cv2.resize(color, (columns, 2 * rows), interpolation=cv2.INTER_AREA), np.uint8)
    labels: dict[tuple[int, int], str] = {}
    if estimate is not None:
        small = (0.6 * small).astype("uint8")
    small = in_few_colours(small, system)
    if estimate is not None:
        labels = _draw_bed(small, estimate)
    return _shaded(small, labels) if system is None else _half_blocks(small, labels)


def in_few_colours(picture: NDArray[np.uint8], system: str | None) -> NDArray[np.uint8]:
    """The picture (H, W, 3) RGB in the colours of a terminal: as it is in truecolor; else a ramp of greys, dithered in
    an ordered pattern, and a few plain hues for what is really coloured. The nearest of 256 colours would paint a grey
    floor olive and a white sheet pink: its cube has no colours between grey and loud."""
    import numpy as np

    if system in ("truecolor", "windows"):
        return picture
    steps = {"256": 25, "standard": 3}.get(system or "", len(SHADES) - 1)
    height, width = picture.shape[:2]
    pattern = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 15 / 32
    threshold = np.tile(pattern, (height // 4 + 1, width // 4 + 1))[:height, :width]
    values = picture.astype(np.float64)
    light = values @ np.array([0.299, 0.587, 0.114])
    if steps < 10:  # few greys are spent on what there is
        low, high = np.percentile(light, [2, 98])
        light = np.clip((light - low) / max(high - low, 32.0), 0, 1) * 255
    # A fine ramp wants little of the pattern: the eye sees the pattern before it sees the step.
    level = np.clip(np.round(light / 255 * steps + threshold), 0, steps)
    few = np.repeat(np.round(level * 255 / steps)[..., None], 3, axis=2)
    spread = values.max(axis=2) - values.min(axis=2)
    if system == "256":
        _tint(few, values, light, threshold, spread > _COLOURFUL)
    return few.astype(np.uint8)


def _tint(
    few: NDArray[np.float64], values: NDArray[np.float64], light: NDArray[np.float64],
    threshold: NDArray[np.float64], loud: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Give the loud pixels of `few` the ramp of their hue, dithered between its steps as the greys are."""
    import numpy as np

    red, green, blue = (values[..., channel] - light for channel in range(3))
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    for centre, ramp in HUES:
        mine = loud & (np.abs((hue - centre + 180) % 360 - 180) <= 360 / len(HUES) / 2)
        steps = np.array(ramp, np.float64)
        at = np.interp(light, steps @ np.array([0.299, 0.587, 0.114]), np.arange(len(steps)))
        few[mine] = steps[np.clip(np.round(at + threshold), 0, len(steps) - 1).astype(int)][mine]


def _half_blocks(small: NDArray[np.uint8], labels: dict[tuple[int, int], str]) -> Text:
    text = Text(no_wrap=True, end="")
    rows, columns = small.shape[0] // 2, small.shape[1]
    pixels = small.tolist()
    for row in range(rows):
        for column in range(columns):
            upper, lower = pixels[2 * row][column], pixels[2 * row + 1][column]
            if letter := labels.get((column, row)):
                text.append(letter, "bold #000000 on #ffd700")
            else:
                text.append("▀", f"rgb({upper[0]},{upper[1]},{upper[2]}) on rgb({lower[0]},{lower[1]},{lower[2]})")
        text.append("\n" if row < rows - 1 else "")
    return text


def _shaded(small: NDArray[np.uint8], labels: dict[tuple[int, int], str]) -> Text:
    """By density alone; the outline in crosses, since it has no colour to stand out by."""
    rows, columns = small.shape[0] // 2, small.shape[1]
    lines = []
    for row in range(rows):
        line = ""
        for column in range(columns):
            pair = small[2 * row : 2 * row + 2, column]
            if letter := labels.get((column, row)):
                line += letter
            elif (pair == OUTLINE).all(axis=1).any():
                line += "+"
            else:
                line += SHADES[round(float(pair.mean()) / 255 * (len(SHADES) - 1))]
        lines.append(line)
    return Text("\n".join(lines), no_wrap=True, end="")


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
