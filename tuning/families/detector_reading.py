"""What a foreign detector's numbers mean: told by its names, by the shapes of its outputs and by what it answers.

Shapes alone say little: [1, 8400, 85] is YOLOX's raw offsets, YOLOX decoded, YOLOv6 or a face detector, and class 0 is
a person in COCO's order only. So the model is run once; what its numbers cannot be is ruled out, and what is left open
is asked, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.person_class import listed, person_classes
from tuning.families.family import ImportWish
from tuning.families.graph_detector import STRIDE_SETS, STRIDES
from tuning.store.foreign import ForeignModel
from tuning.store.foreign_names import speaks_of_a_person, suppresses, task

Floats = NDArray[np.float32]
Grid = tuple[NDArray[np.float64], NDArray[np.float64]]  # centres (N, 2) and strides (N, 1) in pixels

COCO_CLASSES, COCO_PERSON = 80, 0
_MOST_CLASSES = 10_000
_MOST_CHOSEN = 1000  # boxes of a model that chooses them itself
_NEAR_CELLS = 4.0  # from a box's centre to the cell that speaks for it, half of all boxes
_ANCHORS = 3  # boxes a cell of YOLOv5 and YOLOv7
_SLACK = 1e-3  # by which a score or a part of the picture may leave 0…1
# YOLOX's own convention: 0…255, blue first, the picture at the top left.
_YOLOX_INPUT: Mapping[str, Any] = {"std": (1.0, 1.0, 1.0), "channels": "bgr", "letterbox": "top-left"}
_ASK_PERSON = "say which it is: --person-class NUMBER, counted from 0"
_ASK_LAYOUT = "export the detector plainly, without suppression, or say its --layout"


def detector_fields(foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
    """Fields of `ModelInfo`, and `turned` where the output is to be transposed, of a detector with one output.

    None for a graph that is no such detector. Raises WardposeError where it is one and what it means is not certain.
    """
    inputs, outputs = foreign.shapes()
    if len(inputs) != 1 or len(inputs[0]) != 4 or not all(inputs[0][2:]):
        return None
    require_detector(foreign)
    if len(outputs) != 1 or len(outputs[0]) not in (0, 3):
        return None
    output = foreign.answer()[0]
    if output.ndim != 3 or output.shape[0] != 1:
        return None
    height, width = inputs[0][2:]
    reading = _Reading(foreign, wish, output[0], width, height).told()
    if reading is None:
        return None
    size = {"width": width, "height": height}
    taken = {"std": (1.0, 1.0, 1.0)} if foreign.takes_bytes else {}
    return {**size, **reading, **taken}


def require_detector(foreign: ForeignModel) -> None:
    """Raise WardposeError where the file itself says that it is for something else."""
    if (said := task(foreign.metadata)) not in (None, "detect"):
        raise WardposeError(
            f"it says that it is for another task ({said})", where=str(foreign.path),
            mend="give a detector; of a pose model, its .pt",
        )  # fmt: skip


def person_class(foreign: ForeignModel, wish: ImportWish, classes: int) -> int:
    """Which of the model's classes is the person; WardposeError where that is not certain, with the names it has."""
    where, names = str(foreign.path), foreign.names
    if wish.person_class is not None:
        said = wish.person_class.strip()
        if said.isascii() and said.isdigit() and int(said) < classes:
            return int(said)
        called = [key for key, name in names.items() if name.casefold() == said.casefold() and key < classes]
        if len(called) != 1:
            raise WardposeError(
                f"has no class {said!r} among {classes} ({listed(names)})", where=where, mend=_ASK_PERSON
            )
        return called[0]
    if names:
        if set(names) != set(range(classes)):
            raise WardposeError(
                f"names {len(names)} classes ({listed(names)}) and has {classes}", where=where, mend=_ASK_PERSON
            )
        people = person_classes(names)
        if len(people) == 1:
            return people[0]
        what = "more than one class for people" if people else "no person"
        raise WardposeError(
            f"knows {what}: its classes are {listed(names)}", where=where,
            mend=_ASK_PERSON if people else "give a detector of people; if one of them is, say it: --person-class NAME",
        )  # fmt: skip
    if classes == COCO_CLASSES:
        return COCO_PERSON
    if classes == 1 and speaks_of_a_person(foreign.metadata):
        return 0
    what = "its one class is not named" if classes == 1 else f"none of its {classes} classes is named"
    raise WardposeError(f"{what}: whether and where it finds people is not certain", where=where, mend=_ASK_PERSON)


