"""ONNX detectors as people bring them: one model in every form finds the same people, or what is not certain is asked.

Like ultralytics/ultralytics#14145 (names in the metadata), #751 and taifyang/yolo-inference#61 (output turned round),
#10009 (RT-DETR), #2101 (open sizes), AlexeyAB/darknet#7066 (head before person), meituan/YOLOv6#728 (objectness 1).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import WardposeError
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.engines.onnx_engine import OnnxEngine
from runtime.engines.trial import run_once
from tests.fuzz import broken_bytes
from tests.tuning.drawn_graphs import YoloLike, YoloxLike, draw_graph, named
from tuning.families.family import TuneSettings, tune
from tuning.import_model import import_model
from tuning.store.foreign_names import class_names

Change = Callable[[onnx.ModelProto], None]
CELLS = 8 * 12 + 4 * 6 + 2 * 3  # of 96×64


def constant(model: onnx.ModelProto, name: str, value: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def node(model: onnx.ModelProto, op: str, given: list[str], made: str, **attributes: Any) -> str:
    model.graph.node.append(helper.make_node(op, given, [made], **attributes))
    return made


def ends_in(model: onnx.ModelProto, name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> None:
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))


def halves(model: onnx.ModelProto) -> tuple[str, str, str]:
    """Boxes, the person's score, and zeros of its shape."""
    constant(model, "four_one", np.array([4, 1], np.int64))
    model.graph.node.append(helper.make_node("Split", ["output", "four_one"], ["boxes", "score"], axis=1))
    return "boxes", "score", node(model, "Mul", ["score", constant(model, "nothing", np.float32(0))], "none")


def person_second(model: onnx.ModelProto) -> None:
    boxes, score, none = halves(model)
    ends_in(model, node(model, "Concat", [boxes, none, score], "two", axis=1), [1, 6, CELLS])


def turned_round(model: onnx.ModelProto) -> None:
    ends_in(model, node(model, "Transpose", ["output"], "turned", perm=[0, 2, 1]), [1, CELLS, 5])


def with_objectness(model: onnx.ModelProto) -> None:
    """As YOLOv6 exports it: an objectness of 1."""
    boxes, score, none = halves(model)
    sure = node(model, "Add", [none, constant(model, "one", np.float32(1))], "sure")
    node(model, "Concat", [boxes, sure, score], "whole", axis=1)
    ends_in(model, node(model, "Transpose", ["whole"], "rows", perm=[0, 2, 1]), [1, CELLS, 6])


def three_anchors(model: onnx.ModelProto) -> None:
    """As YOLOv5 and YOLOv7 answer: three boxes a cell, level by level; here each cell's box is the third."""
    boxes, score, none = halves(model)
    sure = node(model, "Add", [none, constant(model, "one", np.float32(1))], "sure")
    node(model, "Concat", [boxes, sure, score], "all", axis=1)
    node(model, "Mul", ["sure", constant(model, "no", np.float32(0))], "unsure")
    node(model, "Concat", [boxes, "unsure", score], "weak", axis=1)
    levels, start = [], 0
    constant(model, "axis", np.array([2], np.int64))
    for count in (8 * 12, 4 * 6, 2 * 3):
        constant(model, f"from{start}", np.array([start], np.int64))
        constant(model, f"to{start}", np.array([start + count], np.int64))
        for source in ("weak", "weak", "all"):
            made = f"{source}{start}_{len(levels)}"
            levels.append(node(model, "Slice", [source, f"from{start}", f"to{start}", "axis"], made))
        start += count
    node(model, "Concat", levels, "anchors", axis=2)
    ends_in(model, node(model, "Transpose", ["anchors"], "rows", perm=[0, 2, 1]), [1, 3 * CELLS, 6])


