"""Pictures in cells: in the colours of the terminal, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color, ColorSystem

from appliance.jobs.store import Step
from appliance.tui.cells import in_cells, in_few_colours
from appliance.tui.curves import curve, losses, rates


def pictures() -> st.SearchStrategy[np.ndarray]:
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8))


@given(pictures())
def test_256_colours_are_given_as_the_terminal_has_them(picture: np.ndarray) -> None:
    for red, green, blue in in_few_colours(picture, "256").reshape(-1, 3).tolist():
        wanted = Color.from_rgb(red, green, blue)
        told = wanted.downgrade(ColorSystem.EIGHT_BIT)
        shown = told.get_truecolor()
        assert max(abs(a - b) for a, b in zip(shown, (red, green, blue), strict=True)) <= 12


@given(pictures())
def test_sixteen_colours_are_four_greys(picture: np.ndarray) -> None:
    few = in_few_colours(picture, "standard")
    assert set(np.unique(few)) <= {0, 85, 170, 255} and (few == few[..., :1]).all()


@pytest.mark.parametrize("grey", [(120, 118, 110), (200, 190, 185), (90, 96, 88)])
def test_a_floor_that_is_nearly_grey_stays_grey(grey: tuple[int, int, int]) -> None:
    few = in_few_colours(np.full((8, 8, 3), grey, np.uint8), "256")
    assert (few == few[..., :1]).all()


def test_dithering_keeps_the_mean_light() -> None:
    for light in range(20, 240, 20):
        few = in_few_colours(np.full((16, 16, 3), light, np.uint8), "256")
        assert abs(float(few.mean()) - light) < 3


def test_without_colours_a_picture_is_made_of_density() -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 20:] = 255
    lines = in_cells(picture, 40, 10, None, None).plain.splitlines()
    assert all(line == " " * 20 + "█" * 20 for line in lines)


def test_a_curve_falls_where_its_values_do_and_says_the_last() -> None:
    drawn = curve([(x, 10.0 - x) for x in range(11)], 29, 4, "loss").plain.splitlines()
    assert drawn[0].startswith("loss 0 ")
    first, last = drawn[1], drawn[-1]
    assert first[9] != "⠀" and first[-1] == "⠀" and last[-1] != "⠀" and last[9] == "⠀"


def test_losses_are_read_from_the_notes_of_a_training_and_rates_from_its_steps() -> None:
    steps = [Step(2.0 * i, 10 * i, 100, f"epoch 1/1  loss {2.0 - 0.1 * i:.4g}  rate 0.001") for i in range(11)]
    assert losses(steps)[0] == (0.0, 2.0) and losses(steps)[-1] == (100.0, 1.0)
    assert all(rate == pytest.approx(5.0) for _, rate in rates(steps))
