"""A study is a plan of cells: stopped anywhere it goes on, and its tables say what its cells found."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import calibration.atomic
from calibration.errors import WardposeError
from tests.tuning.drawn import draw_people
from tuning.coco_folder import read_people
from tuning.study.cells import (
    Boxes,
    Cell,
    FirstImages,
    Likeness,
    Model,
    Photographs,
    Plan,
    Skeletons,
    Tuning,
    TurnedPeople,
)
from tuning.study.findings import Findings, change
from tuning.study.ledger import Study, carry_out
from tuning.study.plan import PRESETS, Box, Known, Labelled, protocol, targeting
from tuning.study.report import write_report
from tuning.study.tables import open_tables, paper_tables, verdict
from tuning.study.targets import arms, backgrounds, narrow_ward, off_target, training_set, ward
from tuning.study.workshop import EVERYBODY, Workshop

DETECTOR = Known("detector", "0" * 64, 416)
POSE = Known("pose", "1" * 64, 256)
REAL = Labelled("photographs.json", "2" * 64)


def chain(count: int, seed: int = 0) -> Plan:
    """Cells each of which needs the one before."""
    first = Photographs(name="c0", annotations=f"{seed}", labels="")
    rest = [FirstImages(name=f"c{i}", of=f"c{i - 1}", count=i) for i in range(1, count)]
    return Plan(name="chain", cells=(first, *rest))


def sums(cell: Cell, results: Mapping[str, Any], made: Path, progress: Any) -> dict[str, Any]:
    """Work that writes a file of its own and depends on the cell before."""
    calibration.atomic.write_bytes(made / "product", cell.name.encode())
    return {"sum": len(cell.name) + sum(results[need]["sum"] for need in cell.needs), "of": list(cell.needs)}


def killed_at(write: int, plan: Plan, folder: Path) -> bool:
    """Carry the plan out in a child that kills itself at that system call of its writing; whether it was killed."""
    child = os.fork()
    if child == 0:
        left = [write]

        def counted(call: Any) -> Any:
            def called(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **named)

            return called

        for name in ("fsync", "replace"):
            setattr(os, name, counted(getattr(os, name)))
        try:
            carry_out(plan, folder, sums, resume=True)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@settings(max_examples=25)
@given(kills=st.lists(st.integers(0, 14), min_size=1, max_size=4), count=st.integers(1, 5))
def test_a_study_killed_at_any_writes_goes_on_and_ends_with_the_same(kills: list[int], count: int) -> None:
    plan = chain(count)
    with TemporaryDirectory() as place:
        whole = carry_out(plan, Path(place) / "whole", sums)
        folder = Path(place) / "killed"
        for write in kills:
            killed_at(write, plan, folder)
        finished = {path.name: path.read_bytes() for path in (folder / "cells").glob("c*.json")}
        again = carry_out(plan, folder, sums, resume=True)
        assert again.results == whole.results
        assert {name: (folder / "cells" / name).read_bytes() for name in finished} == finished, "nothing twice"


def test_a_larger_plan_takes_what_a_smaller_one_did_and_a_changed_one_only_what_it_may(tmp_path: Path) -> None:
    asked: list[str] = []

    def noted(cell: Cell, results: Mapping[str, Any], made: Path, progress: Any) -> dict[str, Any]:
        asked.append(cell.name)
        return sums(cell, results, made, progress)

    carry_out(chain(3), tmp_path / "study", noted)
    carry_out(chain(5), tmp_path / "study", noted, resume=True)
    assert asked == ["c0", "c1", "c2", "c3", "c4"]
    asked.clear()
    carry_out(chain(5, seed=1), tmp_path / "study", noted, resume=True)
    assert asked == ["c0", "c1", "c2", "c3", "c4"], "whatever is made from a changed cell is made again"


def test_a_folder_of_something_else_or_of_a_study_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").touch()
    with pytest.raises(WardposeError, match="holds no study"):
        carry_out(chain(1), tmp_path / "letters", sums, resume=True)
    carry_out(chain(1), tmp_path / "study", sums)
    with pytest.raises(WardposeError, match=r"holds a study.*--resume"):
        carry_out(chain(1), tmp_path / "study", sums)
    (tmp_path / "study" / "cells" / "c0.json").write_text("{")
    with pytest.raises(WardposeError, match=r"c0\.json.*damaged"):
        carry_out(chain(1), tmp_path / "study", sums, resume=True)


def test_a_second_run_in_the_same_folder_is_told_so(tmp_path: Path) -> None:
    def nested(cell: Cell, results: Mapping[str, Any], made: Path, progress: Any) -> dict[str, Any]:
        with pytest.raises(WardposeError, match="another run"):
            carry_out(chain(1), tmp_path / "study", sums, resume=True)
        return {}

    carry_out(chain(1), tmp_path / "study", nested)


def test_a_plan_is_in_order_and_names_everything_once() -> None:
    with pytest.raises(ValidationError, match="c1 comes before c0"):
        Plan(name="x", cells=tuple(reversed(chain(2).cells)))
    with pytest.raises(ValidationError, match="two cells are called c0"):
        Plan(name="x", cells=chain(1).cells * 2)
    with pytest.raises(ValidationError, match="two cells are called B"):
        protocol("small", Box([DETECTOR], scored={"B": REAL}))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_protocol_scores_every_detector_on_every_set_before_and_after(preset: str) -> None:
    box = Box([DETECTOR, Known("other", "3" * 64, 320)], [POSE], REAL, "rooms", {"photos": REAL})
    plan = protocol(preset, box)
    scored = {(cell.model.name, cell.model.tuned, cell.target) for cell in plan.cells if isinstance(cell, Boxes)}
    for detector in ("detector", "other"):
        for target in ("ward-1", "ward-2", "photos"):
            assert (detector, None, target) in scored
            for data in ("A1", "A2", "B", "C", "D"):
                for order in range(PRESETS[preset].orders):
                    assert (detector, f"{detector}.by.{data}.{order}", target) in scored
    posed = [cell for cell in plan.cells if isinstance(cell, Skeletons)]
    assert {bool(cell.pose.tuned) for cell in posed} == {True, False}
    assert not plan.left_out


def test_what_the_site_does_not_have_is_left_out_by_name() -> None:
    plan = protocol("small", Box([DETECTOR]))
    assert set(plan.left_out) == {"set A", "photographs as background", "skeletons", "real pictures"}
    assert not any(isinstance(cell, Skeletons) or cell.name.startswith("A") for cell in plan.cells)


def test_the_wards_scored_on_share_nothing_with_what_is_trained_on() -> None:
    trained = [training_set(name) for name in "BCD"] + [off_target(45), *backgrounds("rooms").values()]
    lights = {light for scenario in trained for light in scenario.light_presets}
    for scenario in (ward(1), ward(2), narrow_ward()):
        assert not lights & set(scenario.light_presets)
        assert not scenario.parts and scenario.floor_share == 0
    plan = protocol("small", Box([DETECTOR]))
    seeds = {cell.name: cell.seed for cell in plan.cells if cell.kind == "images"}
    assert not {seeds[name] for name in seeds if name.startswith("ward")} & {seeds[name] for name in ("B", "C", "D")}


@given(st.floats(0, 90))
def test_only_the_viewpoint_is_off(degrees: float) -> None:
    exact, off = off_target(0), off_target(degrees)
    assert np.subtract(exact.azimuth_deg, off.azimuth_deg) == pytest.approx([degrees] * 2)
    same = {"name", "azimuth_deg"}
    assert exact.model_dump(exclude=same) == off.model_dump(exclude=same)


def test_arms_of_targeting_have_as_many_images_and_trainings() -> None:
    plan = targeting(DETECTOR, {"photos": REAL}, arms(), images=40, orders=3)
    tuned = [cell for cell in plan.cells if isinstance(cell, Tuning)]
    assert {cell.data for cell in tuned} == set(arms()) and len(tuned) == 3 * len(arms())
    assert {cell.count for cell in plan.cells if cell.kind == "images"} == {40}
    right, steep = arms()["right"], arms()["steep"]
    seen = {"name", "elevation_deg", "open_elevation_deg"}
    assert right.model_dump(exclude=seen) == steep.model_dump(exclude=seen)


def run_of(scores: list[float]) -> dict[str, Any]:
    """One scoring of people who were each seen in a scene of their own."""
    people = {str(i): score for i, score in enumerate(scores)}
    figures = {"AP": 0.1, "AP50": 0.2, "AR": 0.3, "person_score": float(np.mean(scores))}
    return {"figures": figures, "people": people, "visible": people, "scenes": {p: p for p in people}}


def test_trainings_count_by_each_persons_mean_and_their_spread_is_told() -> None:
    found = change([run_of([0.0, 0.5, 0.8])], [run_of([0.9, 0.5, 0.8]), run_of([0.9, 0.9, 0.0])])
    assert found.after == pytest.approx((2.2 + 1.8) / 6) and found.trainings == pytest.approx((2.2 / 3, 0.6))
    assert found.difference == pytest.approx(found.after - found.before) and found.people == found.scenes == 3
    assert found.spread == pytest.approx(np.std([2.2 / 3, 0.6], ddof=1))


def test_many_small_changes_of_one_direction_are_no_gain_by_themselves() -> None:
    """The signed-rank test is sure of them, the mean is not."""
    before = [0.5] * 60
    after = [0.5 + 1e-4 * (i + 1) for i in range(57)] + [0.0, 0.0, 0.0]
    found = change([run_of(before)], [run_of(after)])
    assert found.p_wilcoxon < 0.001 and found.low < 0
    assert verdict(found, found.p_wilcoxon) != "better"
    clear = change([run_of(before)], [run_of([0.9 - 0.001 * i for i in range(60)])])
    assert verdict(clear, clear.p_wilcoxon) == "better" and verdict(clear, 0.2) == "open"


def invented(plan: Plan) -> Study:
    """A study whose cells came to drawn numbers: of it only the form is looked at."""
    rng = np.random.default_rng(0)

    def result(cell: Cell) -> Mapping[str, Any]:
        run = run_of([float(score) for score in rng.random(8)])
        if isinstance(cell, Boxes):
            return {EVERYBODY: run, "lying": run}
        if isinstance(cell, Skeletons):
            return run | {"figures": {"keypoints_AP": 0.4, "keypoints_AR": 0.5}}
        if isinstance(cell, Tuning):
            return {"made": {"recipe": {"epochs": 1}}}
        if isinstance(cell, Likeness):
            groups = [place for place in range(len(cell.sets)) for _ in range(5)]
            points = rng.random((len(groups), 2)).tolist()
            sizes = {name: rng.random((9, 2)).tolist() for name in cell.sets}
            return {
                "sets": list(cell.sets), "groups": groups, "components": points, "shares": [0.4, 0.2],
                "neighbours": points, "sizes": sizes,
            }  # fmt: skip
        return {"folder": "x", "images": getattr(cell, "count", 5), "people": 5}

    nothing = dict.fromkeys((cell.name for cell in plan.cells), 0.0)
    return Study(plan, {cell.name: result(cell) for cell in plan.cells}, nothing, nothing)


def test_every_table_of_the_paper_is_there_and_its_tests_are_corrected_together(tmp_path: Path) -> None:
    study = invented(protocol("full", Box([DETECTOR], [POSE], REAL, "rooms", {"photos": REAL})))
    tables = paper_tables(Findings(study))
    assert [table.title.split(":")[0] for table in tables] == [f"Table {number}" for number in range(2, 8)]
    assert [(row[0], row[1]) for row in tables[2].rows] == [("detector", name) for name in ("A", "B", "C", "D")]
    tested = tables[2:]
    count = sum(len(table.rows) for table in tested)
    for table in tested:
        plain, strict = table.columns.index("p Wilcoxon"), table.columns.index("p Bonferroni")
        for row in table.rows:
            one = row[plain]
            assert isinstance(one, float) and row[strict] == pytest.approx(min(1.0, one * count), rel=0.1)
    amounts = {table.title.split(" (")[0]: [row[0] for row in table.rows] for table in open_tables(Findings(study))}
    assert amounts["Gain against the number of images"] == [100, 300, 1_000, 3_000, 10_800]
    assert amounts["Gain against epochs"] == [1, 2, 3, 4, 5, 20]
    assert amounts["Gain against how far the viewpoint is off"] == [0, 5, 15, 45, 90]
    assert amounts["Gain by background"] == ["every room", "one room", "half photographs", "photographs"]
    report = write_report(study, tmp_path)
    assert {path.name for path in report.files} == {
        "tables.md", "study.json", "figure-8.svg", "figure-9.svg", "figure-10.svg", "sweeps.svg"
    }  # fmt: skip
    for path in report.files:
        assert path.is_file()
        assert path.suffix != ".svg" or ("<text" not in path.read_text() and "<image" not in path.read_text())


def test_the_first_images_of_a_set_are_the_whole_sets(tmp_path: Path) -> None:
    whole = draw_people(tmp_path / "whole", 5)
    work = Workshop({}, threads=1)
    found = work(
        FirstImages(name="part", of="whole", count=2), {"whole": {"folder": whole.name}}, tmp_path / "part", _quiet
    )
    some, every = (read_people(folder / "annotations.json") for folder in (tmp_path / "part", whole))
    assert found["images"] == len(some) == 2
    assert [(p.id, p.path.read_bytes()) for p in some] == [(p.id, p.path.read_bytes()) for p in every[:2]]


def test_set_a_is_of_a_sites_own_coco_people_turned_or_as_they_are(tmp_path: Path) -> None:
    file = draw_people(tmp_path / "coco", 3) / "annotations.json"
    for turned in (True, False):
        cell = TurnedPeople(name="A", annotations=str(file), labels="", turned=turned, count=4, seed=0)
        made = tmp_path / f"A {turned}"
        found = Workshop({})(cell, {}, made, _quiet)
        assert (found["images"], found["people"]) == (4, 4)
        assert Workshop({})(cell, {}, made, _quiet) == found, "a run that was killed right then goes on"
        for picture in read_people(made / "annotations.json"):
            width, height = (picture.boxes[:, 2:] - picture.boxes[:, :2])[0]
            assert (width > height) == turned


def test_a_detector_is_tuned_and_scored_by_cells(tmp_path: Path, random_detector: Path) -> None:
    data, held_out = draw_people(tmp_path / "data", 16), draw_people(tmp_path / "held out", 4, seed=1)
    weights = json.loads((random_detector / "model.json").read_text())["sha256"]
    model = Model(name="random", weights=weights)
    tuned = Model(name="random", weights=weights, tuned="tuned")
    plan = Plan(
        name="tiny",
        cells=(
            Photographs(name="data", annotations=str(data / "annotations.json"), labels=""),
            Photographs(name="target", annotations=str(held_out / "annotations.json"), labels=""),
            Tuning(name="tuned", model=model, data="data", size=(96, 96)),
            Boxes(name="before", model=model, target="target", size=(96, 96)),
            Boxes(name="after", model=tuned, target="target", size=(96, 96)),
        ),
    )
    study = carry_out(plan, tmp_path / "study", Workshop({"random": random_detector}, threads=1))
    (tmp_path / "study").rename(tmp_path / "moved")
    for cell in ("after", "before"):
        (tmp_path / "moved" / "cells" / f"{cell}.json").unlink()
    again = carry_out(plan, tmp_path / "moved", Workshop({"random": random_detector}, threads=1), resume=True)
    assert again.results == study.results, "the tuned model is found where the study was moved to"
    before, after = (study.results[name][EVERYBODY] for name in ("before", "after"))
    assert before["people"].keys() == after["people"].keys() and len(before["people"]) == 4


def _quiet(done: int, total: int, note: str) -> None:
    pass
