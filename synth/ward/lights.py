"""Ward lighting: presets of directional lights and ambient light, brought to a sensible exposure.

`toward` vectors are in the bed frame. Exposure: a white sheet facing up, unshadowed, receives a chosen linear level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.render.renderer import Light

PRESETS = ("daylight", "overcast", "ceiling", "lamp", "night", "five")


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
) -> Lighting:
    """Scaled so that an upward-facing surface receives `level`; the strongest light casts the shadow."""
    received = float(np.mean(sky)) + sum(float(np.mean(color)) * max(0.0, _unit(toward)[2]) for toward, color in lights)
    scale = level / max(received, 1e-6)
    strongest = int(np.argmax([np.mean(color) * (0.3 + max(0.0, _unit(toward)[2])) for toward, color in lights]))
    made = tuple(Light(_unit(toward), _rgb(color * scale), k == strongest) for k, (toward, color) in enumerate(lights))
    return Lighting(made, _rgb(sky * scale), _rgb(ground * scale))


def make_lighting(rng: np.random.Generator, preset: str, window_side: float = 1.0) -> Lighting:
    """One of `PRESETS`, varied by the generator; `window_side` +1 or −1: the window is on the patient's left or right.

    "five" is the paper's: front, back, left, right and above, each of an intensity uniform in 0.3–3.0.
    """
    u = rng.uniform
    lights: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
    if preset == "daylight":
        sun = np.array([u(-0.6, 0.6), window_side * u(0.7, 1.2), u(0.5, 1.1)])
        lights = [
            (sun, u(1.0, 2.0) * _warmth(u(4800, 6200))),
            (np.array([u(-0.3, 0.3), -window_side, 0.7]), u(0.1, 0.3) * _warmth(5500)),
        ]
        return _exposed(lights, u(0.5, 0.9) * _warmth(u(6500, 9000)), u(0.35, 0.55) * _warmth(5000), u(0.95, 1.6))
    if preset == "overcast":
        lights = [
            (np.array([u(-0.5, 0.5), window_side, u(0.4, 0.9)]), u(0.4, 0.8) * _warmth(u(6500, 8500))),
            (np.array([u(-0.5, 0.5), u(-0.5, 0.5), 1.0]), u(0.2, 0.5) * _warmth(6000)),
        ]
        return _exposed(lights, _warmth(u(6500, 8500)), u(0.45, 0.65) * _warmth(5500), u(0.8, 1.35))
    if preset == "ceiling":
        lights = [(np.array([u(-0.5, 0.5), u(-0.5, 0.5), 1.0]), u(0.6, 1.1) * _warmth(u(3500, 5500)))]
        for _ in range(int(rng.integers(1, 4))):
            lights.append((np.array([u(-1, 1), u(-1, 1), u(0.6, 1.0)]), u(0.2, 0.5) * _warmth(u(3500, 5500))))
        return _exposed(lights, u(0.6, 1.0) * _warmth(4500), u(0.35, 0.6) * _warmth(4000), u(0.9, 1.5))
    if preset == "lamp":
        lamp = np.array([u(-1.2, -0.5), u(-1, 1), u(0.4, 1.0)])
        lights = [(lamp, u(1.0, 1.8) * _warmth(u(2400, 3200))), (np.array([0.5, -lamp[1], 0.5]), 0.1 * _warmth(3000))]
        return _exposed(lights, u(0.25, 0.5) * _warmth(3000), u(0.15, 0.3) * _warmth(2800), u(0.45, 0.95))
    if preset == "night":
        lights = [(np.array([u(-1, 1), u(-1, 1), u(0.3, 0.8)]), u(0.5, 1.0) * _warmth(u(3000, 9000)))]
        return _exposed(lights, u(0.4, 0.8) * _warmth(8000), u(0.2, 0.4) * _warmth(6000), u(0.16, 0.4))
    if preset == "five":
        lights = []
        for toward in ((1, 0, 0.3), (-1, 0, 0.3), (0, 1, 0.3), (0, -1, 0.3), (0, 0, 1)):
            lights.append(
                (np.asarray(toward, dtype=np.float64) + rng.normal(0, 0.2, 3), u(0.3, 3.0) * _warmth(u(4000, 7500)))
            )
        return _exposed(lights, u(0.6, 1.5) * _warmth(6000), u(0.4, 0.8) * _warmth(5500), u(0.8, 1.6))
    raise ValueError(f"light preset must be one of {', '.join(PRESETS)}, got {preset!r}")
