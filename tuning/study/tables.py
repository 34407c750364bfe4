"""The paper's tables 2 to 7 of a study, and those of what it left open.

The paper's own cells are not known to us. Its table 2 tells detection, its table 3 skeletons on the boxes found; the
numbers 4 to 7 are ours: the tests of scenario 1, of scenario 2, of targeted against generic images, and of skeletons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuning.evaluate.significance import bonferroni, holm
from tuning.study.findings import Change, Findings, Run, change, figure
from tuning.study.plan import NARROW, SETS, TARGETED, people_of
from tuning.study.workshop import EVERYBODY

ALPHA = 0.05
Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under their headings. note: what a reader must know of them."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of a table: `names` say of what."""

    names: tuple[Value, ...]
    change: Change


_TESTED = (
    "before", "after", "gain", "95 % low", "95 % high", "spread", "p paired t", "p Wilcoxon", "p Bonferroni", "p Holm",
    "verdict",
)  # fmt: skip
_VERDICT = (
    f"Better or worse: Holm's p is under {ALPHA:g} and the interval lies on that side of zero. The signed-rank test "
    "alone calls many small changes of one direction significant, though the mean may not have moved."
)
_FIGURES = ("AP", "AP50", "AR", "person score")


def paper_tables(found: Findings) -> list[Table]:
    """Tables 2 to 7; the p-values of 4 to 7 are corrected for all of their tests together."""
    groups = {
        "Table 4: person score in scenario 1, tuned against as it comes": (
            ("detector", "tuned on"), list(_against_untuned(found, 1))
        ),
        "Table 5: person score in scenario 2, tuned against as it comes": (
            ("detector", "tuned on"), list(_against_untuned(found, 2))
        ),
        "Table 6: person score, targeted images against the others": (
            ("scenario", "detector", "targeted", "against"), list(_against_others(found))
        ),
        "Table 7: similarity (OKS) of skeletons' visible joints": (
            ("scenario", "detector", "pose model", "tuned"), list(_skeleton_tests(found))
        ),
    }  # fmt: skip
    tests = [test for _, some in groups.values() for test in some]
    first, second = (by([test.change.p_wilcoxon for test in tests]) for by in (bonferroni, holm))
    corrected = iter(list(zip(first, second, strict=True)))
    note = (
        f"Scores of 0…1; gain: mean over people with its bootstrap interval over scenes. Bonferroni's and Holm's p are "
        f"Wilcoxon's, corrected for the {len(tests)} tests of tables 4 to 7. {_VERDICT}"
    )
    tables = [_detection(found), *_skeleton_figures(found)]
    for title, (names, some) in groups.items():
        if some:
            rows = [(*test.names, *_tested(test.change, *next(corrected))) for test in some]
            tables.append(Table(title, (*names, *_TESTED), rows, note))
    return tables


def open_tables(found: Findings) -> list[Table]:
    """What the paper left open, by the first detector on scenario 1, and the site's own pictures."""
    detector = found.detectors()[0]
    sweeps = [
        _sweep(found, "Gain against the number of images", "images", _by_number(found, detector)),
        _sweep(found, "Gain against epochs", "epochs", _by_epochs(found, detector)),
        _sweep(found, "Gain against how far the viewpoint is off", "degrees", _by_degrees(found, detector)),
        _sweep(found, "Gain by background", "background", _by_background(found, detector)),
    ]
    return [*(table for table in sweeps if len(table.rows) > 1), *_real(found)]


def targeting_tables(found: Findings) -> list[Table]:
    """Of every arm: its figures and what it gained, and the first against each other."""
    detector, (first, *others) = found.detectors()[0], found.tuned_on(found.detectors()[0], found.targets()[0])
    figures: list[tuple[Value, ...]] = []
    tests: list[Test] = []
    for target in found.targets():
        for column in found.columns(target):
            people = target if column == EVERYBODY else f"{target}: {column}"
            before = found.boxes(detector, None, target, column)
            figures.append((people, "as it comes", *_detected(before), *([None] * 4)))
            for arm in (first, *others):
                after = found.boxes(detector, arm, target, column)
                gain = change(before, after)
                figures.append((people, arm, *_detected(after), *_gain(gain)))
            best = found.boxes(detector, first, target, column)
            for arm in others:
                other = found.boxes(detector, arm, target, column)
                tests.append(Test((people, f"{first} over {arm}"), change(other, best)))
    p = [test.change.p_wilcoxon for test in tests]
    rows = [
        (*test.names, *_tested(test.change, *both)) for test, *both in zip(tests, bonferroni(p), holm(p), strict=True)
    ]
    trainings = len(found.boxes(detector, first, found.targets()[0]))
    told = (
        f"{detector}; {found.images(first)} images of each kind; trainings: {trainings}, figures their means, "
        "spread the standard deviation of the person score from one to another."
    )
    heads = ("people", "tuned on", *_FIGURES, "gain", "95 % low", "95 % high", "spread")
    corrected = f"Wilcoxon's p corrected for these {len(tests)} tests. {_VERDICT}"
    return [
        Table("Each kind of images", heads, figures, told),
        Table(f"{first} against the others, person score", ("people", "of", *_TESTED), rows, corrected),
    ]


