"""Ward lighting: presets of directional lights and ambient light, brought to a sensible exposure.

`toward` vectors are in the bed frame. Exposure: a white sheet facing up, unshadowed, receives a chosen linear level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.render.renderer import Light

# With the weights they are drawn by unless a scenario says otherwise.
PRESETS = {
    "daylight": 0.2, "overcast": 0.14, "ceiling": 0.24, "mixed": 0.14, "lamp": 0.08, "night": 0.06, "paper": 0.14,
    "infrared": 0.0,
}  # fmt: skip
BY_DAY = ("daylight", "overcast", "mixed")  # something bright is outside
PANELS_ON = ("ceiling", "mixed", "paper")
ONE_LAMP = ("lamp", "night")


@dataclass(frozen=True, slots=True)
class Lighting:
    """Directional lights and the ambient light from above (`sky`) and below (`ground`), linear."""

    lights: tuple[Light, ...]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]


def _unit(vector: ArrayLike) -> tuple[float, float, float]:
    v = np.asarray(vector, dtype=np.float64)
    v = v / np.linalg.norm(v)
    return float(v[0]), float(v[1]), float(v[2])


def _rgb(vector: ArrayLike) -> tuple[float, float, float]:
    v = np.asarray(vector, dtype=np.float64)
    return float(v[0]), float(v[1]), float(v[2])


def _warmth(kelvin: float) -> NDArray[np.float64]:
    """A linear tint of unit luminance, about right from candle to sky: interpolated from Planck's colours in sRGB."""
    kelvins = [2000, 3000, 4000, 5000, 6500, 8000, 10000]
    red = np.interp(kelvin, kelvins, [1.0, 1.0, 1.0, 1.0, 1.0, 0.78, 0.61])
    green = np.interp(kelvin, kelvins, [0.27, 0.46, 0.64, 0.78, 0.95, 0.83, 0.71])
    blue = np.interp(kelvin, kelvins, [0.01, 0.15, 0.36, 0.61, 0.98, 1.0, 1.0])
    tint = np.array([red, green, blue])
    # Cameras balance most of the tint away.
    tint = tint**0.45
    return np.asarray(tint / (tint @ [0.2126, 0.7152, 0.0722]), dtype=np.float64)


def _exposed(
    lights: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    sky: NDArray[np.float64],
    ground: NDArray[np.float64],
    level: float,
    softness: float,
) -> Lighting:
    """Scaled so that an upward-facing surface receives `level`; the strongest light casts the shadow, whose edge fades
    over `softness` metres."""
    received = float(np.mean(sky)) + sum(float(np.mean(color)) * max(0.0, _unit(toward)[2]) for toward, color in lights)
    scale = level / max(received, 1e-6)
    strongest = int(np.argmax([np.mean(color) * (0.3 + max(0.0, _unit(toward)[2])) for toward, color in lights]))
    made = tuple(
        Light(_unit(toward), _rgb(color * scale), k == strongest, softness if k == strongest else 0.0)
        for k, (toward, color) in enumerate(lights)
    )
    return Lighting(made, _rgb(sky * scale), _rgb(ground * scale))


def draw_preset(rng: np.random.Generator, weights: Mapping[str, float] | None = None) -> str:
    """The name of a preset, drawn by `weights` (those of `PRESETS` where there are none)."""
    weights = weights or PRESETS
    names = sorted(weights)
    share = np.array([weights[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=share / share.sum()))]


