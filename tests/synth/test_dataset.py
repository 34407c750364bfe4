"""A data set depends on its specification alone, and survives whatever ends a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.anny_body import anny_body
from synth.body.body_model import Pose, Shape
from synth.dataset import DatasetSpec, PictureWorkers, generate_sample, is_done, make_dataset, read_spec
from synth.scenario import NAMED, Part
from synth.sensor import encode_jpeg
from tuning.families.ultralytics_adapter import ultralytics

REPOSITORY = Path(__file__).resolve().parents[2]
SPEC = DatasetSpec(
    scenario=NAMED["C"].model_copy(
        update={"width": 160, "height": 90, "bystander_weights": (0.7, 0.3), "views_per_scene": 2, "parts": {}}
    ),
    count=3,
    seed=11,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "set"
    summary = make_dataset(SPEC, out, workers=1)
    assert (summary.images, summary.made, summary.seed) == (3, 3, 11)
    return out


def test_pycocotools_reads_the_annotations(made: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    coco = coco_module.COCO(str(made / "annotations.json"))
    assert len(coco.getImgIds()) == 3
    assert coco.getAnnIds()
    for annotation in coco.loadAnns(coco.getAnnIds()):
        x, y, w, h = annotation["bbox"]
        assert 0 <= x < x + w <= 160
        assert 0 <= y < y + h <= 90
        assert len(annotation["keypoints"]) == 51


def test_outline_box_and_area_of_each_person_are_one_truth(made: Path) -> None:
    mask_utils = pytest.importorskip("pycocotools.mask")
    people = json.loads((made / "annotations.json").read_bytes())["annotations"]
    for person in people:
        outline = mask_utils.frPyObjects(person["segmentation"], 90, 160)
        assert int(mask_utils.area(outline)) == person["area"]
        assert mask_utils.toBbox(outline).tolist() == person["bbox"]
        (x, y, w, h), (fx, fy, fw, fh) = person["bbox"], person["full_bbox"]
        assert fx <= x and fy <= y and fx + fw >= x + w and fy + fh >= y + h


def test_body_and_pose_of_an_annotation_make_its_joints_again(made: Path) -> None:
    people = json.loads((made / "annotations.json").read_bytes())["annotations"]
    for person in people:
        assert person["body"].pop("model") == "anny"
        body, values = anny_body(), {name: np.array(value) for name, value in person["pose"].items()}
        root = Rotation.from_rotvec(values.pop("root")).as_matrix()
        posed = body.pose(body.rest(Shape(person["age"], person["sex"], person["body"])), Pose(root, **values))
        np.testing.assert_allclose(posed.keypoints, person["joints3d"], atol=0.004)  # of mirrored ones too


def test_ultralytics_finds_the_pictures_and_reads_the_labels(made: Path) -> None:
    ultralytics()  # imported in its own way, it changes Pillow for all tests after this one
    from ultralytics.data import utils as data

    found = data.check_det_dataset(str(made / "data.yaml"), autodownload=False)
    assert (found["names"], Path(found["train"])) == ({0: "person"}, made / "images")
    for image in sorted((made / "images").iterdir()):
        label = data.img2label_paths([str(image)])[0]
        lines = Path(label).read_text().splitlines()
        checked = data.verify_image_label((str(image), label, "", False, 1, 0, 0, False))
        assert len(checked[1]) == len(lines)


def test_pictures_have_the_size_the_annotations_say(made: Path) -> None:
    for image in json.loads((made / "annotations.json").read_bytes())["images"]:
        assert cv2.imread(str(made / "images" / image["file_name"])).shape == (image["height"], image["width"], 3)


def test_yolo_lines_stand_for_the_same_boxes(made: Path) -> None:
    content = json.loads((made / "annotations.json").read_bytes())
    for image in content["images"]:
        lines = (made / "labels" / image["file_name"]).with_suffix(".txt").read_text().splitlines()
        boxes = [a["bbox"] for a in content["annotations"] if a["image_id"] == image["id"]]
        shares = np.array([[float(v) for v in line.split()[1:]] for line in lines]).reshape(-1, 4)
        sizes = shares[:, 2:] * [image["width"], image["height"]]
        assert np.allclose(sizes, np.array(boxes).reshape(-1, 4)[:, 2:], atol=0.01)


def test_a_sample_depends_on_seed_and_number_alone(made: Path) -> None:
    again = generate_sample(SPEC, 2)
    record = json.loads((made / "records" / "000002.json").read_bytes())
    assert record["annotations"] == json.loads(json.dumps(again.annotations))
    other = generate_sample(SPEC.model_copy(update={"seed": 12}), 2)
    assert not np.array_equal(again.color, other.color)


def test_pictures_of_one_scene_share_their_people_and_nothing_else(made: Path) -> None:
    """Two pictures to a scene here; the second is its mirror image in the bed's middle plane."""
    records = [json.loads(path.read_bytes()) for path in sorted((made / "records").glob("*.json"))]
    images, patients = [r["image"] for r in records], [r["annotations"][0] for r in records]
    assert [image["scene"] for image in images] == [0, 0, 1]
    assert len({image["look"] for image in images}) == 3
    assert len({image["azimuth_deg"] for image in images}) == 3
    assert patients[0]["height"] == patients[1]["height"] != patients[2]["height"]
    left_ankle, right_ankle = (np.array(patients[k]["joints3d"][15 + k]) for k in (0, 1))
    assert np.allclose(left_ankle, right_ankle * [1, -1, 1])


