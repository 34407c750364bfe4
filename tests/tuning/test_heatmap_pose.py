"""Pose models with heat maps: targets, crops and joints are mmpose's; each is built, tuned, exported and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.codecs import decode_heatmap_dark, decode_heatmap_udp
from runtime.crop import Crops, crop_matrix
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from tests.tuning.test_pose_training import SIZE
from tuning.coco_folder import read_people
from tuning.export import export_onnx
from tuning.families.family import ImportWish, TuneSettings, tune
from tuning.families.heatmap_architectures import LAYOUTS, VITS, Vit
from tuning.families.heatmap_pose import HeatmapPose
from tuning.families.heatmap_samples import HeatmapSamples, heatmap_target
from tuning.families.mmpose_adapter import mmpose_codec
from tuning.families.person_crops import PADDING, PoseAugmentation, affine
from tuning.families.rtmpose import RtmPose
from tuning.families.top_down import POSE_MEAN, POSE_STD
from tuning.import_model import import_model
from tuning.store.card import read_card, sha256_of, write_card
from tuning.store.weights import read_weights

MAP = (SIZE[0] // 4, SIZE[1] // 4)


def built(folder: Path, architecture: str, side: int = 64, family: str = "mmpose") -> Path:
    """A model folder of random weights."""
    folder.mkdir(parents=True)
    maker = HeatmapPose() if family == "mmpose" else RtmPose()
    card = maker.build(architecture, ImportWish("drawn", width=side, height=side), folder)
    write_card(folder, card.model_copy(update={"family": family, "sha256": sha256_of(folder / card.weights)}))
    return folder


def codec(kind: str) -> Any:
    return mmpose_codec(f"heatmap-{kind}", SIZE, MAP)


@pytest.mark.parametrize("kind", ["udp", "dark"])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_targets_are_mmposes_and_read_back_to_a_hundredth_of_a_pixel(kind: str, seed: int) -> None:
    keypoints = np.random.default_rng(seed).uniform([12, 12], [180, 244], (1, 17, 2)).astype(np.float32)
    expected = codec(kind).encode(keypoints.copy())
    maps, inside = heatmap_target(keypoints[0], SIZE, udp=kind == "udp")
    assert inside.all() and (expected["keypoint_weights"] == 1).all()
    np.testing.assert_allclose(maps, expected["heatmaps"], atol=0.012)  # mmpose cuts UDP's Gaussians at three sigma
    decoded, _ = (decode_heatmap_udp if kind == "udp" else decode_heatmap_dark)(maps[None], SIZE)
    theirs, _ = codec(kind).decode(maps.copy())
    np.testing.assert_allclose(decoded[0], theirs[0], atol=0.01)


def test_udps_crop_is_the_runtimes() -> None:
    box = np.array([[20.0, 30.0, 90.0, 60.0]])
    crops = Crops.around(box, np.zeros(1), PADDING, SIZE[0] / SIZE[1])
    expected = crop_matrix(crops.centre[0], crops.scale[0], SIZE, unit_lengths=True)
    extent = (box[0, 2:] - box[0, :2]) * PADDING
    np.testing.assert_allclose(
        affine(crops.centre[0], extent, 0.0, False, SIZE, unit_lengths=True), expected, atol=1e-9
    )


@pytest.mark.parametrize("udp", [True, False])
def test_what_a_sample_teaches_lands_where_the_picture_shows_it(udp: bool, drawn_people: Path) -> None:
    """A target, read as the runtime reads an answer and brought back to the picture, is the label again."""
    pictures = read_people(drawn_people / "annotations.json")
    data = HeatmapSamples(
        pictures, width=SIZE[0], height=SIZE[1], udp=udp, mean=POSE_MEAN, std=POSE_STD, seed=0, augmentation=None
    )
    _, maps, weight = data.sample(0, 3)
    decoded, _ = (decode_heatmap_udp if udp else decode_heatmap_dark)(maps[None], SIZE)
    back = Crops.around(pictures[3].boxes, np.zeros(1), PADDING, SIZE[0] / SIZE[1]).to_picture(decoded, SIZE)
    np.testing.assert_allclose(back[0][weight > 0], pictures[3].keypoints[0, weight > 0, :2], atol=0.02)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """HRNet and ViTPose of the same layers, of which there are fewer."""
    monkeypatch.setattr("tuning.families.heatmap_training.HRNETS", {"hrnet-w32": 4, "hrnet-w48": 8})
    monkeypatch.setattr("tuning.families.heatmap_training._MODULES", ((2, 1), (3, 1), (4, 1)))
    vits = {name: Vit(64, 2, 4, vit.drop_path) for name, vit in VITS.items()}
    monkeypatch.setattr("tuning.families.heatmap_training.VITS", vits)


@pytest.mark.parametrize("architecture", ["hrnet-w32-udp", "hrnet-w32-dark", "vitpose-b", "vitpose-h"])
@pytest.mark.usefixtures("small")
def test_a_model_is_tuned_exported_and_read(architecture: str, drawn_people: Path, tmp_path: Path) -> None:
    folder = built(tmp_path / "base", architecture)
    quick = TuneSettings(batch=12, threads=1, learning_rate=1e-3)
    card = tune(folder, drawn_people, tmp_path / "tuned", quick, task="pose")
    before, after = read_weights(folder, read_card(folder)), read_weights(tmp_path / "tuned", card)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved and not [name for name in moved if "running_" in name]
    report = export_onnx(tmp_path / "tuned", tmp_path / "model.onnx", pictures=[])
    assert report.max_error <= 1e-3 and report.layout == LAYOUTS[architecture]
    picture = read_people(drawn_people / "annotations.json")[0]
    from runtime.capture.photograph import read_photograph
    from runtime.detections import Detections

    seen = Detections(picture.boxes.astype(np.float32), np.ones(len(picture.boxes), np.float32))
    skeletons = PoseEstimator(open_engine(tmp_path / "model.onnx")).estimate(read_photograph(picture.path), seen)
    assert skeletons.keypoints.shape == (1, 17, 2) and np.isfinite(skeletons.keypoints).all()


@pytest.mark.usefixtures("small")
def test_what_is_kept_in_halves_is_so_in_its_file(tmp_path: Path) -> None:
    sizes = {}
    for architecture in ("vitpose-b", "vitpose-h"):
        folder = built(tmp_path / architecture, architecture)
        export_onnx(folder, folder / "model.onnx")
        sizes[architecture] = [(folder / name).stat().st_size for name in ("weights.safetensors", "model.onnx")]
    assert sizes["vitpose-h"][0] < 0.6 * sizes["vitpose-b"][0]


@pytest.mark.usefixtures("small")
def test_a_killed_training_with_dropped_layers_goes_on_to_the_same_weights(drawn_people: Path, tmp_path: Path) -> None:
    folder = built(tmp_path / "base", "vitpose-b")
    asked = TuneSettings(batch=6, epochs=2, threads=1)

    def stop(done: int, total: int, note: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    whole = tune(folder, drawn_people, tmp_path / "whole" / "tuned", asked)
    with pytest.raises(KeyboardInterrupt):
        tune(folder, drawn_people, tmp_path / "tuned", asked, stop)
    assert tune(folder, drawn_people, tmp_path / "tuned", asked).sha256 == whole.sha256


@pytest.mark.usefixtures("small")
def test_weights_under_mmposes_names_are_imported(tmp_path: Path) -> None:
    folder = built(tmp_path / "base", "vitpose-b")
    card = import_model(folder / "weights.safetensors", tmp_path / "models", "own", width=64, height=64)
    assert card.family == "mmpose" and card.architecture == "vitpose-b"
    names = set(read_weights(folder, read_card(folder)))
    expected = {
        "backbone.layers.0.ln1.weight", "backbone.layers.1.ffn.layers.0.0.weight", "backbone.pos_embed",
        "backbone.patch_embed.projection.bias", "head.final_layer.weight", "backbone.ln1.bias",
    }  # fmt: skip
    assert expected <= names


def test_augmented_samples_repeat(drawn_people: Path) -> None:
    pictures = read_people(drawn_people / "annotations.json")
    first, second = (
        HeatmapSamples(
            pictures, width=64, height=64, udp=True, mean=POSE_MEAN, std=POSE_STD, seed=0,
            augmentation=PoseAugmentation(body=1.0),
        )
        for _ in range(2)
    )  # fmt: skip
    second.sample(0, 5)
    for one, other in zip(first.sample(1, 3), second.sample(1, 3), strict=True):
        np.testing.assert_array_equal(one, other)
