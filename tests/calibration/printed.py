"""What stands in a printed page, read back from the PDF without the library that wrote it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

POINTS_PER_METRE = 72 / 0.0254


def pdf_objects(path: Path) -> dict[int, bytes]:
    """The objects that the cross-reference table points at, by number."""
    document = path.read_bytes()
    table = document[int(re.search(rb"startxref\s+(\d+)", document)[1]) :]  # type: ignore[index]
    assert table.startswith(b"xref")
    offsets = [int(entry) for entry in re.findall(rb"^(\d{10}) \d{5} n", table, re.MULTILINE)]
    return {
        number: document[offset : document.index(b"endobj", offset)] for number, offset in enumerate(offsets, start=1)
    }


def filled_rectangles(drawing: bytes) -> NDArray[np.float64]:
    """(N, 4) left, bottom, width, height in metres of what is filled, outlines left out."""
    number = rb"(-?[\d.]+)"
    paths = re.findall(rb"^n (.*) re\nf", drawing, re.MULTILINE)
    rows = [row for path in paths for row in re.findall(rb" ".join([number] * 4) + rb" re", path + b" re")]
    return np.array(rows, float) / POINTS_PER_METRE