def make_lighting(rng: np.random.Generator, preset: str, window_side: float = 1.0) -> Lighting:
    """One of `PRESETS`, varied by the generator; `window_side` +1 or −1: the window is on the patient's left or right.

    daylight: sun or bright sky through the window. overcast: soft light from the window. ceiling: panels. mixed: panels
    and a window. lamp: evening with a reading lamp at the head end. night: one dim lamp. paper: the five directional
    lights of DIGITAL HEALTH 2026, doi 10.1177/20552076261418835: front, back, left, right and above, each aimed at the
    body with an intensity uniform in 0.3–3.0. infrared: a dark room seen by the depth camera's own light, which the
    picture is taken in (`synth.infrared`); the light given here is what little else there is.
    """
    if preset not in PRESETS:
        raise ValueError(f"light preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    lights, sky, ground, level, softness = _MAKERS[preset](rng.uniform, rng, window_side)
    return _exposed(lights, sky, ground, level, softness)


_Sources = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
_Parts = tuple[_Sources, NDArray[np.float64], NDArray[np.float64], float, float]
_Uniform = Callable[..., Any]


def _daylight(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    sun = np.array([u(-0.6, 0.6), side * u(0.7, 1.2), u(0.5, 1.1)])
    lights = [
        (sun, u(0.8, 2.0) * _warmth(u(4800, 6200))),
        (np.array([u(-0.3, 0.3), -side, 0.7]), u(0.1, 0.3) * _warmth(5500)),
    ]
    direct = rng.random() < 0.4  # else the sky's light, or the sun's through a blind
    softness = u(0.0, 0.015) if direct else u(0.04, 0.09)
    return lights, u(0.5, 0.9) * _warmth(u(6500, 9000)), u(0.35, 0.55) * _warmth(5000), u(0.95, 1.6), softness


def _overcast(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    lights = [
        (np.array([u(-0.5, 0.5), side, u(0.4, 0.9)]), u(0.4, 0.9) * _warmth(u(6500, 8500))),
        (np.array([u(-0.5, 0.5), u(-0.5, 0.5), 1.0]), u(0.2, 0.5) * _warmth(6000)),
    ]
    return lights, _warmth(u(6500, 8500)), u(0.45, 0.65) * _warmth(5500), u(0.8, 1.35), u(0.06, 0.1)


def _ceiling(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    lights = [(np.array([u(-0.5, 0.5), u(-0.5, 0.5), 1.0]), u(0.6, 1.1) * _warmth(u(3500, 5500)))]
    for _ in range(int(rng.integers(1, 4))):
        lights.append((np.array([u(-1, 1), u(-1, 1), u(0.6, 1.0)]), u(0.2, 0.5) * _warmth(u(3500, 5500))))
    return lights, u(0.6, 1.0) * _warmth(4500), u(0.35, 0.6) * _warmth(4000), u(0.9, 1.5), u(0.03, 0.08)


def _mixed(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    kelvin = u(3200, 4500)
    lights = [
        (np.array([u(-0.5, 0.5), side * u(0.8, 1.2), u(0.4, 0.9)]), u(0.5, 1.0) * _warmth(u(6000, 8500))),
        (np.array([u(-0.4, 0.4), u(-0.4, 0.4), 1.0]), u(0.4, 0.9) * _warmth(kelvin)),
    ]
    return lights, u(0.5, 0.9) * _warmth(5500), u(0.35, 0.55) * _warmth(kelvin), u(0.9, 1.5), u(0.04, 0.09)


def _lamp(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    lamp = np.array([u(-1.2, -0.5), u(-1, 1), u(0.4, 1.0)])
    lights = [(lamp, u(1.0, 1.8) * _warmth(u(2400, 3200))), (np.array([0.5, -lamp[1], 0.5]), 0.1 * _warmth(3000))]
    return lights, u(0.25, 0.5) * _warmth(3000), u(0.15, 0.3) * _warmth(2800), u(0.45, 0.95), u(0.005, 0.03)


def _night(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    lights = [(np.array([u(-1, 1), u(-1, 1), u(0.3, 0.8)]), u(0.7, 1.4) * _warmth(u(2600, 6500)))]
    return lights, u(0.2, 0.5) * _warmth(8000), u(0.1, 0.25) * _warmth(6000), u(0.08, 0.3), u(0.01, 0.04)


def _paper(u: _Uniform, rng: np.random.Generator, side: float) -> _Parts:
    lights = []
    for toward in ((1, 0, 0.3), (-1, 0, 0.3), (0, 1, 0.3), (0, -1, 0.3), (0, 0, 1)):
        aimed = np.asarray(toward, dtype=np.float64) + rng.normal(0, 0.2, 3)
        lights.append((aimed, u(0.3, 3.0) * _warmth(u(4000, 7500))))
    return lights, u(0.6, 1.5) * _warmth(6000), u(0.4, 0.8) * _warmth(5500), u(0.8, 1.6), 0.0


_MAKERS: Mapping[str, Callable[[_Uniform, np.random.Generator, float], _Parts]] = {
    "daylight": _daylight, "overcast": _overcast, "ceiling": _ceiling, "mixed": _mixed, "lamp": _lamp, "night": _night,
    "paper": _paper, "infrared": _night,
}  # fmt: skip


def without_shoulder(shown: ArrayLike) -> NDArray[np.float64]:
    """The light that the renderers' soft shoulder turns into `shown`, both linear."""
    v = np.asarray(shown, dtype=np.float64)
    return np.asarray(v / (1 - 0.25 * v))
