"""Pose training: crops, targets and the model are those the runtime expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.codecs import decode_simcc
from runtime.crop import Crops, crop_matrix
from runtime.skeleton import MIRRORED
from tuning.coco_folder import read_people
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.families.mmpose_adapter import mmpose_models
from tuning.families.person_crops import PADDING, PoseAugmentation, affine
from tuning.families.top_down import POSE_MEAN, POSE_STD
from tuning.families.top_down_samples import PoseSamples, simcc_target
from tuning.store.card import ModelCard
from tuning.store.save import save_model

SIZE = (192, 256)


def samples(folder: Path, augmentation: PoseAugmentation | None) -> PoseSamples:
    pictures = read_people(folder / "annotations.json")
    return PoseSamples(
        pictures, width=SIZE[0], height=SIZE[1], mean=POSE_MEAN, std=POSE_STD, seed=0, augmentation=augmentation
    )


@pytest.fixture(scope="module")
def random_pose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tuning.families.rtmpose_training import build_pose
    from tuning.train.torch_state import seed_everything, state_of

    seed_everything(0)
    card = ModelCard(
        name="p", task="pose", architecture="rtmpose-t", layout="simcc", width=64, height=64, sha256="0" * 64
    )
    folder = tmp_path_factory.mktemp("pose") / "pose"
    save_model(folder, state_of(build_pose(card, None)), card, half=True)
    return folder


def test_targets_are_those_of_mmpose() -> None:
    mmpose_models()
    from mmpose.codecs import SimCCLabel

    rng = np.random.default_rng(0)
    keypoints = rng.uniform([5, 5], [187, 251], (1, 17, 2)).astype(np.float32)
    codec = SimCCLabel(input_size=SIZE, sigma=(4.9, 5.66), simcc_split_ratio=2.0, normalize=False, use_dark=False)
    expected = codec.encode(keypoints)
    for axis, (name, sigma) in enumerate((("keypoint_x_labels", 4.9), ("keypoint_y_labels", 5.66))):
        actual = simcc_target(keypoints[0, :, axis], SIZE[axis], 2.0, sigma)
        # mmpose cuts its Gaussians off at three sigma.
        np.testing.assert_allclose(actual, expected[name][0], atol=0.012)


def test_without_augmentation_the_crop_is_the_runtimes() -> None:
    box = np.array([[20.0, 30.0, 90.0, 60.0]])
    crops = Crops.around(box, np.zeros(1), PADDING, SIZE[0] / SIZE[1])
    expected = crop_matrix(crops.centre[0], crops.scale[0], SIZE, unit_lengths=False)
    extent = (box[0, 2:] - box[0, :2]) * PADDING
    np.testing.assert_allclose(affine(crops.centre[0], extent, 0.0, False, SIZE), expected, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    turn=st.floats(-180, 180), mirrored=st.booleans(), w=st.floats(10, 300), h=st.floats(10, 300), x=st.floats(-50, 500)
)
def test_a_crop_keeps_its_centre_and_the_ellipse_of_its_box(
    turn: float, mirrored: bool, w: float, h: float, x: float
) -> None:
    centre = np.array([x, 100.0])
    matrix = affine(centre, np.array([w, h]), turn, mirrored, SIZE)
    shown = matrix[:, :2] @ centre + matrix[:, 2]
    np.testing.assert_allclose(shown, [SIZE[0] / 2 - mirrored, SIZE[1] / 2], atol=1e-6)
    around = np.linspace(0, 2 * np.pi, 64)
    ellipse = centre + np.column_stack([np.cos(around) * w, np.sin(around) * h]) / 2
    inside = ellipse @ matrix[:, :2].T + matrix[:, 2]
    assert (inside > -1.001).all() and (inside < np.array(SIZE) + 0.001).all()
    assert np.sign(np.linalg.det(matrix[:, :2])) == (-1 if mirrored else 1)


def test_a_samples_target_decodes_to_where_its_keypoints_are(drawn_people: Path) -> None:
    data = samples(drawn_people, PoseAugmentation())
    for index in range(8):
        _, x, y, weight = data.sample(1, index)
        keypoints = data.crop(1, index).keypoints
        decoded, _ = decode_simcc(x[None], y[None], 2.0)
        known = weight > 0
        np.testing.assert_allclose(decoded[0][known], keypoints[known, :2], atol=0.51)


def test_a_mirrored_person_swaps_left_and_right(drawn_people: Path) -> None:
    still = {"rotate": 0.0, "any_angle": 0.0, "scale": 0.0, "shift": 0.0, "colour": 0.0, "hide": 0.0, "blur": 0.0}
    plain = samples(drawn_people, PoseAugmentation(flip=0.0, **still)).crop(0, 0)
    mirrored = samples(drawn_people, PoseAugmentation(flip=1.0, **still)).crop(0, 0)
    expected = plain.keypoints[list(MIRRORED), :2] * [-1, 1] + [SIZE[0] - 1, 0]
    np.testing.assert_allclose(mirrored.keypoints[:, :2], expected, atol=1e-6)
    difference = np.abs(mirrored.color.astype(int) - plain.color[:, ::-1].astype(int))
    assert difference.mean() < 2


def test_a_sample_depends_on_its_seed_epoch_and_index_alone(drawn_people: Path) -> None:
    first, second = samples(drawn_people, PoseAugmentation()), samples(drawn_people, PoseAugmentation())
    second.sample(0, 5)
    for a, b in zip(first.sample(2, 3), second.sample(2, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.sample(2, 3)[0], first.sample(3, 3)[0])


def test_tuning_a_pose_model_moves_it_and_keeps_its_statistics(
    random_pose: Path, drawn_people: Path, tmp_path: Path
) -> None:
    from tuning.store.card import read_card
    from tuning.store.weights import read_weights

    quick = TuneSettings(batch=12, threads=1, learning_rate=1e-3)
    card = tune(random_pose, drawn_people, tmp_path / "tuned", quick, task="pose")
    before, after = read_weights(random_pose, read_card(random_pose)), read_weights(tmp_path / "tuned", card)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and not [name for name in changed if "running_" in name]
    assert card.parent == "pose" and card.made["steps"] == 2


def test_a_pose_model_is_exported_and_answers_alike(random_pose: Path, tmp_path: Path) -> None:
    from runtime.engines.onnx_engine import OnnxEngine

    report = export_onnx(random_pose, tmp_path / "pose.onnx")
    assert report.max_error < 1e-4
    engine = OnnxEngine(tmp_path / "pose.onnx")
    assert [output.shape for output in engine.run(np.zeros((2, 3, 64, 64), np.float32))] == [(2, 17, 128), (2, 17, 128)]


def test_no_stand_in_stays_behind() -> None:
    import importlib.util
    import sys

    mmpose_models()
    for name in ("xtcocotools", "mmdet"):
        if name in sys.modules:
            assert importlib.util.find_spec(name) is not None
