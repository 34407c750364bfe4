"""Every fault of a data set stands in one list, and no training begins on such a set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from appliance.cli.main import main
from calibration.errors import WardposeError
from tests.tuning.drawn import draw_people
from tuning.base import make_base
from tuning.data_check import DataReport, check_data
from tuning.families.family import tune

Coco = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_people(tmp_path_factory.mktemp("whole") / "data", 6)


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def rewritten(data: Path, change: Callable[[Coco], object]) -> Path:
    file = data / "annotations.json"
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))
    return data


def picture(data: Path, number: int) -> Path:
    return sorted((data / "images").iterdir())[number]


def cut(data: Path) -> Path:
    path = picture(data, 2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return data


def shrunk(data: Path) -> Path:
    path = picture(data, 1)
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5))
    return data


def removed(data: Path) -> Path:
    picture(data, 0).unlink()
    return data


def no_picture(data: Path) -> Path:
    picture(data, 3).write_text("hello")
    return data


def empty_file(data: Path) -> Path:
    picture(data, 3).write_bytes(b"")
    return data


def person(number: int, **fields: Any) -> Callable[[Path], Path]:
    return lambda data: rewritten(data, lambda content: content["annotations"][number].update(fields))


def crowds_alone(content: Coco) -> None:
    for row in content["annotations"]:
        row["iscrowd"] = 1


def twice(kind: str) -> Callable[[Path], Path]:
    return lambda data: rewritten(data, lambda content: content[kind][3].update(id=content[kind][0]["id"]))


FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no pictures": (
        lambda data: rewritten(data, lambda content: content.update(images=[], annotations=[])), "lists no pictures"
    ),
    "nobody": (lambda data: rewritten(data, lambda content: content.update(annotations=[])), "nobody is in any of"),
    "one class, and no person": (
        lambda data: rewritten(data, lambda content: content["categories"][0].update(name="bed")),
        "no category `person`, only 'bed'",
    ),
    "crowds alone": (lambda data: rewritten(data, crowds_alone), "has crowds alone"),
    "a box outside": (person(1, bbox=[500, 10, 20, 20], area=300), "annotations row 2, bbox: .* lies outside"),
    "an empty box": (person(1, bbox=[5, 10, 0, 20]), "annotations row 2, bbox: .* is empty"),
    "a box without numbers": (person(2, bbox=["a", 1, 2, 3]), "annotations row 3, bbox: .*no number"),
    "an id that is none": (person(2, id=[3]), "annotations row 3, id: is .*no whole number or name"),
    "a text id of no picture": (person(2, image_id="seven"), 'annotations row 3, image_id: "seven" is no picture'),
    "ids there twice": (twice("annotations"), "annotations row 4, id: 1 is that of row 1 too"),
    "pictures' ids there twice": (twice("images"), "images row 4, id: 1 is that of row 1 too"),
    "a picture listed twice": (
        lambda data: rewritten(data, lambda c: c["images"][3].update(file_name=c["images"][0]["file_name"])),
        "images row 4, file_name: .* is listed twice",
    ),
    "another size": (shrunk, "images row 2, width, height: .* is 80×60, the file says 160×120"),
    "missing": (removed, "images row 1, file_name: the picture .* is missing"),
    "cut off": (cut, "images row 3, file_name: .*damaged"),
    "no picture": (no_picture, "images row 4, file_name: .*is no picture"),
    "an empty file": (empty_file, "images row 4, file_name: "),
    "out of the folder": (
        lambda data: rewritten(data, lambda content: content["images"][1].update(file_name="../../elsewhere.jpg")),
        "images row 2, file_name: .* leads out",
    ),
    "no JSON": (lambda data: (data / "annotations.json").write_text("{") and data, "not JSON"),
    "no COCO file": (lambda data: (data / "annotations.json").write_text("{}") and data, "not a COCO file"),
    "no file": (lambda data: (data / "annotations.json").unlink() or data, "no such COCO file"),
    "wrong joints": (person(0, keypoints=[1, 2, 9] * 17), "annotations row 1, keypoints: .* visibility other than"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_row_and_field(data: Path, name: str) -> None:
    spoil, says = FAULTS[name]
    report = check_data(spoil(data))
    assert report.faults
    with pytest.raises(WardposeError, match=says):
        raise WardposeError(str(report.faults[0]))


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {"wrong joints"}))  # which a detector does not look at
def test_no_training_begins_on_it(random_detector: Path, data: Path, tmp_path: Path, name: str) -> None:
    spoil, says = FAULTS[name]
    with pytest.raises(WardposeError, match=says) as refused:
        tune(random_detector, spoil(data), tmp_path / "tuned")
    assert "wardpose data check" in refused.value.mend and not (tmp_path / "tuned").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_no_base_model_is_made_of_it(data: Path, tmp_path: Path, name: str) -> None:
    spoil, says = FAULTS[name]
    with pytest.raises(WardposeError, match=says) as refused:
        make_base("pose", spoil(data), tmp_path / "base")
    assert "wardpose data check" in refused.value.mend and list(tmp_path.glob("*base*")) == []


def test_all_faults_stand_in_one_list(data: Path) -> None:
    def spoil(content: Coco) -> None:
        content["annotations"][0].update(bbox=[0, 0, -1, 5], area="much", iscrowd=7)
        content["annotations"][4]["image_id"] = 99

    rewritten(no_picture(cut(removed(data))), spoil)
    report = check_data(data)
    told = "\n".join(map(str, report.faults))
    assert len(report.faults) == 7, told
    assert [(f.row, f.field) for f in report.faults if f.list == "annotations"] == [
        (1, "bbox"), (1, "iscrowd"), (1, "area"), (5, "image_id"),
    ]  # fmt: skip
    assert [f.row for f in report.faults if f.list == "images"] == [1, 4, 5]


def test_a_whole_set_has_no_fault_and_says_what_it_holds(data: Path) -> None:
    report = check_data(data)
    assert report.ok and (report.images, report.people, report.with_keypoints) == (6, 6, 6)
    assert report.notes == ["every picture shows somebody: a detector sees no empty bed in it"]


def test_text_ids_that_mean_one_thing_are_no_fault(data: Path) -> None:
    def texts(content: Coco) -> None:
        for row in content["images"] + content["annotations"]:
            for field in ("id", "image_id"):
                if field in row:
                    row[field] = f"{row[field]:05d}"

    assert check_data(rewritten(data, texts)).ok


def test_a_set_without_keypoints_trains_a_detector_and_no_pose_model(data: Path) -> None:
    def without(content: Coco) -> None:
        for row in content["annotations"]:
            row["keypoints"] = [0] * 51

    rewritten(data, without)
    assert check_data(data).ok and check_data(data, task="detect").ok
    assert "no person has keypoints" in check_data(data, task="pose").faults[0].what


def test_what_is_odd_and_may_be_meant_is_a_note(data: Path) -> None:
    shutil.copy(picture(data, 0), picture(data, 1))
    rewritten(data, lambda content: content["annotations"][2].update(bbox=[100, 10, 90, 60], area=100))
    report = check_data(data)
    assert report.ok and any("byte by byte" in note for note in report.notes)
    assert any("1 boxes reach beyond their pictures, first annotations row 3" in note for note in report.notes)


def test_the_command_lists_them_and_fails(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(data)]) == 0
    assert "no fault; 6 pictures, 6 people" in capfd.readouterr().out
    cut(removed(data))
    assert main(["data", "check", str(data)]) == 1
    said = capfd.readouterr().out
    assert "- images row 1, file_name: the picture '000000.jpg' is missing" in said and "2 faults" in said
    assert main(["data", "check", str(data), "--json"]) == 1
    answer = json.loads(capfd.readouterr().out)
    assert answer["ok"] is False and {"file", "row", "field", "what"} <= set(answer["faults"][0])
    assert DataReport.model_validate({k: v for k, v in answer.items() if k != "ok"}).images == 6
