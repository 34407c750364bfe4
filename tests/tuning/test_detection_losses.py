"""What a grid detector is taught, against the published formulas written out plainly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuning.families.detection_losses import (
    Grid,
    assign,
    boxes_of,
    cell_grid,
    distribution_focal_loss,
    generalised_iou,
    iou,
    quality_focal_loss,
    sides_to,
    within,
)

GRID = cell_grid(64, 64)
# A busy machine is no reason to fail.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_cells_lie_row_by_row_the_finest_grid_first() -> None:
    grid = cell_grid(64, 32)
    assert len(grid.centre) == 8 * 4 + 4 * 2 + 2
    assert (
        grid.centre[0].tolist() == [4, 4] and grid.centre[1].tolist() == [12, 4] and grid.centre[8].tolist() == [4, 12]
    )
    assert grid.centre[-1].tolist() == [48, 16] and grid.stride[-1].item() == 32


def test_a_side_that_is_certain_lies_at_its_bin() -> None:
    sides = torch.full((1, 4, 11), -50.0)
    for side, bin_ in enumerate((1, 2, 3, 4)):
        sides[0, side, bin_] = 50.0
    grid = Grid(torch.tensor([[100.0, 60.0]]), torch.tensor([[8.0]]))
    assert boxes_of(sides, grid)[0].tolist() == pytest.approx([100 - 8, 60 - 16, 100 + 24, 60 + 32])


def test_training_and_the_runtime_read_the_same_boxes() -> None:
    from runtime.detector_layouts import decode_boxes
    from runtime.model_info import ModelInfo

    rng, info = (
        np.random.default_rng(0),
        ModelInfo(name="n", task="detect", layout="nanodet", width=96, height=64, classes=2, person_class=1),
    )
    cells = [12 * 8, 6 * 4, 3 * 2]
    scores = [rng.random((1, 2, n)).astype(np.float32) for n in cells]
    distances = [rng.normal(0, 2, (1, 44, n)).astype(np.float32) for n in cells]
    expected, _ = decode_boxes([*scores, *distances], info)
    sides = torch.cat([torch.from_numpy(d).unflatten(1, (4, -1)).permute(0, 3, 1, 2) for d in distances], 1)
    np.testing.assert_allclose(boxes_of(sides, cell_grid(96, 64))[0].numpy(), expected, atol=1e-4)


@st.composite
def boxes(draw: st.DrawFn, count: int) -> torch.Tensor:
    corner = draw(arrays(np.float64, (count, 2), elements=st.floats(-20, 60)))
    size = draw(arrays(np.float64, (count, 2), elements=st.floats(2, 60)))
    return torch.from_numpy(np.concatenate([corner, corner + size], 1))


@CALM
@given(boxes(2))
def test_overlaps_are_those_of_the_areas_counted_out(pair: torch.Tensor) -> None:
    a, b = pair.tolist()
    inner = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    assert iou(*pair).item() == pytest.approx(inner / union, abs=1e-9)
    assert generalised_iou(*pair).item() == pytest.approx(inner / union - (around - union) / around, abs=1e-9)


@CALM
@given(boxes(2))
def test_overlap_is_the_same_both_ways_and_one_with_itself(pair: torch.Tensor) -> None:
    assert generalised_iou(pair[0], pair[1]).item() == pytest.approx(generalised_iou(pair[1], pair[0]).item())
    assert generalised_iou(pair[0], pair[0]).item() == pytest.approx(1)
    assert -1 <= generalised_iou(pair[0], pair[1]).item() <= iou(pair[0], pair[1]).item() + 1e-9


@pytest.mark.parametrize(("logit", "quality"), [(0.0, 0.0), (2.0, 0.7), (-3.0, 0.9), (1.0, 1.0)])
def test_the_quality_focal_loss_is_the_published_one(logit: float, quality: float) -> None:
    sigma = 1 / (1 + math.exp(-logit))
    expected = -(abs(quality - sigma) ** 2) * (
        (1 - quality) * math.log(1 - sigma) + quality * math.log(sigma)
    )  # Li et al. 2020, equation 5
    found = quality_focal_loss(torch.tensor(logit, dtype=torch.float64), torch.tensor(quality, dtype=torch.float64))
    assert found.item() == pytest.approx(expected)


@CALM
@given(
    arrays(np.float64, (1, 4, 11), elements=st.floats(-5, 5)), arrays(np.float64, (1, 4), elements=st.floats(0, 9.9))
)
def test_the_distribution_focal_loss_is_the_published_one(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    distance: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    expected = 0.0
    for side in range(4):  # Li et al. 2020, equation 6
        y = distance[0, side]
        low = math.floor(y)
        share = np.exp(logits[0, side]) / np.exp(logits[0, side]).sum()
        expected -= ((low + 1 - y) * math.log(share[low]) + (y - low) * math.log(share[low + 1])) / 4
    found = distribution_focal_loss(torch.from_numpy(logits), torch.from_numpy(distance))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_losses_have_the_slopes_of_their_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logit = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)
    quality = torch.rand(6, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: quality_focal_loss(x, quality).sum(), logit)
    sides = torch.randn(3, 4, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    distance = torch.rand(3, 4, generator=generator, dtype=torch.float64) * 9
    assert torch.autograd.gradcheck(lambda x: distribution_focal_loss(x, distance).sum(), sides)
    grid = Grid(torch.tensor([[30.0, 20], [40, 44], [8, 8]]).double(), torch.full((3, 1), 8.0).double())
    truth = torch.tensor([[10.0, 5, 70, 40], [20, 20, 50, 60], [0, 0, 9, 30]]).double()
    assert torch.autograd.gradcheck(lambda x: generalised_iou(boxes_of(x, grid), truth).sum(), sides)


@CALM
@given(boxes(3), st.integers(0, 3), st.integers(0, 2**31))
def test_an_assignment_keeps_its_promises(people: torch.Tensor, count: int, seed: int) -> None:
    people = people[:count].float()
    generator = torch.Generator().manual_seed(seed)
    score = torch.rand(len(GRID.centre), generator=generator)
    answers = boxes_of(torch.randn(len(GRID.centre), 4, 11, generator=generator), GRID)
    given_ = assign(score, answers, people, GRID, most=4)
    free = given_.person < 0
    assert (given_.quality[free] == 0).all()
    for person in range(count):
        mine = given_.person == person
        assert mine.sum() <= 4
        assert within(GRID, people)[person, mine].all()
        torch.testing.assert_close(given_.quality[mine], iou(answers[mine], people[person]))
    if count == 0:
        assert free.all()


def test_a_person_is_answered_for_by_the_cells_that_fit_best() -> None:
    person = torch.tensor([[10.0, 10, 54, 54]])
    answers = person.repeat(len(GRID.centre), 1).clone()
    answers[:, 2] += torch.arange(len(GRID.centre))  # each cell's box is worse than the one before it
    given_ = assign(torch.full((len(GRID.centre),), 0.5), answers, person, GRID, most=3)
    inside = within(GRID, person)[0].nonzero()[:, 0]
    assert (given_.person >= 0).nonzero()[:, 0].tolist() == inside[:3].tolist()


def test_distances_to_the_truth_give_the_truth_back() -> None:
    truth, grid = torch.tensor([[3.0, 5, 40, 60]]), Grid(torch.tensor([[20.0, 20]]), torch.tensor([[8.0]]))
    away = sides_to(truth, grid.centre)
    assert torch.cat([grid.centre - away[:, :2], grid.centre + away[:, 2:]], 1).tolist() == truth.tolist()
