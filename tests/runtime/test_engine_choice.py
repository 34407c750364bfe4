"""Which engine serves: tried apart, judged by people, timed, kept, and never alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.engine_choice import qualify
from runtime.engine_choice.agreement import boxes_agree, joints_agree, require_same_people
from runtime.engine_choice.probes import calibration_pictures, probe_pictures
from runtime.engine_choice.selection import EngineWish, InUse, open_chain
from runtime.engines.chain import EngineChain
from runtime.engines.engine import INT8, REFERENCE
from runtime.engines.onnx_engine import OnnxEngine, int8_file, quantise
from runtime.engines.verdicts import Verdict, fastest, load_verdicts, save_verdicts, verdicts_file
from tests.runtime.onnx_graphs import colour_model, constant_model, info
from tests.runtime.test_turn import COLOURS, person_picture, turned_person

ONE_BOX = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
BATCH = np.zeros((1, 3, 64, 64), np.float32)


def _detector(path: Path, answer: NDArray[np.float32] = ONE_BOX) -> Path:
    return constant_model(path, [answer], info())


class Breaking:
    """An engine that gives what it is told, or raises it."""

    def __init__(self, answer: Any, name: str = "breaking") -> None:
        self.name, self.info, self.why, self.answer = name, info(), (), answer

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer]


@pytest.mark.parametrize(
    "answer", [WardposeError("the GPU is gone"), RuntimeError("CUDA error 700"), np.full((1, 5, 1), np.nan, np.float32)]
)
def test_an_engine_that_fails_is_replaced_within_the_same_frame_and_says_so(tmp_path: Path, answer: Any) -> None:
    reference = OnnxEngine(_detector(tmp_path / "d.onnx"), threads=1)
    chain = EngineChain((Breaking(answer), reference))
    np.testing.assert_array_equal(chain.run(BATCH)[0], reference.run(BATCH)[0])
    assert chain.name == REFERENCE
    assert chain.failed == {"breaking"}
    assert len(chain.why) == 1
    assert chain.why[0].startswith("breaking: failed while in use")


def test_the_last_engines_error_is_told() -> None:
    chain = EngineChain((Breaking(RuntimeError("one"), "a"), Breaking(WardposeError("two"), "b")))
    with pytest.raises(WardposeError, match="two"):
        chain.run(BATCH)


def test_boxes_that_move_or_go_do_not_agree(tmp_path: Path) -> None:
    pictures = [np.zeros((64, 64, 3), np.uint8)] * 6
    reference = OnnxEngine(_detector(tmp_path / "a.onnx"), threads=1)
    for change, part in ((0.05, 1.0), (3.0, 0.0)):
        moved = OnnxEngine(_detector(tmp_path / f"{change}.onnx", ONE_BOX + np.float32([[change], [0], [0], [0], [0]])))
        assert boxes_agree(moved, reference, pictures) == (6, part)
    nothing = OnnxEngine(_detector(tmp_path / "n.onnx", np.zeros_like(ONE_BOX)))
    assert boxes_agree(nothing, reference, pictures) == (6, 0.0)
    assert boxes_agree(reference, nothing, pictures) == (6, 0.0)  # one that sees people where there are none


def test_joints_are_compared_in_picture_pixels(tmp_path: Path) -> None:
    described = info(task="pose", layout="heatmap-dark", width=192, height=192, std=(1, 1, 1), aim="body")
    reference = OnnxEngine(colour_model(tmp_path / "p.onnx", described, COLOURS), threads=1)
    people = Detections(np.array([[60, 60, 340, 340]], np.float32), np.ones(1, np.float32))
    picture = person_picture(turned_person(0.4))
    compared, part = joints_agree(reference, reference, [picture], [people])
    assert (compared >= 10, part) == (True, 1.0)

    class Shifted:
        name, why = "shifted", ()
        info = described

        def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            return [np.roll(output, 2, axis=-1) for output in reference.run(batch)]

    assert joints_agree(Shifted(), reference, [picture], [people])[1] < 0.5


def test_too_little_to_compare_is_no_agreement() -> None:
    require_same_people("detect", 25, 1.0)
    with pytest.raises(WardposeError, match="too few"):
        require_same_people("pose", 2, 1.0)
    with pytest.raises(WardposeError, match=r"90\.0% of 100 joints"):
        require_same_people("pose", 100, 0.9)


def test_probe_pictures_come_with_the_product_and_others_than_those_of_calibration(tmp_path: Path) -> None:
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    shipped = probe_pictures()
    assert len(shipped) == 8
    own = {int(picture[0, 0, 0]) for picture in probe_pictures(tmp_path)[len(shipped) :]}
    others = {int(picture[0, 0, 0]) for picture in calibration_pictures(tmp_path)}
    assert own
    assert others
    assert not own & others
    assert calibration_pictures(None) == []


def test_a_quantised_model_has_the_same_description_and_nearly_the_same_numbers(tmp_path: Path) -> None:
    described = info(task="pose", layout="heatmap-dark", width=64, height=64, std=(1, 1, 1), aim="body")
    model = colour_model(tmp_path / "p.onnx", described, COLOURS)
    rng = np.random.default_rng(1)
    batches = [rng.uniform(0, 255, (1, 3, 64, 64)).astype(np.float32) for _ in range(4)]
    target = int8_file(model, tmp_path / "engines")
    quantise(model, target, iter(batches))
    small, reference = OnnxEngine(target, threads=1), OnnxEngine(model, threads=1)
    assert small.info == described
    a, b = small.run(batches[0])[0], reference.run(batches[0])[0]
    assert a.shape == b.shape
    assert [path.suffix for path in target.parent.iterdir()] == [".onnx"]


def test_verdicts_hold_for_one_model_on_one_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = _detector(tmp_path / "d.onnx"), _detector(tmp_path / "e.onnx", ONE_BOX * 2)
    verdicts = (Verdict("openvino", True, "", 5.0, 9.0, 1, 25, 1.0), Verdict(INT8, False, "only 84 % of boxes"))
    save_verdicts(tmp_path / "engines", model, verdicts)
    assert load_verdicts(tmp_path / "engines", model) == verdicts
    assert load_verdicts(tmp_path / "engines", other) == ()
    assert load_verdicts(None, model) == ()
    verdicts_file(tmp_path / "engines", model).write_text('[{"nonsense": 1}]')
    assert load_verdicts(tmp_path / "engines", model) == ()
    save_verdicts(tmp_path / "engines", model, verdicts)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(99)))  # another number of cores
    assert load_verdicts(tmp_path / "engines", model) == ()


def test_the_fastest_is_worth_leaving_the_reference_only_when_it_gains() -> None:
    slow, same = Verdict("a", True, "", 20.0, 10.0, 1), Verdict("b", True, "", 9.9, 10.0, 1)
    fast, wrong = Verdict("c", True, "", 7.0, 10.0, 1), Verdict("d", False, "other people", 1.0, 10.0, 1)
    assert fastest((slow, same, wrong), REFERENCE) is None
    assert fastest((slow, same, fast, wrong), REFERENCE) == fast
    # Twice the threads halve the time of either: that is no gain of the other engine's.
    both = Verdict("e", True, "", 27.1, 48.3, 2), Verdict(REFERENCE, True, "", 26.9, 48.6, 2)
    assert fastest(both, REFERENCE) is None


@pytest.fixture
def qualified(tmp_path: Path) -> Callable[[str], tuple[Path, EngineWish]]:
    """A model for which one engine is known to be the fastest."""

    def make(name: str) -> tuple[Path, EngineWish]:
        model, place = _detector(tmp_path / "d.onnx"), tmp_path / "engines"
        save_verdicts(place, model, (Verdict(name, True, "", 1.0, 2.0, 1), Verdict("tensorrt", False, "absent")))
        return model, EngineWish(place=place, threads=1)

    return make


def test_the_known_best_engine_serves_with_the_reference_behind_it(qualified: Any) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    chain = open_chain(*qualified("openvino"))
    assert chain.name == "openvino"
    assert {row["name"]: (row["used"], row["qualifies"]) for row in chain.told()} == {
        "openvino": (True, True), "tensorrt": (False, False),
    }  # fmt: skip
    np.testing.assert_allclose(chain.run(BATCH)[0], ONE_BOX[None])


def test_an_engine_that_can_no_longer_be_opened_is_refused_and_the_reference_serves(qualified: Any) -> None:
    chain = open_chain(*qualified(INT8))  # nobody has quantised this model
    assert chain.name == REFERENCE
    assert any(line.startswith(f"{INT8}: not quantised yet") for line in chain.why)


def test_an_engine_that_took_two_live_processes_with_it_is_not_tried_a_third_time(qualified: Any) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    model, wish = qualified("openvino")
    for _ in range(2):
        lived = InUse(wish.place)
        lived.begin()
        assert open_chain(model, wish).name == "openvino"
        lived.note(["openvino", REFERENCE])  # and it ends without a word
    InUse(wish.place).begin()
    chain = open_chain(model, wish)
    assert chain.name == REFERENCE
    assert any("died" in line for line in chain.why)


def test_a_process_that_ends_as_it_should_holds_nothing_against_its_engines(qualified: Any) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    model, wish = qualified("openvino")
    for _ in range(3):
        lived = InUse(wish.place)
        lived.begin()
        lived.note(["openvino"])
        lived.end()
    assert open_chain(model, wish).name == "openvino"


def test_an_engine_of_another_name_is_told_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="choose one of: tensorrt"):
        open_chain(_detector(tmp_path / "d.onnx"), EngineWish(prefer="abacus"))


def test_every_engine_is_tried_in_a_process_of_its_own_and_the_reference_qualifies(tmp_path: Path) -> None:
    boxes = np.array([[16, 16, 20, 10, 0.9], [48, 40, 20, 10, 0.8]], np.float32).T
    verdict = qualify.qualify(REFERENCE, _detector(tmp_path / "d.onnx", boxes), place=tmp_path / "e")
    assert verdict.qualifies
    assert verdict.ms is not None
    assert verdict.threads is not None
    unknown = qualify.qualify("abacus", _detector(tmp_path / "d.onnx"), place=tmp_path / "e")
    assert (unknown.qualifies, "abacus" in unknown.why) == (False, True)


def test_threads_that_are_pinned_stay_each_on_a_core_of_its_own(tmp_path: Path) -> None:
    may_use = os.sched_getaffinity(0)
    if len(may_use) < 2:
        pytest.skip("one core may be used")
    before = set(os.listdir("/proc/self/task"))
    engine = OnnxEngine(_detector(tmp_path / "d.onnx"), threads=2, pinned=True)
    started = set(os.listdir("/proc/self/task")) - before
    held = [os.sched_getaffinity(int(thread)) for thread in started]
    assert {sorted(may_use)[1]} in held
    assert os.sched_getaffinity(0) == may_use  # whoever asks goes where it likes
    assert engine.name == REFERENCE


def test_more_threads_and_pinned_ones_are_tried_and_must_be_worth_their_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qualify, "cores", lambda: 2)
    asked = SimpleNamespace(engine=REFERENCE, model=_detector(tmp_path / "d.onnx"), place=tmp_path, threads=None)

    def found(*ms: float) -> tuple[int | None, bool]:
        monkeypatch.setattr(qualify, "_times", lambda engines: [*ms, 10.0])
        verdict = qualify._try(asked)
        return verdict.threads, verdict.pinned

    assert found(10.0, 6.0, 5.9) == (2, False)
    assert found(10.0, 9.0, 8.0) == (2, True)
    assert found(10.0, 9.0, 9.0) == (1, False)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (SimpleNamespace(returncode=-11, stdout="", stderr=""), "killed by signal 11"),
        (SimpleNamespace(returncode=1, stdout="", stderr="first\nno memory"), "code 1 (no memory)"),
        (SimpleNamespace(returncode=0, stdout='{"what": 1}', stderr=""), "code 0"),
    ],
)
def test_what_kills_the_trial_is_the_engines_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Any, told: str
) -> None:
    monkeypatch.setattr(qualify.subprocess, "run", lambda *_, **__: ending)
    verdict = qualify.qualify(REFERENCE, tmp_path / "d.onnx", place=tmp_path)
    assert not verdict.qualifies
    assert told in verdict.why


def test_a_verdict_survives_the_way_through_json() -> None:
    verdict = Verdict("openvino", True, "", 5.0, 9.0, 2, 25, 1.0)
    assert Verdict(**json.loads(json.dumps(verdict.to_dict()))) == verdict
