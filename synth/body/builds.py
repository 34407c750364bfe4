"""How heavy people are: the body mass index of somebody of an age, from the very thin to the very heavy."""

from __future__ import annotations

import numpy as np

LEAST, MOST = 13.0, 40.0  # kg/m², of adults
# Years; median, kg/m² (WHO's curves until eighteen, then a hospital's patients); spread of its logarithm.
_YEARS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 13.0, 15.0, 18.0, 35.0)
_MEDIAN = (13.3, 16.6, 17.1, 16.6, 15.8, 15.5, 15.2, 15.6, 16.5, 18.6, 20.0, 21.5, 25.5)
_SPREAD = (0.09, 0.09, 0.08, 0.08, 0.08, 0.08, 0.09, 0.11, 0.13, 0.15, 0.15, 0.16, 0.20)
_ANY_SHARE = 0.2  # of adults: anything between the extremes, or a data set would hardly ever show them


def usual_bmi(age_years: float) -> float:
    """The median body mass index of an age, kg/m²."""
    return float(np.interp(age_years, _YEARS, _MEDIAN))


def draw_bmi(rng: np.random.Generator, age_years: float) -> float:
    """The body mass index, kg/m², of somebody of this age; an adult's lies within `LEAST` and `MOST`."""
    spread = float(np.interp(age_years, _YEARS, _SPREAD))
    bmi = usual_bmi(age_years) * float(np.exp(spread * np.clip(rng.standard_normal(), -2.5, 2.5)))
    anything, chosen = float(rng.uniform(LEAST, MOST)), float(rng.uniform())
    if age_years < 18.0:
        return bmi
    return anything if chosen < _ANY_SHARE else float(np.clip(bmi, LEAST, MOST))