def test_any_order_makes_the_same_pictures(made: Path) -> None:
    for index in (2, 0, 1):
        again = generate_sample(SPEC, index)
        written = (made / "images" / f"{index:06d}.jpg").read_bytes()
        assert encode_jpeg(again.color, again.exposure.jpeg_quality) == written


def test_two_processes_make_the_same_bytes_as_one(made: Path, tmp_path: Path) -> None:
    with PictureWorkers(2) as workers:  # one data set after another
        for name in ("one", "two"):
            assert make_dataset(SPEC, tmp_path / name, workers=workers).made == SPEC.count
            assert contents(tmp_path / name) == contents(made)


def test_pictures_of_a_scenario_with_parts_are_the_same_whoever_makes_them(tmp_path: Path) -> None:
    mixed = SPEC.scenario.having(
        parts={"room": Part(share=0.5, open_room_share=1.0), "bed": Part(share=0.2, open_room_share=0.0)}
    )
    spec = SPEC.model_copy(update={"scenario": mixed, "count": 6})
    make_dataset(spec, tmp_path / "one", workers=1)
    make_dataset(spec.model_copy(update={"count": 3}), tmp_path / "two", workers=1)
    there = read_spec(tmp_path / "two")
    assert there.scenario == mixed
    make_dataset(there.model_copy(update={"count": 6}), tmp_path / "two", workers=2, resume=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    wards = {generate_sample(spec, index).plan.in_ward for index in range(0, 6, 2)}
    assert wards == {True, False}


def test_a_run_stopped_in_the_middle_resumes_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(SPEC, tmp_path / "set", workers=1, progress=stop)
    assert is_done(tmp_path / "set", 0)
    assert not (tmp_path / "set" / "annotations.json").exists()
    seen: list[int] = []
    summary = make_dataset(SPEC, tmp_path / "set", resume=True, workers=1, progress=lambda done, *_: seen.append(done))
    assert (seen, summary.made) == ([1, 2, 3], 2)
    assert contents(tmp_path / "set") == contents(made)


@pytest.mark.parametrize("victim", ["run", "worker"])
def test_a_killed_process_loses_nothing(victim: str, made: Path, tmp_path: Path) -> None:
    """The whole run, or one of its workers, ended by SIGKILL: resuming completes the same data set."""
    out = tmp_path / "set"
    (tmp_path / "spec.json").write_text(SPEC.model_dump_json())
    program = (
        "import sys; from pathlib import Path; from synth.dataset import PictureWorkers, DatasetSpec, make_dataset\n"
        "if __name__ == '__main__':\n"
        "    spec = DatasetSpec.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "    make_dataset(spec, Path(sys.argv[2]), workers=2)\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "spec.json"), str(out)]
    run = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while run.poll() is None and not list(out.glob("records/0*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    if victim == "run":
        run.send_signal(signal.SIGKILL)
        run.communicate()
    else:
        workers = [p for p in psutil.Process(run.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        workers[0].send_signal(signal.SIGKILL)
        assert "a worker process died" in run.communicate(timeout=60)[1]
    time.sleep(0.5)  # its workers end with it
    make_dataset(SPEC, out, resume=True, workers=1)
    assert contents(out) == contents(made)


def test_a_missing_picture_is_made_again(made: Path, tmp_path: Path) -> None:
    make_dataset(SPEC, tmp_path / "set", workers=1)
    (tmp_path / "set" / "images" / "000001.jpg").unlink()
    make_dataset(SPEC, tmp_path / "set", resume=True, workers=1)
    assert contents(tmp_path / "set") == contents(made)


def test_a_longer_data_set_begins_with_the_shorter_one(made: Path, tmp_path: Path) -> None:
    short = SPEC.model_copy(update={"count": 1})
    make_dataset(short, tmp_path / "set", workers=1)
    make_dataset(SPEC, tmp_path / "set", resume=True, workers=1)
    assert contents(tmp_path / "set") == contents(made)
    with pytest.raises(WardposeError, match="more than 1"):
        make_dataset(short, tmp_path / "set", resume=True)


def test_a_folder_that_holds_a_data_set_is_not_overwritten(made: Path) -> None:
    with pytest.raises(WardposeError, match="--resume"):
        make_dataset(SPEC, made)
    with pytest.raises(WardposeError, match="other settings"):
        make_dataset(SPEC.model_copy(update={"seed": 12}), made, resume=True)
    assert read_spec(made) == SPEC


def test_a_folder_of_an_older_version_is_not_gone_on_with(made: Path, tmp_path: Path) -> None:
    """A setting the older version did not know was not at today's default then."""
    content = json.loads((made / "dataset.json").read_bytes())
    del content["spec"]["scenario"]["sensor"]["auto_exposure"]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(WardposeError, match="other settings"):
        make_dataset(SPEC, tmp_path, resume=True)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(WardposeError, match="not empty"):
        make_dataset(SPEC, tmp_path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unknown_renderer_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no renderer is called 'crayon'"):
        make_dataset(SPEC.model_copy(update={"renderer": "crayon"}), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path: Path) -> None:
    """On a real small file system, mounted in a name space of its own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    (tmp_path / "spec.json").write_text(SPEC.model_copy(update={"count": 40}).model_dump_json())
    program = (
        "import sys; from pathlib import Path; from calibration.errors import WardposeError\n"
        "from synth.dataset import PictureWorkers, DatasetSpec, make_dataset\n"
        "spec, out = DatasetSpec.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2])\n"
        "try:\n    make_dataset(spec, out, workers=1)\n"
        "except WardposeError as error:\n"
        "    print('ERROR', error)\n"
        "    print('KEPT', len(list(out.glob('records/0*.json'))))\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = f"{sys.executable} {tmp_path}/program.py {tmp_path}/spec.json {mount}/set"
    script = f"mount -t tmpfs -o size=80k tmpfs {mount} && exec {command}"
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True,
        text=True, timeout=200,
    )  # fmt: skip
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip("this machine lets nobody mount a small file system in a name space")
    lines = run.stdout.splitlines()
    assert lines[0].startswith("ERROR"), run.stderr
    assert "no space left" in lines[0].lower()
    assert int(lines[1].split()[1]) > 0