def sweeps(found: Findings) -> Mapping[str, list[Test]]:
    """The tests behind the tables of `open_tables`, by what is swept; each is named by its amount."""
    detector = found.detectors()[0]
    swept = {
        "images": list(_by_number(found, detector)),
        "epochs": list(_by_epochs(found, detector)),
        "degrees off": list(_by_degrees(found, detector)),
        "background": list(_by_background(found, detector)),
    }
    return {name: tests for name, tests in swept.items() if len(tests) > 1}


def _detection(found: Findings) -> Table:
    wards = [f"ward-{scenario}" for scenario in TARGETED]
    columns = tuple(f"{name}, {scenario}" for scenario in TARGETED for name in _FIGURES)
    rows: list[tuple[Value, ...]] = []
    for detector in found.detectors():
        for data in (None, *_sets(found, detector, wards[0])):
            figures = [value for ward in wards for value in _detected(_of(found, detector, data, ward))]
            rows.append((detector, data or "as it comes", *figures))
    note = f"Simulated wards never trained on; {', '.join(f'{w}: {found.images(w)} pictures' for w in wards)}."
    return Table("Table 2: detection, scenario 1 and 2", ("detector", "tuned on", *columns), rows, note)


def _sets(found: Findings, detector: str, ward: str) -> list[str]:
    """The paper's sets that the detector was tuned on, with A's two kinds as one where they are there."""
    there = found.tuned_on(detector, ward)
    return [*(["A"] if {"A1", "A2"} <= set(there) else []), *(name for name in SETS if name in there)]


def _of(found: Findings, detector: str, data: str | None, ward: str) -> list[Run]:
    """The runs of a set on a ward; A is turned for scenario 1 alone."""
    return found.boxes(detector, {"ward-1": "A1", "ward-2": "A2"}[ward] if data == "A" else data, ward)


def _skeleton_figures(found: Findings) -> Iterator[Table]:
    names = ("OKS AP", "OKS AR", "visible joints' OKS")
    rows: list[tuple[Value, ...]] = []
    for scenario, pose, detector in _posed(found):
        target, data = f"ward-{scenario}.posed", TARGETED[scenario]
        for tuned in (None, people_of(data)):
            for who, boxes in ((detector, None), (detector, data), (None, None)):
                runs = found.skeletons(pose, tuned, who, boxes, target)
                if runs:
                    of = "the true ones" if who is None else f"{detector}{f' tuned on {boxes}' if boxes else ''}"
                    rows.append((scenario, of, f"{pose}{f' tuned on {data}' if tuned else ''}", *_drawn(runs)))
    if rows:
        yield Table("Table 3: skeletons on the boxes found", ("scenario", "boxes of", "pose model", *names), rows)


def _posed(found: Findings) -> list[tuple[int, str, str]]:
    return [
        (scenario, pose, detector) for scenario in TARGETED for pose in found.poses() for detector in found.detectors()
    ]


def _against_untuned(found: Findings, scenario: int) -> Iterator[Test]:
    ward = f"ward-{scenario}"
    for detector in found.detectors():
        before = found.boxes(detector, None, ward)
        for data in _sets(found, detector, ward):
            yield Test((detector, data), change(before, _of(found, detector, data, ward)))


def _against_others(found: Findings) -> Iterator[Test]:
    for scenario, targeted in TARGETED.items():
        ward = f"ward-{scenario}"
        for detector in found.detectors():
            after = found.boxes(detector, targeted, ward)
            for data in _sets(found, detector, ward):
                if data != targeted:
                    yield Test((scenario, detector, targeted, data), change(_of(found, detector, data, ward), after))


