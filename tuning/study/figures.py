"""A study's figures, as SVG without a font of their own.

Figure 8: how large people's boxes are in each set; 9 and 10: the pictures of each set by the first two principal
components of a detector's features, and by t-SNE of them; then what the paper left open, and targeting on real
pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.atomic import write_bytes
from tuning.drawing import figure_of, svg_of
from tuning.study.findings import Change
from tuning.study.tables import Test

_COLORS = ("#2a6f97", "#d1495b", "#4f9d69", "#8a5aa8", "#e09f3e", "#5c5c5c", "#17a2b8", "#a0522d")
_MARKERS = "osD^vP*X"
_LEVELS = (0.2, 0.5, 0.8)  # shares of the people within the contours
_GRID = 70


def box_sizes(likeness: Mapping[str, Any], out: Path) -> Path:
    """Figure 8: contours that hold 20, 50 and 80 % of the people, a panel a target with every set."""
    from scipy.stats import gaussian_kde

    sets, wards = _split(likeness)
    figure, axes = figure_of(1, len(wards), (5.2 * len(wards), 5.2))
    everybody = np.concatenate([np.array(likeness["sizes"][name]).reshape(-1, 2) for name in likeness["sets"]])
    reach = np.minimum(1.0, 1.25 * np.quantile(everybody, 0.98, axis=0)) if len(everybody) else np.ones(2)
    x, y = np.meshgrid(*(np.linspace(0, most, _GRID) for most in reach))
    for axis, ward in zip(axes[0], wards, strict=True):
        for place, name in enumerate([*sets, ward]):
            shares = np.array(likeness["sizes"][name]).reshape(-1, 2)
            color = "black" if name == ward else _COLORS[place % len(_COLORS)]
            axis.plot([], [], color=color, label=f"{name} ({len(shares)} people)", lw=2 if name == ward else 1)
            if len(shares) > 2 and np.linalg.matrix_rank(shares - shares.mean(0)) == 2:
                kernel = gaussian_kde(shares.T)
                held = np.unique(np.quantile(kernel(shares.T), [1 - share for share in reversed(_LEVELS)]))
                height = kernel(np.stack([x.ravel(), y.ravel()])).reshape(x.shape)
                axis.contour(x, y, height, held, colors=color, linewidths=2 if name == ward else 0.9)
        axis.set(title=f"Boxes of {ward} and of the sets", xlim=(0, reach[0]), ylim=(0, reach[1]))
        axis.set(xlabel="width, share of the picture", ylabel="height, share of the picture")
        axis.legend(fontsize=8)
    return _write(figure, out)


def components(likeness: Mapping[str, Any], out: Path) -> Path:
    """Figure 9: the first two principal components."""
    first, second = likeness["shares"]
    return _scatter(
        likeness, "components", "Principal components of a detector's features",
        (f"first component ({first:.0%} of the variance)", f"second component ({second:.0%})"), out,
    )  # fmt: skip


def neighbours(likeness: Mapping[str, Any], out: Path) -> Path:
    """Figure 10: t-SNE of the same features."""
    return _scatter(likeness, "neighbours", "t-SNE of the same features", ("only nearness counts", ""), out)


def sweeps(swept: Mapping[str, Sequence[Test]], out: Path) -> Path:
    """Gain in person score by each thing that was swept, with its 95 % interval over scenes."""
    drawn = {name: tests for name, tests in swept.items() if tests}
    figure, axes = figure_of(1, len(drawn), (4.4 * len(drawn), 4.2), one_scale=True)
    for axis, (name, tests) in zip(axes[0], drawn.items(), strict=True):
        amounts = [test.names[0] for test in tests]
        numbers = [float(amount) for amount in amounts if isinstance(amount, int | float)]
        places = numbers or list(map(float, range(len(amounts))))
        _intervals(axis, places, [test.change for test in tests], _COLORS[0], line=bool(numbers))
        if name == "images":
            axis.set_xscale("log")
        axis.set_xticks(places, [f"{amount:g}" if numbers else str(amount) for amount in (numbers or amounts)])
        axis.minorticks_off()
        if not numbers:
            axis.tick_params(axis="x", labelrotation=30)
            axis.margins(x=0.2)
        axis.axhline(0, color="0.7", lw=0.8, zorder=0)
        axis.set(title=f"Gain against {name}", xlabel=name)
    axes[0, 0].set_ylabel("gain in person score")
    return _write(figure, out)


def targeting(arms: Mapping[str, Mapping[str, Change]], out: Path) -> Path:
    """Gain in person score of every arm, a panel a group of people; a dot is a training."""
    groups = list(next(iter(arms.values())))
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = figure_of(rows, columns, (4.6 * columns, 3.6 * rows), one_scale=True)
    for axis in axes.flat[len(groups) :]:
        axis.remove()
    for axis, group in zip(axes.flat, groups, strict=False):
        for place, changes in enumerate(arms.values()):
            found = changes[group]
            color = _COLORS[place % len(_COLORS)]
            _intervals(axis, [place], [found], color, line=False)
            for number, training in enumerate(found.trainings if len(found.trainings) > 1 else ()):
                axis.plot(place + 0.16 + 0.07 * number, training - found.before, "o", ms=4, mfc="none", mec=color)
        axis.axhline(0, color="0.7", lw=0.8, zorder=0)
        people = next(iter(arms.values()))[group].people
        axis.set_xticks(range(len(arms)), list(arms))
        axis.set(title=f"{group} ({people} people)", ylabel="gain in person score")
        axis.margins(x=0.15)
    return _write(figure, out)


def _intervals(axis: Any, places: Sequence[float], changes: Sequence[Change], color: str, *, line: bool) -> None:
    gains = np.array([found.difference for found in changes])
    reach = np.array([[found.difference - found.low, found.high - found.difference] for found in changes]).T
    finite = np.where(np.isfinite(reach), reach, 0.0)
    axis.errorbar(places, gains, finite, fmt="o-" if line else "o", color=color, capsize=3, lw=1.4, ms=5)


def _scatter(likeness: Mapping[str, Any], key: str, title: str, labels: tuple[str, str], out: Path) -> Path:
    figure, axes = figure_of(1, 1, (7.5, 6))
    points, groups = np.array(likeness[key]), np.array(likeness["groups"])
    for place, name in enumerate(likeness["sets"]):
        chosen = points[groups == place]
        axes[0, 0].scatter(
            *chosen.T, s=18, alpha=0.7, lw=0, color=_COLORS[place % len(_COLORS)],
            marker=_MARKERS[place % len(_MARKERS)], label=f"{name} ({len(chosen)} pictures)",
        )  # fmt: skip
    axes[0, 0].set(title=title, xlabel=labels[0], ylabel=labels[1])
    axes[0, 0].legend(fontsize=8)
    return _write(figure, out)


def _split(likeness: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The paper's sets, and what they are held against."""
    names = [str(name) for name in likeness["sets"]]
    sets = [name for name in names if name in ("A1", "A2", "B", "C", "D")]
    return sets, [name for name in names if name not in sets]


def _write(figure: Any, out: Path) -> Path:
    write_bytes(out, svg_of(figure), mode=0o644)
    return out
