"""The studies, as lists of cells: the paper's protocol in two sizes, and whether targeting matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from synth.scenario import Scenario
from tuning.families.family import fitted
from tuning.study import targets
from tuning.study.cells import (
    Boxes,
    Cell,
    FirstImages,
    Images,
    Likeness,
    Model,
    Photographs,
    Plan,
    Size,
    Skeletons,
    Tuning,
    TurnedPeople,
)

SETS = ("B", "C", "D")
TARGETED = {1: "B", 2: "C"}  # the set that is made for each scenario
NARROW = "ward-narrow"


@dataclass(frozen=True, slots=True)
class Preset:
    """How much of everything.

    images: of each set; wards: pictures of scenario 1 and 2; orders: trainings, on the pictures in another order each;
    numbers, epochs: what is swept, on the targeted set of scenario 1; degrees: how far the viewpoint is off; sweep:
    images of each set of the last two sweeps; people: images of a targeted set that a pose model is tuned on; posed:
    pictures of each ward that skeletons are drawn in; alike: pictures of a set whose features are compared.
    """

    images: int
    wards: tuple[int, int]
    orders: int
    numbers: tuple[int, ...]
    epochs: tuple[int, ...]
    degrees: tuple[float, ...]
    sweep: int
    people: int
    posed: int
    alike: int

    def of(self, images: int | None) -> Preset:
        """The same with so many images of each set, and no more of any part of one."""
        if images is None:
            return self
        numbers = tuple(number for number in self.numbers if number < images)
        return replace(
            self, images=images, numbers=numbers, sweep=min(self.sweep, images), people=min(self.people, images)
        )


DEGREES = (0.0, 5.0, 15.0, 45.0, 90.0)
# The full one has the paper's numbers of images and of real frames. With a hundred images a training ends within its
# warm-up, and no sweep of anything else shows a difference.
PRESETS: Mapping[str, Preset] = {
    "small": Preset(
        images=300, wards=(60, 45), orders=1, numbers=(100,), epochs=(2,), degrees=DEGREES, sweep=300, people=100,
        posed=24, alike=20,
    ),
    "full": Preset(
        images=10_800, wards=(224, 210), orders=3, numbers=(100, 300, 1_000, 3_000), epochs=(2, 3, 4, 5, 20),
        degrees=DEGREES, sweep=2_000, people=10_800, posed=210, alike=200,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """A model of the box: its name, the SHA-256 of its weights and the longer side of its input in pixels."""

    name: str
    weights: str
    longer_side: int = 0

    def model(self, tuned: str | None = None) -> Model:
        return Model(name=self.name, weights=self.weights, tuned=tuned)

    def size_for(self, scenario: Scenario) -> Size:
        """Its input for a scenario's pictures."""
        return fitted(self.longer_side, scenario.height / scenario.width)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A COCO file of the site, its SHA-256, and the folder of its pictures where they do not lie beside it."""

    annotations: str
    labels: str
    images: str | None = None

    def cell(self, name: str) -> Photographs:
        return Photographs(name=name, annotations=self.annotations, images=self.images, labels=self.labels)


@dataclass(frozen=True, slots=True)
class Box:
    """What a study is made with. coco: people to turn for set A; backgrounds: a folder of photographs of rooms; scored:
    real sets to score on besides, by name."""

    detectors: Sequence[Known]
    poses: Sequence[Known] = ()
    coco: Labelled | None = None
    backgrounds: str | None = None
    scored: Mapping[str, Labelled] = field(default_factory=dict)


def tuned_name(model: str, data: str, order: int, epochs: int | None = None) -> str:
    """The cell of a model tuned on a set."""
    return f"{model}.by.{data}{f'-{epochs}epochs' if epochs else ''}.{order}"


def boxes_name(model: str, target: str) -> str:
    """The cell of a detector's boxes on a target; `model` is the box's own, or a tuning's cell."""
    return f"{model}.on.{target}"


def skeletons_name(pose: str, detector: str | None, target: str) -> str:
    """The cell of a pose model's skeletons on the boxes of a detector, or on the true ones."""
    return f"{pose}.in.{detector or 'truth'}.on.{target}"


def people_of(data: str) -> str:
    """The part of a set that pose models are tuned on."""
    return f"{data}.people"


def protocol(preset: str, box: Box, seed: int = targets.TRAINING_SEED, images: int | None = None) -> Plan:
    """The paper's study on scenarios 1 and 2, and what it left open. images: of each set, default the preset's."""
    cells = tuple(_protocol(PRESETS[preset].of(images), box, seed))
    return Plan(name=preset, cells=cells, left_out=_left_out(box))


def _left_out(box: Box) -> dict[str, str]:
    found = {}
    if box.coco is None:
        found["set A"] = "no COCO folder of people was named (--coco FILE)"
    if box.backgrounds is None:
        found["photographs as background"] = "no folder of photographs of rooms was named (--backgrounds DIR)"
    if not box.poses:
        found["skeletons"] = "no pose model was named, or this box has none"
    if not box.scored:
        found["real pictures"] = "no labelled set of the site was named (--score NAME=FILE)"
    return found


