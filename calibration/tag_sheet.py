"""The printed target: one sheet with four AprilTags, laid centred on the mattress with its head mark toward the head.

One sheet instead of four loose tags, because the printer then controls the distances between them: tags placed 1 cm
off cost more accuracy than everything else together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed

if TYPE_CHECKING:
    from calibration.pdf import Canvas, Paper

CELLS = 8  # a 36h11 tag with its black border is 8 by 8 cells
PAPER_GREY, MARK_GREY = 255, 96


@cache
def tag_cells(tag_id: int) -> NDArray[np.bool_]:
    """The 8×8 cells of AprilTag 36h11 number `tag_id`, border included; True is black."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    return np.asarray(cv2.aruco.generateImageMarker(dictionary, tag_id, CELLS)) < 128


@dataclass(frozen=True, slots=True)
class TagSheet:
    """Four AprilTag 36h11 tags in the corners of a sheet; every measure in metres.

    The sheet's picture has the head at its left edge and the patient's left at its top edge: columns run along the
    bed's +x, rows along −y. `width` therefore lies along the bed's length. `tag_size` is the edge of the black square.
    `ids`: head left, foot left, foot right, head right (the patient's sides).
    """

    width: float = 1.98
    height: float = 0.88
    tag_size: float = 0.28
    quiet_zone: float = 0.035
    ids: tuple[int, int, int, int] = (0, 1, 2, 3)

    def __post_init__(self) -> None:
        if len(set(self.ids)) != 4 or not all(0 <= tag < 587 for tag in self.ids):
            raise ValueError(f"a tag sheet needs four different 36h11 ids from 0 to 586, got {self.ids}")
        if self.tag_size <= 0:
            raise ValueError(f"tag size must be positive, got {self.tag_size}")
        if self.quiet_zone < 0.999 * self.tag_size / CELLS:
            raise ValueError(
                f"the quiet zone must be at least one cell ({self.tag_size / CELLS:.4f} m), got {self.quiet_zone} m"
            )
        needed = 2 * self.tag_size + 3 * self.quiet_zone
        for name, extent in (("width", self.width), ("height", self.height)):
            if extent < needed:
                raise ValueError(f"two tags of {self.tag_size} m need a sheet {name} of {needed:.3f} m, got {extent} m")

    @classmethod
    def for_bed(cls, bed: Bed, *, tag_size: float | None = None, margin: float = 0.01) -> TagSheet:
        """The largest sheet for a bed that leaves `margin` metres of mattress around it."""
        width, height = bed.length - 2 * margin, bed.width - 2 * margin
        size = tag_size if tag_size is not None else min(0.28, int(height / (2 + 3 / CELLS) * 100) / 100)
        return cls(width=width, height=height, tag_size=size, quiet_zone=size / CELLS)

    @property
    def centres(self) -> dict[int, tuple[float, float]]:
        """Tag centres (x, y) in the bed frame by id."""
        x = self.width / 2 - self.quiet_zone - self.tag_size / 2
        y = self.height / 2 - self.quiet_zone - self.tag_size / 2
        return dict(zip(self.ids, ((-x, y), (x, y), (x, -y), (-x, -y)), strict=True))

    @property
    def corners_bed(self) -> dict[int, NDArray[np.float64]]:
        """Outer corners (4, 3) of each tag's black square in the bed frame.

        Order as `cv2.aruco` reports them: the tag's own top left, top right, bottom right, bottom left.
        """
        half = self.tag_size / 2
        square = np.array([[-half, half, 0.0], [half, half, 0.0], [half, -half, 0.0], [-half, -half, 0.0]])
        return {tag: square + [x, y, 0.0] for tag, (x, y) in self.centres.items()}

    def image(self, px_per_metre: float = 800.0) -> NDArray[np.uint8]:
        """The sheet as a grey picture (rows, columns), head left, white paper.

        Column c, row r covers x = (c + ½)·width/columns − width/2 and y = height/2 − (r + ½)·height/rows; edges that
        fall inside a pixel are area-averaged, so the tags keep their exact size at any resolution.
        """
        columns, rows = round(self.width * px_per_metre), round(self.height * px_per_metre)
        if min(columns, rows) < 32:
            raise ValueError(f"{px_per_metre} pixels a metre make a picture of {columns}×{rows}; ask for more")
        sheet = np.full((rows, columns), PAPER_GREY, np.uint8)
        self._draw_marks(sheet)
        x_edges = np.linspace(-self.width / 2, self.width / 2, columns + 1)
        y_edges = np.linspace(self.height / 2, -self.height / 2, rows + 1)
        for tag, (x, y) in self.centres.items():
            cell_edges = (np.arange(CELLS + 1) / CELLS - 0.5) * self.tag_size
            across = _coverage(x_edges, x + cell_edges)
            down = _coverage(-y_edges, -y + cell_edges)
            black = down.T @ tag_cells(tag).astype(np.float64) @ across
            touched = black > 0
            sheet[touched] = np.round(PAPER_GREY * (1 - black[touched])).astype(np.uint8)
        return sheet

    def _draw_marks(self, sheet: NDArray[np.uint8]) -> None:
        """HEAD and FOOT, and an arrow toward the head, in the middle where no tag stands."""
        scale = sheet.shape[1] / self.width
        room = self.width - 2 * (self.tag_size + 2 * self.quiet_zone)
        if room < 0.2:
            return
        text_height = min(0.09, room / 12)
        face, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(0.012 * scale))
        font_scale = text_height * scale / 21.0  # the face's capitals are 21 px high at scale 1
        middle = sheet.shape[0] // 2
        for text, x in (("HEAD", -0.34 * room), ("FOOT", 0.34 * room)):
            (text_width, _), _ = cv2.getTextSize(text, face, font_scale, thickness)
            column = round((x + self.width / 2) * scale) - text_width // 2
            cv2.putText(
                sheet,
                text,
                (column, middle + round(text_height * scale / 2)),
                face,
                font_scale,
                MARK_GREY,
                thickness,
                cv2.LINE_AA,
            )
        tail, tip = (round((s * 0.12 * room + self.width / 2) * scale) for s in (1, -1))
        cv2.arrowedLine(sheet, (tail, middle), (tip, middle), MARK_GREY, thickness, cv2.LINE_AA, 0, 0.2)

    def write_pdf(self, path: Path | str, *, paper: Paper = "sheet") -> int:
        """Write the sheet as a vector PDF; returns the number of pages.

        paper "sheet" makes one page of the full size for a print shop; "a4" and "a3" make landscape tiles with an
        overlap and cut marks. Each page carries a ruler of 100 mm: print at 100 %, then measure it.
        """
        from calibration.pdf import write_pages

        return write_pages(Path(path), (self.width, self.height), self._draw, paper, "wardpose tag sheet")

    def _draw(self, canvas: Canvas) -> None:
        """The sheet: tags, their ids, HEAD and FOOT, an arrow, the outline."""
        from calibration.pdf import METRE, fill_cells, write_text

        canvas.setStrokeGray(MARK_GREY / 255)
        canvas.setLineWidth(0.5)
        canvas.rect(0, 0, self.width * METRE, self.height * METRE)
        for tag, (x, y) in self.centres.items():
            left, bottom = x - self.tag_size / 2 + self.width / 2, y - self.tag_size / 2 + self.height / 2
            fill_cells(canvas, tag_cells(tag), (left, bottom), (self.tag_size, self.tag_size))
            inward = -1 if y > 0 else 1
            label_y = bottom + self.tag_size / 2 + inward * (self.tag_size / 2 + self.quiet_zone + 0.01) - 0.004
            canvas.setFillGray(MARK_GREY / 255)
            write_text(canvas, f"36h11 id {tag}, {1e3 * self.tag_size:g} mm", left, label_y, 0.008)
        room = self.width - 2 * (self.tag_size + 2 * self.quiet_zone)
        if room < 0.2:
            return
        height, centre, middle = min(0.12, room / 9), self.width / 2, self.height / 2
        for text, x in (("HEAD", -0.34 * room), ("FOOT", 0.34 * room)):
            write_text(canvas, text, centre + x - 1.45 * height, middle - 0.36 * height, height)
        tip, tail, barb = centre - 0.12 * room, centre + 0.12 * room, 0.03 * room
        canvas.setLineWidth(0.012 * METRE)
        for x, y in ((tail, middle), (tip + barb, middle + barb), (tip + barb, middle - barb)):
            canvas.line(x * METRE, y * METRE, tip * METRE, middle * METRE)
        hint = "The patient's left side lies at this edge, the head where the arrow points."
        write_text(canvas, hint, 0.36 * self.width, self.height - 0.03, 0.012)


def _coverage(pixel_edges: NDArray[np.float64], cell_edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share (cells, pixels) of each pixel that lies in each cell; both edge arrays ascend."""
    low = np.maximum(cell_edges[:-1, None], pixel_edges[None, :-1])
    high = np.minimum(cell_edges[1:, None], pixel_edges[None, 1:])
    return np.clip(high - low, 0, None) / np.diff(pixel_edges)[None]
