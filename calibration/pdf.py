"""The tag sheet as a PDF, written by hand: a few rectangles, three words and a ruler need no library."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes

if TYPE_CHECKING:
    from calibration.tag_sheet import Paper, TagSheet

PAPER_SIZES: dict[str, tuple[float, float]] = {"a4": (0.297, 0.210), "a3": (0.420, 0.297)}
POINTS_PER_METRE = 72 / 0.0254
MARGIN = 0.008  # what office printers leave white
FOOTER = 0.014
OVERLAP = 0.012
RULER = 0.1


def write_tag_sheet_pdf(sheet: TagSheet, path: Path, paper: Paper) -> int:
    """Write `sheet` to `path` on one page of its own size ("sheet") or tiled on landscape A4 or A3; returns the pages.

    The whole drawing is one form in points, its origin at the sheet's lower left; each page shows a window of it.
    """
    if paper == "sheet":
        size = (sheet.width + 2 * MARGIN, sheet.height + 2 * MARGIN + FOOTER)
        pages = [_page(size, (0.0, 0.0), (sheet.width, sheet.height), "1 of 1")]
    elif paper in PAPER_SIZES:
        size = PAPER_SIZES[paper]
        window = (size[0] - 2 * MARGIN, size[1] - 2 * MARGIN - FOOTER)
        columns, rows = (
            max(1, math.ceil((extent - OVERLAP) / (seen - OVERLAP)))
            for extent, seen in zip((sheet.width, sheet.height), window, strict=True)
        )
        pages = [
            _page(
                size,
                (column * (window[0] - OVERLAP), sheet.height - row * (window[1] - OVERLAP) - window[1]), window,
                f"row {row + 1} of {rows} from the patient's left, column {column + 1} of {columns} from the head",
            )
            for row in range(rows)
            for column in range(columns)
        ]  # fmt: skip
    else:
        raise ValueError(f"paper must be sheet, a4 or a3, got {paper!r}")
    write_bytes(path, _document(size, _drawing(sheet), (sheet.width, sheet.height), pages))
    return len(pages)


def write_raster_pdf(image: NDArray[np.uint8], size: tuple[float, float], path: Path, hint: str) -> None:
    """Write a black and white picture (H, W) as one page that shows it at exactly `size` metres, above a ruler.

    Each row of equal neighbours below it becomes one filled rectangle, so edges are exact at any resolution.
    """
    black = image < 128
    steps = np.flatnonzero(np.any(black[1:] != black[:-1], axis=1)) + 1
    borders = [0, *steps.tolist(), len(black)]
    step_x, step_y = size[0] / black.shape[1], size[1] / black.shape[0]
    parts = ["0 g"]
    for top, bottom in itertools.pairwise(borders):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], black[top].astype(np.int8), [0]])))
        for start, end in edges.reshape(-1, 2).tolist():
            lower = size[1] - bottom * step_y
            parts.append(f"{_points(start * step_x, lower, (end - start) * step_x, (bottom - top) * step_y)} re")
    parts.append("f")
    page = (size[0] + 2 * MARGIN, size[1] + 2 * MARGIN + FOOTER)
    write_bytes(path, _document(page, "\n".join(parts), size, [_page(page, (0.0, 0.0), size, hint)]))


def _points(*metres: float) -> str:
    return " ".join(f"{value * POINTS_PER_METRE:.4f}" for value in metres)


def _text(text: str, x: float, y: float, height: float) -> str:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /F1 {_points(height)} Tf {_points(x, y)} Td ({escaped}) Tj ET"


def _drawing(sheet: TagSheet) -> str:
    """The sheet: tags as filled rectangles, their ids, HEAD and FOOT, an arrow, the outline."""
    from calibration.tag_sheet import CELLS, MARK_GREY, tag_cells

    grey = f"{MARK_GREY / 255:.3f}"
    parts = [f"{grey} G 0.5 w {_points(0, 0, sheet.width, sheet.height)} re S"]
    for tag, (x, y) in sheet.centres.items():
        left, bottom = x - sheet.tag_size / 2 + sheet.width / 2, y - sheet.tag_size / 2 + sheet.height / 2
        cell = sheet.tag_size / CELLS
        # One path with one fill, so that no hairline shows between neighbouring cells.
        parts.append("0 g")
        for row, cells in enumerate(tag_cells(tag)):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], cells.astype(np.int8), [0]])))
            for start, end in edges.reshape(-1, 2).tolist():
                rectangle = (left + start * cell, bottom + (CELLS - 1 - row) * cell, (end - start) * cell, cell)
                parts.append(f"{_points(*rectangle)} re")
        parts.append("f")
        inward = -1 if y > 0 else 1
        label_y = bottom + sheet.tag_size / 2 + inward * (sheet.tag_size / 2 + sheet.quiet_zone + 0.01) - 0.004
        parts.append(f"{grey} g {_text(f'36h11 id {tag}, {1e3 * sheet.tag_size:g} mm', left, label_y, 0.008)}")
    room = sheet.width - 2 * (sheet.tag_size + 2 * sheet.quiet_zone)
    if room >= 0.2:
        height, middle = min(0.12, room / 9), sheet.height / 2
        for text, x in (("HEAD", -0.34 * room), ("FOOT", 0.34 * room)):
            parts.append(f"{grey} g {_text(text, x + sheet.width / 2 - 1.45 * height, middle - 0.36 * height, height)}")
        tip, tail, barb = sheet.width / 2 - 0.12 * room, sheet.width / 2 + 0.12 * room, 0.03 * room
        parts.append(
            f"{grey} G {_points(0.012)} w {_points(tail, middle)} m {_points(tip, middle)} l S "
            f"{_points(tip + barb, middle + barb)} m {_points(tip, middle)} l {_points(tip + barb, middle - barb)} l S"
        )
        hint = "The patient's left side lies at this edge, the head where the arrow points."
        parts.append(f"{grey} g {_text(hint, 0.36 * sheet.width, sheet.height - 0.03, 0.012)}")
    return "\n".join(parts)


def _page(size: tuple[float, float], origin: tuple[float, float], window: tuple[float, float], where: str) -> str:
    """One page that shows the sheet's window `window` from `origin`, with the ruler below it; metres."""
    bottom = MARGIN + FOOTER
    parts = [
        "q", f"{_points(MARGIN, bottom, *window)} re W n",
        f"1 0 0 1 {_points(MARGIN - origin[0], bottom - origin[1])} cm /Sheet Do", "Q",
        f"0.6 G 0.25 w {_points(MARGIN, bottom, *window)} re S",
        f"0 G 0.5 w {_points(MARGIN, MARGIN)} m {_points(MARGIN + RULER, MARGIN)} l S",
    ]  # fmt: skip
    for step in range(11):
        x, tick = MARGIN + step * RULER / 10, 0.005 if step % 5 == 0 else 0.003
        parts.append(f"{_points(x, MARGIN)} m {_points(x, MARGIN + tick)} l S")
    parts.append(f"0 g {_text('100 mm', MARGIN + RULER + 0.003, MARGIN, 0.0035)}")
    parts.append(
        _text(
            "Print at 100 % and measure the ruler: 99.7 to 100.3 mm is right.", MARGIN + 0.001, MARGIN + 0.0065, 0.003
        )
    )
    parts.append(_text(f"wardpose tag sheet, {where}", MARGIN + RULER + 0.018, MARGIN, 0.003))
    return "\n".join(parts)


def _document(size: tuple[float, float], drawing: str, extent: tuple[float, float], pages: list[str]) -> bytes:
    """Objects 1 catalogue, 2 page tree, 3 font, 4 the sheet as a form, then a page and its content for each page."""
    numbers = [5 + 2 * index for index in range(len(pages))]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{number} 0 R' for number in numbers)}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        _stream(
            drawing,
            f"/Type /XObject /Subtype /Form /BBox [0 0 {_points(*extent)}] /Resources << /Font << /F1 3 0 R >> >>",
        ),
    ]
    for number, content in zip(numbers, pages, strict=True):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_points(*size)}] /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> /XObject << /Sheet 4 0 R >> >> >>".encode()
        )
        objects.append(_stream(content, ""))
    document, offsets = bytearray(b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(document)
    document += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    document += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    document += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(document)


def _stream(content: str, entries: str) -> bytes:
    data = content.encode("latin-1")
    return f"<< {entries} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"