def _protocol(size: Preset, box: Box, seed: int) -> Iterator[Cell]:
    for number, count in zip((1, 2), size.wards, strict=True):
        yield Images(name=f"ward-{number}", scenario=targets.ward(number), count=count, seed=targets.TARGET_SEED)
    for name, photographs in box.scored.items():
        yield photographs.cell(name)
    scored = ("ward-1", "ward-2", *box.scored)
    for detector in box.detectors:
        yield from _boxes(detector, None, scored)
    sets: tuple[str, ...] = SETS
    for name in SETS:
        yield Images(name=name, scenario=targets.training_set(name), count=size.images, seed=seed)
    if box.coco is not None:
        sets = ("A1", "A2", *SETS)
        for name, turned in (("A1", True), ("A2", False)):
            yield TurnedPeople(
                name=name, annotations=box.coco.annotations, images=box.coco.images, labels=box.coco.labels,
                turned=turned, count=size.images, seed=seed,
            )  # fmt: skip
    for order, name, detector in product(range(size.orders), sets, box.detectors):
        yield from _tuned(detector, name, order, scored)
    first = box.detectors[0]
    yield Likeness(name="likeness", model=first.model(), sets=(*sets, *scored), pictures=size.alike)
    yield from _swept(size, first, seed)
    yield from _backgrounds(size, box, first, seed)
    yield from _posed(size, box)


def _tuned(detector: Known, data: str, order: int, scored: Sequence[str], epochs: int | None = None) -> Iterator[Cell]:
    """A detector tuned on a set, and its boxes on the targets."""
    name = tuned_name(detector.name, data, order, epochs)
    size = detector.size_for(targets.ward(1))
    yield Tuning(name=name, model=detector.model(), data=data, size=size, epochs=epochs, seed=order)
    yield from _boxes(detector, name, scored)


def _boxes(detector: Known, tuned: str | None, scored: Sequence[str]) -> Iterator[Cell]:
    size = detector.size_for(targets.ward(1))
    for target in scored:
        yield Boxes(
            name=boxes_name(tuned or detector.name, target), model=detector.model(tuned), target=target, size=size
        )


def _posed(size: Preset, box: Box) -> Iterator[Cell]:
    """The paper's table 3, on the untuned and on the targeted detectors' boxes, with untuned and tuned pose models."""
    if not box.poses:
        return
    for scenario, data in TARGETED.items():
        target = f"ward-{scenario}.posed"
        yield FirstImages(name=target, of=f"ward-{scenario}", count=size.posed)
        yield FirstImages(name=people_of(data), of=data, count=size.people)
        for pose in box.poses:
            tuned = tuned_name(pose.name, people_of(data), 0)
            yield Tuning(name=tuned, model=pose.model(), data=people_of(data))
            for cell in (None, tuned):
                for detector, found in product(box.detectors, (None, data)):
                    boxes = None if found is None else tuned_name(detector.name, found, 0)
                    yield Skeletons(
                        name=skeletons_name(cell or pose.name, boxes or detector.name, target), pose=pose.model(cell),
                        detector=detector.model(boxes), target=target, size=detector.size_for(targets.ward(1)),
                    )  # fmt: skip
                yield Skeletons(
                    name=skeletons_name(cell or pose.name, None, target), pose=pose.model(cell), detector=None,
                    target=target,
                )  # fmt: skip


def _swept(size: Preset, detector: Known, seed: int) -> Iterator[Cell]:
    """Gain against number of images, epochs, and how far the viewpoint is off."""
    for order, count in product(range(size.orders), size.numbers):
        data = f"B-{count}"
        if not order:
            yield FirstImages(name=data, of="B", count=count)
        yield from _tuned(detector, data, order, ("ward-1",))
    for order, epochs in product(range(size.orders), size.epochs):
        yield from _tuned(detector, "B", order, ("ward-1",), epochs)
    yield Images(name=NARROW, scenario=targets.narrow_ward(), count=size.wards[0], seed=targets.TARGET_SEED + 1)
    yield from _boxes(detector, None, (NARROW,))
    for order, degrees in product(range(size.orders), size.degrees):
        data = f"off-{degrees:g}"
        if not order:
            yield Images(name=data, scenario=targets.off_target(degrees), count=size.sweep, seed=seed)
        yield from _tuned(detector, data, order, (NARROW,))


def _backgrounds(size: Preset, box: Box, detector: Known, seed: int) -> Iterator[Cell]:
    kinds = targets.backgrounds(box.backgrounds)
    yield FirstImages(name="every-room", of="B", count=min(size.sweep, size.images))
    for order, name in product(range(size.orders), ("every-room", *kinds)):
        if not order and name in kinds:
            yield Images(name=name, scenario=kinds[name], count=size.sweep, seed=seed)
        yield from _tuned(detector, name, order, ("ward-1", *box.scored))


def targeting(
    detector: Known, scored: Mapping[str, Labelled], arms: Mapping[str, Scenario], images: int, orders: int,
    seed: int = targets.TRAINING_SEED,
) -> Plan:  # fmt: skip
    """The same number of images of each arm, tuned on as often, scored on the site's own photographs.

    Those have every shape, so that input and images are square, of the detector's longer side.
    """
    return Plan(name="targeting", cells=tuple(_targeting(detector, scored, arms, images, orders, seed)))


def _targeting(
    detector: Known, scored: Mapping[str, Labelled], arms: Mapping[str, Scenario], images: int, orders: int, seed: int
) -> Iterator[Cell]:
    size = (detector.longer_side,) * 2
    for name, photographs in scored.items():
        yield photographs.cell(name)
    for target in scored:
        yield Boxes(name=boxes_name(detector.name, target), model=detector.model(), target=target, size=size)
    for order, (name, scenario) in product(range(orders), arms.items()):
        if not order:
            square = scenario.having(width=size[0], height=size[1])
            yield Images(name=name, scenario=square, count=images, seed=seed)
        tuned = tuned_name(detector.name, name, order)
        yield Tuning(name=tuned, model=detector.model(), data=name, size=size, seed=order)
        for target in scored:
            yield Boxes(name=boxes_name(tuned, target), model=detector.model(tuned), target=target, size=size)
