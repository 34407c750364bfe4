"""Drawings printed at their true size: on one page of their own, or tiled on office paper, each page with a ruler."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from reportlab.lib.units import cm
from reportlab.pdfgen.canvas import Canvas
from reportlab.pdfgen.pathobject import PDFPathObject

from calibration.atomic import write_bytes

Paper = Literal["sheet", "a4", "a3"]
PAPER_SIZES: dict[str, tuple[float, float]] = {"a4": (0.297, 0.210), "a3": (0.420, 0.297)}
METRE = 100 * cm  # in points, which the canvas counts in
MARGIN = 0.008  # what office printers leave white
FOOTER = 0.014
OVERLAP = 0.012
RULER = 0.1
FONT = "Helvetica"  # every reader has it, so none is embedded
_SHEET = "Sheet"


def write_pages(
    path: Path, extent: tuple[float, float], draw: Callable[[Canvas], None], paper: Paper, title: str, hint: str = ""
) -> int:
    """Write what `draw` draws, `extent` metres wide and high from the lower left, on one page of its own size ("sheet")
    or tiled on landscape A4 or A3; returns the number of pages.

    The drawing is one form; each page shows a window of it, above a ruler of 100 mm, with the title and the hint or the
    tile's place. Coordinates on the canvas are points: metres times `METRE`.
    """
    if paper != "sheet" and paper not in PAPER_SIZES:
        raise ValueError(f"paper must be sheet, a4 or a3, got {paper!r}")
    width, height = extent
    size = PAPER_SIZES.get(paper, (width + 2 * MARGIN, height + 2 * MARGIN + FOOTER))
    window = (size[0] - 2 * MARGIN, size[1] - 2 * MARGIN - FOOTER)
    document = io.BytesIO()
    # Invariant: the same drawing is the same file, whenever it is written.
    canvas = Canvas(document, pagesize=(size[0] * METRE, size[1] * METRE), pageCompression=0, invariant=1)
    canvas.setViewerPreference("PrintScaling", "None")
    canvas.setTitle(title)
    canvas.beginForm(_SHEET, 0, 0, width * METRE, height * METRE)
    draw(canvas)
    canvas.endForm()
    columns, rows = (_tiles(*extents) for extents in zip(extent, window, strict=True))
    for row, column in itertools.product(range(rows), range(columns)):
        if paper == "sheet":
            origin, where = (0.0, 0.0), hint or "1 of 1"
        else:
            origin = column * (window[0] - OVERLAP), height - row * (window[1] - OVERLAP) - window[1]
            where = f"row {row + 1} of {rows} from the patient's left, column {column + 1} of {columns} from the head"
        _draw_page(canvas, origin, window, f"{title}, {where}")
    canvas.save()
    write_bytes(path, document.getvalue())
    return rows * columns


def fill_cells(
    canvas: Canvas, cells: NDArray[np.bool_], corner: tuple[float, float], size: tuple[float, float]
) -> None:
    """Fill the true cells (R, C) of a grid black, its first row on top; its lower left `corner` and its size in metres.

    One path with one fill, so that no hairline shows between neighbours; equal rows become one, so that a picture of
    few edges is few rectangles, exact at any resolution.
    """
    path: PDFPathObject = canvas.beginPath()
    steps = np.flatnonzero(np.any(cells[1:] != cells[:-1], axis=1)) + 1
    across, down = size[0] / cells.shape[1], size[1] / cells.shape[0]
    for top, bottom in itertools.pairwise([0, *steps.tolist(), len(cells)]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], cells[top].astype(np.int8), [0]])))
        for start, end in edges.reshape(-1, 2).tolist():
            path.rect(
                (corner[0] + start * across) * METRE, (corner[1] + size[1] - bottom * down) * METRE,
                (end - start) * across * METRE, (bottom - top) * down * METRE,
            )  # fmt: skip
    canvas.setFillGray(0)
    canvas.drawPath(path, stroke=0, fill=1)


def write_text(canvas: Canvas, text: str, x: float, y: float, height: float) -> None:
    """Text from x, y, `height` high; metres."""
    canvas.setFont(FONT, height * METRE)
    canvas.drawString(x * METRE, y * METRE, text)


def _tiles(extent: float, seen: float) -> int:
    """How many windows of `seen` metres cover `extent` metres, each overlapping the next."""
    return max(1, math.ceil((extent - OVERLAP) / (seen - OVERLAP) - 1e-9))


def _draw_page(canvas: Canvas, origin: tuple[float, float], window: tuple[float, float], title: str) -> None:
    """One page that shows the window `window` of the drawing from `origin`, with the ruler below it; metres."""
    left, bottom, wide, high = (value * METRE for value in (MARGIN, MARGIN + FOOTER, *window))
    canvas.saveState()
    clip: PDFPathObject = canvas.beginPath()
    clip.rect(left, bottom, wide, high)
    canvas.clipPath(clip, stroke=0, fill=0)
    canvas.translate(left - origin[0] * METRE, bottom - origin[1] * METRE)
    canvas.doForm(_SHEET)
    canvas.restoreState()
    canvas.setStrokeGray(0.6)
    canvas.setLineWidth(0.25)
    canvas.rect(left, bottom, wide, high)
    canvas.setStrokeGray(0)
    canvas.setLineWidth(0.5)
    ruler = RULER * METRE
    canvas.line(left, left, left + ruler, left)
    for step in range(11):
        x, tick = left + step * ruler / 10, (0.005 if step % 5 == 0 else 0.003) * METRE
        canvas.line(x, left, x, left + tick)
    canvas.setFillGray(0)
    write_text(canvas, "100 mm", MARGIN + RULER + 0.003, MARGIN, 0.0035)
    advice = "Print at 100 % and measure the ruler: 99.7 to 100.3 mm is right."
    write_text(canvas, advice, MARGIN + 0.001, MARGIN + 0.0065, 0.003)
    write_text(canvas, title, MARGIN + RULER + 0.018, MARGIN, 0.003)
    canvas.showPage()
