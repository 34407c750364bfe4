"""The paper's recipe by name: its numbers for each of its models, and what it changes of ours."""

from __future__ import annotations

import pytest

from calibration.errors import WardposeError
from tuning.families.family import TuneSettings
from tuning.families.graph_detector import DetectorRecipe
from tuning.families.paper_recipe import PUBLISHED, paper_recipe

PAPER = TuneSettings(recipe="paper")


@pytest.mark.parametrize(
    ("kind", "rate", "batch"),
    # The paper: Salience-DETR at 1e-6 in batches of 10; the others a tenth of their last rate, scaled to 16 images.
    [("salience-detr-r50", 1e-6, 10), ("dino-r50", 1e-6, 16), ("yolov6", 1e-5 * 16 / 256, 16)],
)
def test_the_papers_models_have_the_papers_numbers(kind: str, rate: float, batch: int) -> None:
    recipe = paper_recipe(kind, PAPER)
    assert recipe.learning_rate == pytest.approx(rate) and recipe.batch == batch
    assert (recipe.epochs, recipe.kept_epochs) == (1, 5)
    loop = recipe.loop(PAPER)
    assert (loop.final_factor, loop.warmup_steps, loop.average_decay) == (1.0, 0, 0.0)


@pytest.mark.parametrize("kind", sorted(PUBLISHED))
def test_every_published_rate_says_where_it_stands(kind: str) -> None:
    assert len(PUBLISHED[kind].source) > 5 and paper_recipe(kind, PAPER).learning_rate < PUBLISHED[kind].final_rate


def test_of_a_model_whose_rate_nobody_published_it_is_asked() -> None:
    with pytest.raises(WardposeError, match=r"movenet ended is not published.*--final-rate RATE"):
        paper_recipe("movenet", PAPER)
    said = PAPER.model_copy(update={"final_rate": 1e-4, "final_batch": 64})
    assert paper_recipe("movenet", said).learning_rate == pytest.approx(0.1 * 1e-4 * 16 / 64)


def test_what_is_said_goes_before_the_recipe() -> None:
    said = PAPER.model_copy(update={"epochs": 20, "batch": 8, "learning_rate": 1e-3})
    recipe = paper_recipe("dino-r50", said)
    assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.kept_epochs) == (20, 8, 1e-3, 5)


def test_a_graphs_recipe_becomes_the_papers_and_keeps_the_weights_of_its_own_terms() -> None:
    ours = DetectorRecipe(score_weight=1.0, box_weight=2.5, sides_weight=0.5)
    paper = ours.told(PAPER, "yolov6")
    assert (paper.box_weight, paper.frozen_share, paper.optimizer) == (2.5, 0.0, "sgd")
    assert paper.augmentation.flip == 0.5 and paper.augmentation.scale == (1, 1)
    assert ours.told(TuneSettings(epochs=3), "yolov6").epochs == 3
