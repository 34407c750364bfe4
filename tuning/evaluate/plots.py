"""The figures of a report, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.drawing import figure_of, svg_of
from tuning.evaluate.fairness import EVERYBODY, Estimate, GroupFigures

BEFORE, AFTER = "#9a6a3a", "#1f6f8b"


def groups_figure(rows: Sequence[GroupFigures], measure: str, title: str, names: tuple[str, str]) -> str:
    """Every group's mean with its interval, before (where there is one) and after, as one column of dots."""
    shown = [row for row in rows if measure in row.after]
    figure, axis = _figure(8.6, 0.9 + 0.25 * len(shown) + 0.12 * len({row.kind for row in shown}))
    places, labels, place, last = [], [], 0.0, ""
    for row in shown:
        place += 1.45 if row.kind != last and last else 1.0
        last = row.kind
        places.append(place)
        labels.append(
            f"{row.group} ({row.people})" if row.kind == EVERYBODY else f"{row.kind}: {row.group} ({row.people})"
        )
        if measure in row.before:
            _dot(axis, row.before[measure], place - 0.16, BEFORE)
        _dot(axis, row.after[measure], place + (0.16 if row.before else 0), AFTER)
    axis.set(
        yticks=places,
        yticklabels=labels,
        xlim=(-0.02, 1.02),
        xlabel=f"{title} (in brackets: people; lines: 95 % confidence intervals)",
    )
    axis.invert_yaxis()
    axis.grid(axis="x", color="0.9")
    _key(axis, names, any(row.before for row in shown))
    return _svg(figure)


def curves_figure(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Precision against recall, by overlap and model: {overlap: {model: 101 precisions}}."""
    figure, axes = _figure(8.6, 3.4, columns=len(curves))
    recall = np.linspace(0, 1, 101)
    for axis, (overlap, models) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        for (name, precision), color in zip(models.items(), _colours(len(models)), strict=True):
            axis.plot(recall, precision, color=color, lw=1.8, label=name)
        axis.set(
            title=f"boxes that overlap by {overlap}", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03)
        )
        axis.grid(color="0.92")
        axis.legend(fontsize=8, frameon=False, loc="lower left")
    return _svg(figure)


def densities_figure(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """How each person's scores are spread: {measure: {model: scores}}."""
    figure, axes = _figure(8.6, 3.2, columns=len(scores))
    for axis, (measure, models) in zip(np.atleast_1d(axes), scores.items(), strict=True):
        top = max(max((max(v) for v in models.values() if len(v)), default=1.0), 1e-6)
        edges = np.linspace(0, 1 if top <= 1 else top, 21)
        for (name, values), color in zip(models.items(), _colours(len(models)), strict=True):
            weights = np.full(len(values), 100 / max(len(values), 1))
            axis.hist(values, edges, weights=weights, histtype="stepfilled", facecolor=f"{color}33", edgecolor=color,
                      lw=1.6, label=name)  # fmt: skip
        axis.set(title=measure, xlabel=measure, ylabel="share of the people (%)")
        axis.legend(fontsize=8, frameon=False)
    return _svg(figure)


def features_figure(
    names: Sequence[str], groups: NDArray[np.intp], components: NDArray[np.floating], shares: NDArray[np.floating],
    neighbours: NDArray[np.floating], network: str,
) -> str:  # fmt: skip
    """Pictures in the network's feature space: groups (N,) index into names; components, neighbours (N, 2)."""
    figure, axes = _figure(8.6, 3.8, columns=2)
    for axis, points in zip(axes, (components, neighbours), strict=True):
        for group, (name, color) in enumerate(zip(names, (BEFORE, AFTER), strict=False)):
            chosen = points[groups == group]
            axis.scatter(*chosen.T, s=10, alpha=0.6, lw=0, color=color, label=f"{name} ({len(chosen)} pictures)")
        axis.legend(fontsize=8, frameon=False)
    axes[0].set(
        title=f"principal components of {network}'s features", xlabel=f"first ({shares[0]:.0%} of the variance)",
        ylabel=f"second ({shares[1]:.0%})",
    )  # fmt: skip
    axes[1].set(title="t-SNE of the same", xlabel="only nearness counts", xticks=[], yticks=[])
    return _svg(figure)


def _dot(axis: Any, found: Estimate, place: float, color: str) -> None:
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [place, place], color=color, lw=1.6, alpha=0.75, solid_capstyle="butt")
    axis.plot([found.mean], [place], "o", ms=4.5, color=color)


def _key(axis: Any, names: tuple[str, str], both: bool) -> None:
    shown = zip(names, (BEFORE, AFTER), strict=True) if both else [(names[1], AFTER)]
    handles = [axis.plot([], [], "o-", color=color, label=name)[0] for name, color in shown]
    axis.figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=9, frameon=False)


def _colours(count: int) -> tuple[str, ...]:
    return (BEFORE, AFTER) if count == 2 else (AFTER,) * count


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure, and its one axis or its row of them."""
    figure, axes = figure_of(1, columns, (width, height))
    for axis in axes[0]:
        axis.tick_params(labelsize=8.5)
        axis.title.set_fontsize(10)
    return figure, axes[0] if columns > 1 else axes[0][0]


def _svg(figure: Any) -> str:
    return svg_of(figure).decode()