class _Reading:
    """One look at a model's answer (A, B), and what it can mean."""

    def __init__(self, foreign: ForeignModel, wish: ImportWish, answer: Floats, width: int, height: int) -> None:
        self.foreign, self.wish, self.answer = foreign, wish, answer
        self.size = np.array([width, height], np.float64)
        self.where = str(foreign.path)
        self.width, self.height = width, height

    def told(self) -> Mapping[str, Any] | None:
        first, second = self.answer.shape
        if (grid := self._grid(second)) is not None and first > 4:
            return self._rows(grid)
        if (grid := self._grid(first)) is not None and second > 4:
            return self._columns(grid)
        if first <= _MOST_CHOSEN and second > 4:
            return self._chosen()
        if (wanted := self.wish.layout) is not None:
            raise WardposeError(
                f"its answer {list(self.answer.shape)} is none of the layout {wanted!r}", where=self.where,
                mend="choose another layout",
            )  # fmt: skip
        return None

    def _strides(self, cells: int) -> tuple[int, ...] | None:
        return next((s for s in STRIDE_SETS if self._cells(s) == cells), None)

    def _cells(self, strides: tuple[int, ...]) -> int:
        return sum((self.height // stride) * (self.width // stride) for stride in strides)

    def _grid(self, cells: int) -> Grid | None:
        """The cells of that many boxes: one a cell, or three as YOLOv5 has them."""
        strides = self._strides(cells)
        if strides is not None:
            return self._centres(strides, 1)
        return self._centres(STRIDES, _ANCHORS) if cells == _ANCHORS * self._cells(STRIDES) else None

    def _centres(self, strides: tuple[int, ...], boxes: int) -> Grid:
        centres, lengths = [], []
        for stride in strides:
            columns, rows = np.meshgrid(np.arange(self.width // stride), np.arange(self.height // stride))
            centre = (np.stack([columns, rows], -1).reshape(-1, 2) + 0.5) * stride
            centres += [centre] * boxes
            lengths += [np.full((len(centre), 1), float(stride))] * boxes
        return np.concatenate(centres), np.concatenate(lengths)

    def _rows(self, grid: Grid) -> Mapping[str, Any]:
        """[4 + classes, N], as ultralytics' heads from v8 on answer."""
        self._wanted("yolo")
        classes = self.answer.shape[0] - 4
        person = self._person(classes)
        self._require_boxes(self.answer[:4].T, grid)
        self._require_scores(self.answer[4:])
        return {"layout": "yolo", "classes": classes, "person_class": person}

    def _columns(self, grid: Grid) -> Mapping[str, Any]:
        """[N, 4 + classes] turned round, or [N, 5 + classes] with an objectness."""
        numbers = self.answer.shape[1]
        layout = self.wish.layout or self._by_names(numbers)
        if layout == "yolo":
            classes = numbers - 4
            person = self._person(classes)
            self._require_boxes(self.answer[:, :4], grid)
            self._require_scores(self.answer[:, 4:])
            return {"layout": "yolo", "classes": classes, "person_class": person, "turned": True}
        classes = numbers - 5
        person = self._person(classes)
        self._require_scores(self.answer[:, 4:])
        kind = self._grid_kind(grid)
        if (layout == "yolox" and kind != "offsets") or (layout == "yolov6" and kind == "offsets"):
            raise WardposeError(
                f"its boxes are {'offsets' if kind == 'offsets' else 'in pixels'}, not as the layout {layout!r} has "
                "them", where=self.where, mend="choose another layout",
            )  # fmt: skip
        fields = {"classes": classes, "person_class": person}
        if kind == "offsets":
            if self._strides(len(self.answer)) != STRIDES:
                raise self._unknown("its boxes are raw offsets of grids that are not known here")
            return {"layout": "yolox", **fields, **_YOLOX_INPUT}
        if kind == "sure" or len(self.answer) == _ANCHORS * self._cells(STRIDES):
            return {"layout": "yolov6", **fields}
        return {"layout": "yolov6", **fields, **_YOLOX_INPUT}

    def _by_names(self, numbers: int) -> Literal["yolo", "grid"]:
        """Whether an objectness stands before the classes: told by how many those are."""
        known = len(self.foreign.names) or COCO_CLASSES
        if known in (numbers - 4, numbers - 5):
            return "yolo" if known == numbers - 4 else "grid"
        if self.foreign.names:
            names = listed(self.foreign.names)
            raise WardposeError(
                f"names {len(self.foreign.names)} classes ({names}), and {numbers} numbers stand for each box",
                where=self.where, mend=_ASK_LAYOUT,
            )  # fmt: skip
        raise self._unknown(
            f"{numbers} numbers stand for each box, and no names say how many of them are classes", ask=True
        )

    def _chosen(self) -> Mapping[str, Any]:
        """[M, 6] of a model that chooses its boxes itself, or [M, 4 + classes] of one that answers with a set."""
        answer, numbers = self.answer, self.answer.shape[1]
        scores = answer[:, 4:]
        parts = self._are_parts(answer[:, :4]) and self._are_scores(scores) and float(np.ptp(scores)) > 0
        chosen = numbers == 6 and self._are_scores(answer[:, 4]) and self._are_classes(answer[:, 5])
        whole = chosen and self._are_corners(answer[:, :4])
        nothing = not answer.any()
        layout = self.wish.layout
        if parts and not nothing and layout in (None, "detr"):
            return {"layout": "detr", "classes": numbers - 4, "person_class": self._person(numbers - 4)}
        told = layout == "yolo-end2end" or suppresses(self.foreign.metadata)
        if whole and (told if nothing else layout in (None, "yolo-end2end")):
            if not self.foreign.names and self.wish.person_class is None:
                raise WardposeError("its classes are not named", where=self.where, mend=_ASK_PERSON)
            person = self._person(len(self.foreign.names) or _MOST_CLASSES)
            return {"layout": "yolo-end2end", "classes": len(self.foreign.names) or person + 1, "person_class": person}
        raise self._unknown(f"{numbers} numbers for each of {len(answer)} boxes fit no layout", ask=nothing)

    def _person(self, classes: int) -> int:
        return person_class(self.foreign, self.wish, classes)

    def _wanted(self, layout: str) -> None:
        if self.wish.layout not in (None, layout):
            raise WardposeError(
                f"its answer is of the layout {layout!r}, not {self.wish.layout!r}", where=self.where,
                mend="leave --layout out",
            )  # fmt: skip

    def _grid_kind(self, grid: Grid) -> Literal["offsets", "pixels", "sure"]:
        """`offsets`: raw offsets from grid cells (YOLOX); `pixels`: boxes in pixels with an objectness; `sure`: the
        same with an objectness of exactly 1 (YOLOv6)."""
        boxes = self.answer[:, :4].astype(np.float64)
        self._require_varied(boxes)
        if self._near(boxes, grid):
            self._require_boxes(self.answer[:, :4], grid)
            return "sure" if (self.answer[:, 4] == 1).all() else "pixels"
        if np.median(np.abs(boxes[:, :2]).max(1)) < _NEAR_CELLS and np.median(np.abs(boxes[:, 2:])) < 10:
            return "offsets"
        raise self._unknown("its boxes are neither in pixels nor offsets from their cells")

    @staticmethod
    def _near(boxes: NDArray[Any], grid: Grid) -> bool:
        centres, strides = grid
        off = np.abs(boxes[:, :2] - centres).max(1) / strides[:, 0]
        return bool(np.median(off) < min(_NEAR_CELLS, max(float(np.median(np.abs(boxes[:, :2]).max(1))), 1e-9)))

    def _require_boxes(self, boxes: Floats, grid: Grid) -> None:
        """Centres and sizes in pixels of the input, each near the cell that it belongs to."""
        self._require_varied(boxes)
        if not self._near(boxes.astype(np.float64), grid):
            raise self._unknown("its boxes are not centres and sizes in pixels of its input")
        if (boxes[:, 2:] < -1).any():
            raise self._unknown("its boxes have sides below 0")

    def _require_varied(self, boxes: NDArray[Any]) -> None:
        if not np.isfinite(boxes).all():
            raise self._unknown("its boxes are not finite")
        if float(np.ptp(boxes, axis=0).max()) <= 1e-6:
            raise self._unknown("it answers the same box everywhere")

    def _require_scores(self, scores: Floats) -> None:
        if not self._are_scores(scores):
            raise self._unknown("what stands behind its boxes are no scores of 0…1")

    @staticmethod
    def _are_scores(scores: Floats) -> bool:
        return bool(np.isfinite(scores).all() and scores.min() >= -_SLACK and scores.max() <= 1 + _SLACK)

    @staticmethod
    def _are_parts(boxes: Floats) -> bool:
        """Centres and sizes as parts of the picture: a box may reach outside, its centre hardly."""
        if not np.isfinite(boxes).all():
            return False
        centres, sizes = boxes[:, :2], boxes[:, 2:]
        return bool(centres.min() >= -0.5 and centres.max() <= 1.5 and sizes.min() >= 0 and sizes.max() <= 4)

    @staticmethod
    def _are_corners(boxes: Floats) -> bool:
        """Left, top, right and bottom in pixels."""
        if not np.isfinite(boxes).all():
            return False
        return bool((boxes[:, 2:] >= boxes[:, :2]).all() and (boxes.max() > 4 or not boxes.any()))

    @staticmethod
    def _are_classes(classes: Floats) -> bool:
        return bool(np.isfinite(classes).all() and classes.min() >= 0 and (classes == np.rint(classes)).all())

    def _unknown(self, what: str, *, ask: bool = False) -> WardposeError:
        mend = _ASK_LAYOUT if ask else "export the detector plainly: boxes in pixels and scores of 0…1 for each cell"
        return WardposeError(f"its layout is not known: {what}", where=self.where, mend=mend)