def as_a_set(model: onnx.ModelProto) -> None:
    """As RT-DETR answers: the best boxes, centre and size as parts of the picture, a score for each of two classes."""
    boxes, score, none = halves(model)
    size = constant(model, "size", np.array([96, 64, 96, 64], np.float32).reshape(1, 4, 1))
    parts = node(model, "Div", [boxes, size], "parts")
    node(model, "Concat", [parts, score, none], "set", axis=1)
    ends_in(model, node(model, "Transpose", ["set"], "queries", perm=[0, 2, 1]), [1, CELLS, 6])
    constant(model, "most", np.array([CELLS - 1], np.int64))  # one fewer, so that it is no grid
    constant(model, "begin", np.array([0], np.int64))
    constant(model, "rank", np.array([1], np.int64))
    ends_in(model, node(model, "Slice", ["queries", "begin", "most", "rank"], "chosen"), [1, CELLS - 1, 6])


def takes_bytes(model: onnx.ModelProto) -> None:
    picture = model.graph.input[0]
    for each in model.graph.node:
        for place, name in enumerate(each.input):
            if name == picture.name:
                each.input[place] = "scaled"
    constant(model, "white", np.float32(255))
    model.graph.node.insert(0, helper.make_node("Div", ["numbers", "white"], ["scaled"]))
    model.graph.node.insert(0, helper.make_node("Cast", [picture.name], ["numbers"], to=TensorProto.FLOAT))
    picture.type.tensor_type.elem_type = TensorProto.UINT8


def open_sizes(model: onnx.ModelProto) -> None:
    for place, name in ((0, "batch"), (2, "height"), (3, "width")):
        axis = model.graph.input[0].type.tensor_type.shape.dim[place]
        axis.Clear()
        axis.dim_param = name
    ends_in(model, "output", ["batch", 5, "cells"])


def drawn(folder: Path, change: Change | None = None, names: list[str] | None = None, **entries: str) -> Path:
    """A one-class detector of 96×64 in another form, with these names and entries in its file."""
    path = draw_graph(folder / "foreign.onnx", YoloLike(1))
    model = onnx.load(str(path))
    if change:
        change(model)
    del model.metadata_props[:]
    onnx.save(model, str(path))
    return named(path, names or ["person"], **entries) if names != [] else path


def people(path: Path, folder: Path, **wish: Any) -> Detections:
    """Whom the model finds in a picture, after its import."""
    card = import_model(path, folder, "taken", **wish)
    rng = np.random.default_rng(3)
    color = rng.integers(0, 255, (64, 96, 3), np.uint8)
    return PersonDetector(OnnxEngine(folder / "taken" / card.weights, threads=1), confidence=0.01).detect(color)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Detections:
    folder = tmp_path_factory.mktemp("control")
    found = people(drawn(folder), folder / "models")
    assert len(found)
    return found


