"""Detection transformers: taken in from a folder, tuned, gone on with, exported and decoded; nothing is fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from calibration.errors import WardposeError
from runtime.detect import PersonDetector
from runtime.engines.engine import open_engine
from tests.conftest import REPOSITORY
from tests.tuning.drawn import draw_people
from tuning.coco_folder import read_people
from tuning.export import export_onnx
from tuning.families.detr_training import labels_of
from tuning.families.family import TuneSettings, tune
from tuning.families.transformers_adapter import build, told, transformers
from tuning.import_model import import_model
from tuning.store.weights import read_weights

_STAGES = ["stage2", "stage3", "stage4"]
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic",
           "out_features": _STAGES}  # fmt: skip
_HGNET = {
    "model_type": "hgnet_v2", "stem_channels": [3, 8, 8], "stage_in_channels": [8, 16, 32, 32],
    "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [16, 32, 32, 64], "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1], "hidden_sizes": [16, 32, 32, 64], "embedding_size": 8,
    "depths": [1, 1, 1, 1], "out_features": _STAGES,
}  # fmt: skip
_SMALL = {"d_model": 32, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 2,
          "decoder_attention_heads": 2, "decoder_layers": 2}  # fmt: skip
_RT = {**_SMALL, "encoder_hidden_dim": 32, "decoder_in_channels": [32, 32, 32], "num_queries": 126, "num_denoising": 10}
# Small ones of each kind, as their config.json says it. Where candidates are chosen, there are as many as cells.
CONFIGS: dict[str, dict[str, Any]] = {
    "rt_detr_v2": {**_RT, "backbone_config": {**_RESNET, "model_type": "rt_detr_resnet"},
                   "encoder_in_channels": [16, 32, 64]},
    "d_fine": {**_RT, "backbone_config": _HGNET, "encoder_in_channels": [32, 32, 64], "decoder_n_points": [3, 6, 3]},
    "deformable_detr": {**_SMALL, "encoder_layers": 1, "num_queries": 12, "use_timm_backbone": False,
                        "backbone_config": {**_RESNET, "model_type": "resnet"}},
    "rf_detr": {
        "d_model": 32, "decoder_ffn_dim": 32, "decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 2,
        "decoder_layers": 2, "num_queries": 24, "group_detr": 2,
        "backbone_config": {"model_type": "rf_detr_dinov2", "hidden_size": 32, "num_hidden_layers": 4,
                            "num_attention_heads": 2, "image_size": 64, "patch_size": 16, "num_windows": 2,
                            "out_features": ["stage2", "stage4"]},
    },
}  # fmt: skip


def folder_of(kind: str, place: Path) -> Path:
    """A folder as transformers writes it, of random weights: a table and a person."""
    description = CONFIGS[kind] | {"model_type": kind, "id2label": {"0": "table", "1": "person"}}
    transformers()
    torch.manual_seed(0)
    build(told(description, kind), kind).save_pretrained(place)
    return place


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_a_folder_is_taken_in_tuned_on_to_the_same_bits_exported_and_decoded(kind: str, tmp_path: Path) -> None:
    models, drawn_people = tmp_path / "models", draw_people(tmp_path / "data", 4)
    card = import_model(folder_of(kind, tmp_path / "given"), models, "own", width=96, height=64)
    assert (card.family, card.layout, card.person_class, card.classes) == ("transformers", "detr", 1, 2)
    asked = TuneSettings(batch=2, epochs=1, threads=1, width=96, height=64, learning_rate=1e-3)

    def stop(done: int, total: int, note: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    whole = tune(models / "own", drawn_people, tmp_path / "whole" / "tuned", asked)
    with pytest.raises(KeyboardInterrupt):
        tune(models / "own", drawn_people, models / "tuned", asked, stop)
    tuned = tune(models / "own", drawn_people, models / "tuned", asked)
    assert tuned.sha256 == whole.sha256 != card.sha256
    before, after = read_weights(models / "own", card), read_weights(models / "tuned", tuned)
    assert all(np.array_equal(before[name], after[name]) for name in before if ".backbone." in name)

    report = export_onnx(models / "tuned", tmp_path / "model.onnx")
    assert report.max_error <= 1e-3
    picture = read_people(drawn_people / "annotations.json")[0]
    from runtime.capture.photograph import read_photograph

    found = PersonDetector(open_engine(tmp_path / "model.onnx"), confidence=1e-4).detect(read_photograph(picture.path))
    assert len(found) and np.isfinite(found.xyxy).all()


def test_labels_are_where_the_people_are() -> None:
    batch = {
        "images": torch.zeros(2, 3, 60, 100), "boxes": torch.tensor([[10.0, 6, 30, 36], [0, 0, 100, 60]]),
        "picture": torch.tensor([1, 1]), "ignored": torch.tensor([False, True]),
    }  # fmt: skip
    nobody, somebody = labels_of(batch, (100, 60), person=7)
    assert nobody["boxes"].shape == (0, 4) and somebody["class_labels"].tolist() == [7]
    torch.testing.assert_close(somebody["boxes"], torch.tensor([[0.2, 0.35, 0.2, 0.5]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "describes a 'bert'"),
        ({"backbone_config": None, "backbone": "resnet50", "use_timm_backbone": True}, "its trunk is named"),
        ({"d_model": "wide"}, "it cannot be built"),
        ({"d_model": 64}, "do not fit|cannot be built"),
    ],
)
def test_a_description_that_does_not_hold_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = folder_of("rt_detr_v2", tmp_path / "given")
    config = json.loads((given / "config.json").read_bytes()) | change
    (given / "config.json").write_text(json.dumps(config))
    with pytest.raises(WardposeError, match=message):
        import_model(given, tmp_path / "models", "own")
    assert not list((tmp_path / "models").iterdir())


def test_a_tensor_that_is_missing_is_named(tmp_path: Path) -> None:
    given = folder_of("rt_detr_v2", tmp_path / "given")
    weights = load_file(given / "model.safetensors")
    del weights["model.encoder_input_proj.0.0.weight"]
    save_file(weights, given / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WardposeError, match=r"1 missing; first model\.encoder_input_proj\.0\.0\.weight"):
        import_model(given, tmp_path / "models", "own")


def test_weights_that_are_a_pickle_are_not_read(tmp_path: Path) -> None:
    given = folder_of("rt_detr_v2", tmp_path / "given")
    (given / "model.safetensors").rename(given / "pytorch_model.bin")
    with pytest.raises(WardposeError, match=r"a folder without config\.json and model\.safetensors"):
        import_model(given, tmp_path / "models", "own")


def test_code_that_a_description_names_is_never_run(tmp_path: Path) -> None:
    given = folder_of("rt_detr_v2", tmp_path / "given")
    config = json.loads((given / "config.json").read_bytes())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForObjectDetection": "evil.Model"}
    (given / "config.json").write_text(json.dumps(config))
    (given / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    card = import_model(given, tmp_path / "models", "own")
    assert not (tmp_path / "ran").exists() and "auto_map" not in json.dumps(card.architecture_yaml)


def test_it_is_offline_and_leaves_torchvision_to_others() -> None:
    code = (
        "import os, importlib.util; from tuning.families.transformers_adapter import transformers; transformers();"
        "import huggingface_hub.constants as c; print(c.HF_HUB_OFFLINE, os.environ['TRANSFORMERS_OFFLINE'],"
        "importlib.util.find_spec('torch') is not None)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["True", "1", "True"]


def test_a_detr_is_built_in_a_process_that_has_used_mmpose(tmp_path: Path) -> None:
    """mmengine imports transformers in its own way, which remembers what it has seen installed."""
    script = (
        "from tuning.families.mmpose_adapter import mmpose_models\n"
        "mmpose_models()\n"
        "from tuning.families.transformers_adapter import transformers\n"
        "transformers()\n"
        "from transformers import DFineForObjectDetection\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-600:]