def _skeleton_tests(found: Findings) -> Iterator[Test]:
    """What tuned boxes bring to skeletons, what a tuned pose model brings to tuned boxes, and both together."""
    for scenario, pose, detector in _posed(found):
        target, data = f"ward-{scenario}.posed", TARGETED[scenario]
        none, boxes, both = (
            found.skeletons(pose, tuned, detector, by, target)
            for tuned, by in ((None, None), (None, data), (people_of(data), data))
        )
        for name, before, after in (
            ("the detector", none, boxes),
            ("the pose model too", boxes, both),
            ("both", none, both),
        ):
            yield Test((scenario, detector, pose, name), change(before, after, "visible"))


def _by_number(found: Findings, detector: str) -> Iterator[Test]:
    names = [name for name in found.tuned_on(detector, "ward-1") if name == "B" or name.startswith("B-")]
    for name in sorted(names, key=found.images):
        yield _gain_on(found, detector, name, "ward-1", found.images(name))


def _by_epochs(found: Findings, detector: str) -> Iterator[Test]:
    yield _gain_on(found, detector, "B", "ward-1", found.recipe_epochs(detector, "B"))
    for epochs in found.epochs(detector, "B"):
        yield _gain_on(found, detector, "B", "ward-1", epochs, epochs)


def _by_degrees(found: Findings, detector: str) -> Iterator[Test]:
    for name in found.tuned_on(detector, NARROW):
        yield _gain_on(found, detector, name, NARROW, float(name.removeprefix("off-")))


def _by_background(found: Findings, detector: str) -> Iterator[Test]:
    for name in ("every-room", "one-room", "half-photographs", "photographs"):
        if name in found.tuned_on(detector, "ward-1"):
            yield _gain_on(found, detector, name, "ward-1", name.replace("-", " "))


def _gain_on(found: Findings, detector: str, data: str, target: str, amount: Value, epochs: int | None = None) -> Test:
    before = found.boxes(detector, None, target)
    return Test((amount,), change(before, found.boxes(detector, data, target, epochs=epochs)))


def _sweep(found: Findings, title: str, name: str, tests: Iterator[Test]) -> Table:
    rows = [(*test.names, *_plain(test.change)) for test in tests]
    columns = (name, "before", "after", "gain", "95 % low", "95 % high", "spread", "p Wilcoxon")
    return Table(f"{title} ({found.detectors()[0]})", columns, rows, "Person score; p-values not corrected.")


def _real(found: Findings) -> Iterator[Table]:
    """The site's labelled pictures: what each set brings there."""
    rows: list[tuple[Value, ...]] = []
    for target in found.targets():
        if target.startswith("ward-"):
            continue
        for column in found.columns(target):
            for detector in found.detectors():
                before = found.boxes(detector, None, target, column)
                named = target if column == EVERYBODY else f"{target}: {column}"
                rows.append((named, detector, "as it comes", *_detected(before), *([None] * 4)))
                for data in found.tuned_on(detector, target):
                    after = found.boxes(detector, data, target, column)
                    rows.append((named, detector, data, *_detected(after), *_gain(change(before, after))))
    if rows:
        columns = ("people", "detector", "tuned on", *_FIGURES, "gain", "95 % low", "95 % high", "spread")
        yield Table("Real pictures of the site", columns, rows, "Gain in person score.")


def _detected(runs: Sequence[Run]) -> tuple[Value, ...]:
    return tuple(_round(figure(runs, name)) for name in ("AP", "AP50", "AR", "person_score"))


def _drawn(runs: Sequence[Run]) -> tuple[Value, ...]:
    seen = [value for run in runs for value in run["visible"].values()]
    return (
        _round(figure(runs, "keypoints_AP")), _round(figure(runs, "keypoints_AR")),
        _round(sum(seen) / len(seen)) if seen else None,
    )  # fmt: skip


def _gain(found: Change) -> tuple[Value, ...]:
    return _round(found.difference), _round(found.low), _round(found.high), _round(found.spread)


def _plain(found: Change) -> tuple[Value, ...]:
    return _round(found.before), _round(found.after), *_gain(found), _p(found.p_wilcoxon)


def _tested(found: Change, p_bonferroni: float, p_holm: float) -> tuple[Value, ...]:
    tested = tuple(_p(p) for p in (found.p_t, found.p_wilcoxon, p_bonferroni, p_holm))
    return *_plain(found)[:-1], *tested, verdict(found, p_holm)


def verdict(found: Change, p: float) -> str:
    """What a comparison shows whose Wilcoxon's p is `p` after correction."""
    if p < ALPHA and found.low > 0:
        return "better"
    return "worse" if p < ALPHA and found.high < 0 else "open"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _p(value: float) -> float:
    return float(f"{value:.2g}")