FORMS: dict[str, tuple[Change | None, list[str], dict[str, str]]] = {
    "person is class 1": (person_second, ["helmet", "person"], {}),
    "a Person": (person_second, ["Head", "Person"], {}),
    "a pedestrian": (person_second, ["car", "pedestrian"], {}),
    "turned round": (turned_round, ["person"], {}),
    "an objectness of 1": (with_objectness, ["person"], {}),
    "three anchors a cell": (three_anchors, ["person"], {}),
    "parts of the picture, two classes": (as_a_set, ["person", "bed"], {}),
    "a picture of bytes": (takes_bytes, ["person"], {}),
    "open sizes": (open_sizes, ["person"], {"imgsz": "[64, 96]"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_model_in_another_form_finds_the_same_people(form: str, tmp_path: Path, control: Detections) -> None:
    change, names, entries = FORMS[form]
    found = people(drawn(tmp_path, change, names, **entries), tmp_path / "models")
    assert len(found) == len(control)
    # One box fewer takes part in each mean of those that say the same, where a set is one fewer.
    close = 0.5 if form == "parts of the picture, two classes" else 2e-3
    np.testing.assert_allclose(found.xyxy, control.xyxy, atol=close)
    np.testing.assert_allclose(found.score, control.score, atol=1e-5)


def logits(model: onnx.ModelProto) -> None:
    """Scores before their sigmoid."""
    boxes, score, _ = halves(model)
    low = node(model, "Log", [score], "low")
    ends_in(model, node(model, "Concat", [boxes, low], "raw", axis=1), [1, 5, CELLS])


def parts_of_one(model: onnx.ModelProto) -> None:
    boxes, score, _ = halves(model)
    part = node(model, "Div", [boxes, constant(model, "side", np.float32(96))], "part")
    ends_in(model, node(model, "Concat", [part, score], "raw", axis=1), [1, 5, CELLS])


def corners(model: onnx.ModelProto) -> None:
    """Landmarks and other numbers in pixels where scores belong."""
    boxes, score, _ = halves(model)
    ends_in(model, node(model, "Concat", [boxes, score, boxes], "raw", axis=1), [1, 9, CELLS])


def the_same_everywhere(model: onnx.ModelProto) -> None:
    node(model, "ReduceMean", ["output"], "mean", keepdims=1)
    constant(model, "shape", np.array([1, 5, CELLS], np.int64))
    ends_in(model, node(model, "Expand", ["mean", "shape"], "flat"), [1, 5, CELLS])


def too_new(model: onnx.ModelProto) -> None:
    model.ir_version = 99


REFUSED: dict[str, tuple[Change | None, list[str], dict[str, str], str]] = {
    "number plates": (None, ["license_plate"], {}, "knows no person: its classes are 'license_plate'"),
    "no names": (None, [], {}, "its one class is not named.*--person-class"),
    "two kinds of people": (person_second, ["pedestrian", "people"], {}, "more than one class for people"),
    "more names than classes": (None, ["person", "bed"], {}, r"names 2 classes \('person', 'bed'\) and has 1"),
    "another task": (None, ["person"], {"task": "obb"}, r"for another task \(obb\)"),
    "scores that are none": (logits, ["person"], {}, r"no scores of 0…1"),
    "boxes as parts of one": (parts_of_one, ["person"], {}, "not centres and sizes in pixels"),
    "landmarks": (corners, ["person", "b", "c", "d", "e"], {}, r"no scores of 0…1"),
    "the same everywhere": (the_same_everywhere, ["person"], {}, "the same box everywhere"),
    "too new": (too_new, ["person"], {}, "this box cannot run it"),
    "open sizes nobody says": (open_sizes, ["person"], {}, r"size open.*--size"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_certain_is_asked_or_refused(form: str, tmp_path: Path) -> None:
    change, names, entries, says = REFUSED[form]
    with pytest.raises(WardposeError, match=says):
        people(drawn(tmp_path, change, names, **entries), tmp_path / "models")
    assert not (tmp_path / "models/taken").exists()


def two_outputs(model: onnx.ModelProto) -> None:
    """As Deci-AI/super-gradients#1108 has them: boxes and scores apart."""
    boxes, score, _ = halves(model)
    node(model, "Transpose", [boxes], "pred_bboxes", perm=[0, 2, 1])
    ends_in(model, node(model, "Transpose", [score], "pred_scores", perm=[0, 2, 1]), [1, CELLS, 1])
    model.graph.output.append(helper.make_tensor_value_info("pred_bboxes", TensorProto.FLOAT, [1, CELLS, 4]))


def raw_level(model: onnx.ModelProto) -> None:
    """As in ultralytics/yolov5#1603: the first level alone, its anchors apart."""
    constant(model, "level", np.array([1, 3, 6, 7, 5], np.int64))
    ends_in(model, node(model, "Reshape", ["output", "level"], "raw"), [1, 3, 6, 7, 5])


COCO_NAMES = ["person", *(f"thing {k}" for k in range(79))]


@pytest.mark.parametrize(
    ("change", "names", "says"),
    [
        (two_outputs, ["person"], "is not known"), (raw_level, ["person"], "is not known"),
        # ultralytics/ultralytics#8940 and #14320: the names of another model than the head's.
        (None, COCO_NAMES, "names 80 classes .* and has 1"),
        (person_second, ["person"], "names 1 classes .* and has 2"),
    ],
)  # fmt: skip
def test_exports_of_public_reports_are_refused_in_words(
    change: Change | None, names: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(WardposeError, match=says) as caught:
        people(drawn(tmp_path, change, names), tmp_path / "models")
    assert "\n" not in str(caught.value)


def test_what_was_asked_can_be_said(tmp_path: Path, control: Detections) -> None:
    path = drawn(tmp_path, names=[])
    np.testing.assert_allclose(people(path, tmp_path / "by number", person_class="0").xyxy, control.xyxy, atol=1e-3)
    path = drawn(tmp_path, person_second, names=["x", "adult"])
    np.testing.assert_allclose(people(path, tmp_path / "by name", person_class="Adult").xyxy, control.xyxy, atol=1e-3)
    with pytest.raises(WardposeError, match=r"no class 'nurse' among 2 \('x', 'adult'\)"):
        people(path, tmp_path / "wrong", person_class="nurse")
    with pytest.raises(WardposeError, match="of the layout 'yolo', not 'yolox'"):
        people(path, tmp_path / "wrong", person_class="adult", layout="yolox")
    with pytest.raises(WardposeError, match="no layout is called 'yolo99'; choose one of: yolo, "):
        people(path, tmp_path / "wrong", layout="yolo99")


def test_a_detector_of_several_boxes_a_cell_says_that_it_cannot_be_tuned(tmp_path: Path, drawn_people: Path) -> None:
    import_model(drawn(tmp_path, three_anchors, ["person"]), tmp_path / "models", "v5")
    settings_ = TuneSettings(width=96, height=64, batch=2, threads=1, epochs=1)
    with pytest.raises(WardposeError, match="boxes are several for each cell"):
        tune(tmp_path / "models/v5", drawn_people, tmp_path / "tuned", settings_)
    assert not (tmp_path / "tuned").exists()


def test_a_layout_that_is_open_is_asked(tmp_path: Path) -> None:
    """[1, N, 5 + 3] and [1, N, 4 + 4] look alike where no names count the classes."""
    path = draw_graph(tmp_path / "x.onnx", YoloxLike(3))
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(path))
    with pytest.raises(WardposeError, match=r"no names say how many of them are classes.*--layout"):
        import_model(path, tmp_path / "models", "x", person_class="1")
    card = import_model(path, tmp_path / "models", "x", person_class="1", layout="yolox")
    assert (card.layout, card.classes, card.person_class) == ("yolox", 3, 1)


def test_a_graph_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """A loop as long as 64 bits count: the run is bounded, and nothing is left of it."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Sin", ["x"], ["y"])], "body",
        [helper.make_tensor_value_info("k", TensorProto.INT64, []),
         helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []),
         helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 64, 96])],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "yes", "images"], ["output"], body=body)], "endless",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 64, 96])],
        [numpy_helper.from_array(np.array(2**62), "times"), numpy_helper.from_array(np.array(True), "yes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(WardposeError, match="it was not done within 3 s of processor time"):
        run_once(model.SerializeToString(), "endless.onnx", seconds=3)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("{0: 'helmet', 1: 'person'}", {0: "helmet", 1: "person"}),
        ('{"0": "helmet", "1": "person"}', {0: "helmet", 1: "person"}),
        ("['helmet', 'person']", {0: "helmet", 1: "person"}),
        ("helmet, person", {0: "helmet", 1: "person"}),
        ("helmet\nperson\n", {0: "helmet", 1: "person"}),
        ("{0: 1}", {}), ("", {}), ("__import__('os').abort()", {0: "__import__('os').abort()"}),
    ],
)  # fmt: skip
def test_names_are_read_in_the_forms_that_exporters_write(entry: str, names: dict[int, str]) -> None:
    assert class_names({"names": entry}) == names


@settings(max_examples=100, deadline=None)
@given(entry=st.text(max_size=60) | st.sampled_from(["[" * 5000, "{1:" * 900, "9" * 9000, "{None: 'a'}", "{'x': 'a'}"]))
def test_any_entry_gives_names_or_none(entry: str) -> None:
    assert all(isinstance(k, int) and isinstance(v, str) for k, v in class_names({"names": entry}).items())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_taken_in_whole_or_not_at_all(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        whole.mkdir()
        drawn(whole)
    (tmp_path / "damaged.onnx").write_bytes(data.draw(broken_bytes((whole / "foreign.onnx").read_bytes())))
    models = tmp_path / f"models{len(list(tmp_path.iterdir()))}"
    try:
        card = import_model(tmp_path / "damaged.onnx", models, "taken")
    except WardposeError:
        assert not list(models.glob("*"))
        return
    assert OnnxEngine(models / "taken" / card.weights, threads=1).info == card.info
