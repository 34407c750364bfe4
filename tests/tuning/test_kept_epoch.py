"""The weights that a tuning kept at the ends of its first epochs are models that can be imported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.engines.trial import run_once
from tests.tuning.drawn import draw_people
from tests.tuning.drawn_graphs import YoloxLike, draw_graph
from tests.tuning.test_heatmap_pose import built
from tuning.families.family import TuneSettings, tune
from tuning.import_model import import_model
from tuning.import_process import ImportWish, import_confined
from tuning.store.card import read_card, verify_weights
from tuning.store.weights import read_weights

TWO_EPOCHS = TuneSettings(recipe="paper", epochs=2, batch=2, threads=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that came as ONNX, tuned for two epochs."""
    place = tmp_path_factory.mktemp("graph")
    import_model(draw_graph(place / "drawn.onnx", YoloxLike()), place, "drawn")
    settings = TWO_EPOCHS.model_copy(update={"width": 96, "height": 64})
    tune(place / "drawn", draw_people(place / "data", 4), place / "tuned", settings)
    return place / "tuned"


def test_of_a_graph_the_last_epoch_is_the_model_and_the_first_another(graph: Path, tmp_path: Path) -> None:
    for epoch in (1, 2):
        import_confined(graph / "training" / f"epoch-{epoch}.safetensors", tmp_path, ImportWish(f"epoch-{epoch}"))
    card, tuned = read_card(tmp_path / "epoch-1"), read_card(graph)
    assert (card.family, card.parent, card.scores, card.width) == (tuned.family, "tuned", {}, tuned.width)
    first, last, whole = (
        run_once(verify_weights(folder, read_card(folder)).read_bytes(), folder.name)[0]
        for folder in (tmp_path / "epoch-1", tmp_path / "epoch-2", graph)
    )
    np.testing.assert_array_equal(last, whole)
    assert np.abs(first - whole).max() > 0


def test_of_tensors_too(drawn_people: Path, tmp_path: Path) -> None:
    base = built(tmp_path / "base", "rtmpose-t", family="rtmpose")
    tuned = tune(base, drawn_people, tmp_path / "tuned", TWO_EPOCHS.model_copy(update={"batch": 12}), task="pose")
    card = import_model(tmp_path / "tuned" / "training" / "epoch-2.safetensors", tmp_path, "again")
    assert (card.architecture, card.layout) == (tuned.architecture, tuned.layout)
    one, other = read_weights(tmp_path / "tuned", tuned), read_weights(tmp_path / "again", card)
    assert all(np.allclose(one[name], other[name], rtol=0, atol=1e-8) for name in one)


def test_weights_of_another_model_are_refused(graph: Path, drawn_people: Path, tmp_path: Path) -> None:
    other = shutil.copytree(graph, tmp_path / "other")
    base = built(tmp_path / "base", "rtmpose-t", family="rtmpose")
    shutil.copyfile(base / "weights.safetensors", other / "training" / "epoch-1.safetensors")
    with pytest.raises(WardposeError, match=r"epoch-1.safetensors"):
        import_model(other / "training" / "epoch-1.safetensors", tmp_path, "wrong")
    assert not (tmp_path / "wrong").exists()
