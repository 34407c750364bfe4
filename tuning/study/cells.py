"""The parts a study is made of. A cell is plain data: what is to be made or measured, and of which other cells.

A study is a list of cells, each after those it needs. What a cell came to is one file, so that a study which was
stopped goes on with the first cell that has none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synth.scenario import Scenario


class _Cell(BaseModel):
    """name: one of a kind in the study, and the name of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    longest: ClassVar[int] = 150  # a file is called after it
    name: str

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or len(name) > cls.longest:
            raise ValueError(
                f"{name!r} is no name: letters, digits, dots, hyphens and underscores, {cls.longest} at most"
            )
        return name

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the cells whose results this one is made from."""
        return ()


class Images(_Cell):
    """A synthetic set."""

    kind: Literal["images"] = "images"
    scenario: Scenario
    count: int = Field(ge=1)
    seed: int = Field(ge=0)


class FirstImages(_Cell):
    """The first so many pictures of a set."""

    kind: Literal["first-images"] = "first-images"
    of: str
    count: int = Field(ge=1)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of,)


class TurnedPeople(_Cell):
    """The paper's set A: people of a COCO file, turned by 70…110° to either side, or as they are (`turned` False)."""

    kind: Literal["turned-people"] = "turned-people"
    annotations: str
    images: str | None = None
    labels: str = Field(title="SHA-256 of the annotations")
    turned: bool = True
    count: int = Field(ge=1)
    seed: int = Field(ge=0)


class Photographs(_Cell):
    """A COCO set of the site, to score on."""

    kind: Literal["photographs"] = "photographs"
    annotations: str
    images: str | None = None
    labels: str = Field(title="SHA-256 of the annotations")


class Model(BaseModel):
    """A model of the box, or one that a `Tuning` cell made of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights: str = Field(title="SHA-256 of the weights of the model of the box")
    tuned: str | None = Field(default=None, title="Tuning cell")

    @property
    def needs(self) -> tuple[str, ...]:
        return () if self.tuned is None else (self.tuned,)


Size = tuple[int, int]  # width and height of a model's input in pixels


class Tuning(_Cell):
    """A model tuned on a set by its family's recipe, or for another number of epochs."""

    longest: ClassVar[int] = 80  # a model is called after it
    kind: Literal["tuning"] = "tuning"
    model: Model
    data: str
    size: Size | None = None
    epochs: int | None = None
    seed: int = Field(default=0, ge=0)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.data,)


class Boxes(_Cell):
    """How well a detector boxes the people of a target, column by column."""

    kind: Literal["boxes"] = "boxes"
    model: Model
    target: str
    size: Size | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.target, *self.model.needs)


class Skeletons(_Cell):
    """How well a pose model draws the people of a target in the boxes that a detector finds; the true ones without."""

    kind: Literal["skeletons"] = "skeletons"
    pose: Model
    detector: Model | None
    target: str
    size: Size | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.target, *self.pose.needs, *(self.detector.needs if self.detector else ()))


class Likeness(_Cell):
    """Where pictures of several sets lie among a detector's features, and how large their people's boxes are."""

    kind: Literal["likeness"] = "likeness"
    model: Model
    sets: tuple[str, ...]
    pictures: int = Field(ge=2, title="Pictures of each set")

    @property
    def needs(self) -> tuple[str, ...]:
        return self.sets


Cell = Annotated[
    Images | FirstImages | TurnedPeople | Photographs | Tuning | Boxes | Skeletons | Likeness,
    Field(discriminator="kind"),
]  # fmt: skip


class Plan(BaseModel):
    """A whole study. left_out: what it would hold besides, and why it doesn't."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cells: tuple[Cell, ...]
    left_out: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_order(self) -> Plan:
        before: set[str] = set()
        for cell in self.cells:
            if cell.name in before:
                raise ValueError(f"two cells are called {cell.name}")
            if missing := set(cell.needs) - before:
                raise ValueError(f"{cell.name} comes before {', '.join(sorted(missing))}, which it needs")
            before.add(cell.name)
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """By cell: a digest of everything its result depends on, the cells it needs with theirs."""
        found: dict[str, str] = {}
        for cell in self.cells:
            content = json.dumps(
                [cell.model_dump(mode="json"), [found[need] for need in cell.needs]], sort_keys=True, ensure_ascii=False
            )
            found[cell.name] = hashlib.sha256(content.encode()).hexdigest()[:16]
        return found
