"""The data card's plots. The one module of this floor that imports matplotlib."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from runtime.skeleton import KEYPOINTS
from synth.labelled_set import LabelledSet
from synth.look.skin import MONK_SCALE
from synth.visibility import ABSENT, VISIBLE

COLORS = ("#2a6f97", "#d1495b")  # the set, the target
_SEEN, _HIDDEN, _OUTSIDE = "#2a6f97", "#a9cfe4", "#dddddd"
_LEVELS = (0.2, 0.4, 0.6, 0.8)  # shares of the people within the contours
_GRID = 80
Sets = Sequence[LabelledSet]


def plot_distributions(sets: Sets, out: Path) -> Path:
    """The set's distributions beside a target's (`sets` is one or two of them), as a PNG."""
    figure, axes = _figure(3, 4, (19, 13))
    for axis, draw in zip(axes.flat, _PANELS, strict=True):
        draw(axis, sets)
    _viewpoints(figure, axes.flat[len(_PANELS) - 1], sets)
    handles = [axes.flat[0].plot([], [], color=c, lw=3)[0] for c, _ in zip(COLORS, sets, strict=False)]
    figure.legend(handles, [_legend(found) for found in sets], loc="outside upper center", ncols=len(sets), fontsize=13)
    return _write(figure, out)


def plot_features(
    names: Sequence[str],
    groups: NDArray[np.intp],
    components: NDArray[np.floating],
    shares: NDArray[np.floating],
    neighbours: NDArray[np.floating],
    out: Path,
) -> Path:
    """Pictures in feature space: groups (N,) index into `names`; components, neighbours (N, 2); shares (2,)."""
    figure, (left, right) = _figure(1, 2, (14, 6.5))
    for axis, points in ((left, components), (right, neighbours)):
        for group, name in enumerate(names):
            chosen = points[groups == group]
            axis.scatter(*chosen.T, s=16, alpha=0.65, color=COLORS[group], label=f"{name} ({len(chosen)} pictures)")
        axis.legend()
    left.set(
        title="Principal components of the detector's features",
        xlabel=f"first component ({shares[0]:.0%} of the variance)",
        ylabel=f"second component ({shares[1]:.0%})",
    )
    right.set(title="t-SNE of the same features", xlabel="no unit: only nearness counts", xticks=[], yticks=[])
    return _write(figure, out)


def _figure(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise WardposeError("matplotlib is not installed", mend="pip install matplotlib") from error
    figure = Figure(figsize=inches, dpi=100, layout="constrained")
    return figure, figure.subplots(rows, columns)


def _write(figure: Any, out: Path) -> Path:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_bytes(out, drawn.getvalue())
    return out


def _legend(found: LabelledSet) -> str:
    return f"{found.name}: {len(found.images)} pictures, {len(found.people)} people"


def _boxes(axis: Any, sets: Sets) -> None:
    """The paper's figure 8: contours that hold 20 … 80 % of the people."""
    from scipy.stats import gaussian_kde

    grid = np.linspace(0, 1, _GRID)
    x, y = np.meshgrid(grid, grid)
    for found, color in zip(sets, COLORS, strict=False):
        sizes = {image["id"]: (image["width"], image["height"]) for image in found.images}
        shares = np.array([np.divide(a["bbox"][2:], sizes[a["image_id"]]) for a in found.people]).reshape(-1, 2)
        axis.scatter(*shares[:2000].T, s=4, alpha=0.15, color=color, lw=0)
        if len(shares) < 3 or np.linalg.matrix_rank(shares - shares.mean(0)) < 2:
            continue
        kernel = gaussian_kde(shares.T)
        height = np.sort(kernel(shares.T))
        levels = np.unique([np.quantile(height, 1 - share) for share in _LEVELS])
        axis.contour(x, y, kernel(np.stack([x.ravel(), y.ravel()])).reshape(x.shape), levels, colors=color)
    axis.plot([0, 1], [0, 1], color="0.8", lw=1, zorder=0)
    axis.set(
        title="Size of the visible box\n(contours hold 20, 40, 60, 80 % of the people)", xlim=(0, 1), ylim=(0, 1),
        xlabel="width, share of the picture", ylabel="height, share of the picture",
    )  # fmt: skip


def _counted(axis: Any, sets: Sets, key: str, order: Sequence[Any], labels: Sequence[str]) -> None:
    """Bars: which share of the people has each value of `key`."""
    width = 0.8 / len(sets)
    for number, (found, color) in enumerate(zip(sets, COLORS, strict=False)):
        counts = Counter(a.get(key) for a in found.people)
        total = sum(counts[value] for value in order)
        shares = [100 * counts[value] / max(total, 1) for value in order]
        places = np.arange(len(order)) + (number - (len(sets) - 1) / 2) * width
        axis.barh(places, shares, width, color=color)
    axis.set(xlabel="share of the people (%)", yticks=range(len(order)), yticklabels=labels)
    axis.invert_yaxis()


def _postures(axis: Any, sets: Sets) -> None:
    counts = Counter(a["posture"] for found in sets for a in found.people if a.get("posture"))
    order = [name for name, _ in counts.most_common()]
    _counted(axis, sets, "posture", order, [name.replace("_", " ") for name in order])
    axis.set(title="Posture")
    if not order:
        _nothing(axis)


def _skin_tones(axis: Any, sets: Sets) -> None:
    tones = list(range(1, 11))
    _counted(axis, sets, "skin_tone", tones, [str(tone) for tone in tones])
    axis.set(title="Skin tone (Monk scale)")
    for tone, color in zip(tones, MONK_SCALE, strict=True):
        axis.plot(-0.02, tone - 1, "s", ms=11, color=f"#{color}", mec="0.5", clip_on=False, transform=_left_of(axis))
    axis.tick_params(axis="y", pad=16, length=0)


def _left_of(axis: Any) -> Any:
    return axis.get_yaxis_transform()


def _histogram(axis: Any, sets: Sets, values: Any, edges: NDArray[np.floating], title: str, label: str) -> None:
    """Outlines of histograms; `values` gives one list of numbers a set."""
    drawn = False
    for found, color in zip(sets, COLORS, strict=False):
        numbers = values(found)
        if len(numbers):
            weights = np.full(len(numbers), 100 / len(numbers))
            axis.hist(
                np.clip(numbers, edges[0], edges[-1]), edges, weights=weights, histtype="stepfilled",
                facecolor=f"{color}40", edgecolor=color, lw=1.8,
            )  # fmt: skip
            drawn = True
    axis.set(title=title, xlabel=label, ylabel="share (%)")
    if not drawn:
        _nothing(axis)


def _of_people(key: str) -> Any:
    return lambda found: [a[key] for a in found.people if key in a]


def _ages(axis: Any, sets: Sets) -> None:
    _histogram(axis, sets, _of_people("age"), np.arange(0, 101, 5.0), "Age", "years")


def _bmi(axis: Any, sets: Sets) -> None:
    _histogram(axis, sets, _of_people("bmi"), np.arange(10, 46, 2.0), "Body mass index", "kg/m²")


def _coverage(axis: Any, sets: Sets) -> None:
    def covered(found: LabelledSet) -> list[float]:
        return [100 * a["blanket_coverage"] for a in found.people if a.get("blanket_coverage", 0) > 0]

    _histogram(axis, sets, covered, np.arange(0, 101, 5.0), "Under a blanket, of those who have one", "covered (%)")


def _visible_share(axis: Any, sets: Sets) -> None:
    def seen(found: LabelledSet) -> list[float]:
        return [100 * a["visible_share"] for a in found.people if "visible_share" in a]

    _histogram(axis, sets, seen, np.arange(0, 101, 5.0), "Visible part of a person", "of the whole outline (%)")


def _heights(axis: Any, sets: Sets) -> None:
    def longest(found: LabelledSet) -> list[float]:
        sizes = {image["id"]: max(image["width"], image["height"]) for image in found.images}
        return [100 * max(a["bbox"][2:]) / sizes[a["image_id"]] for a in found.people]

    _histogram(
        axis, sets, longest, np.arange(0, 101, 5.0), "Longer side of the box", "of the picture's longer side (%)"
    )


def _crowds(axis: Any, sets: Sets) -> None:
    def people(found: LabelledSet) -> list[int]:
        return [len(found.by_image.get(image["id"], [])) for image in found.images]

    most = max(max(people(found), default=0) for found in sets)
    edges = np.arange(min(most, 12) + 2) - 0.5
    _histogram(
        axis, sets, people, edges, "People in a picture", "people" if most <= 12 else "people (12 and more as 12)"
    )


def _keypoints(axis: Any, sets: Sets) -> None:
    """Stacked bars of the set alone: visible, hidden, outside the picture or not labelled."""
    values = np.array([a["keypoints"][2::3] for a in sets[0].people if a.get("keypoints")]).reshape(-1, len(KEYPOINTS))
    left = np.zeros(len(KEYPOINTS))
    for level, color, label in ((VISIBLE, _SEEN, "visible"), (1, _HIDDEN, "hidden"), (ABSENT, _OUTSIDE, "outside")):
        share = 100 * (values == level).mean(0) if len(values) else left
        axis.barh(np.arange(len(KEYPOINTS)), share, left=left, color=color, label=label)
        left = left + share
    axis.set(
        title=f"Keypoints of {sets[0].name}", xlabel="share of the people (%)", yticks=range(len(KEYPOINTS)),
        yticklabels=[name.replace("_", " ") for name in KEYPOINTS], xlim=(0, 100),
    )  # fmt: skip
    axis.invert_yaxis()
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9, frameon=False)


def _brightness(axis: Any, sets: Sets) -> None:
    def means(found: LabelledSet) -> list[float]:
        return [float(found.picture(image).mean()) / 2.55 for image in found.spread(200)]

    _histogram(axis, sets, means, np.arange(0, 101, 5.0), "Brightness of a picture", "mean of the pixels (%)")


def _left_empty(axis: Any, sets: Sets) -> None:
    """The place of the viewpoint plot, which is round."""
    axis.remove()


def _viewpoints(figure: Any, axis: Any, sets: Sets) -> None:
    """Where the cameras stood around the bed, seen from above: the angle is the azimuth, the radius the distance."""
    polar = figure.add_subplot(axis.get_subplotspec(), projection="polar")
    polar.set_theta_zero_location("S")  # the foot end at the bottom, the head at the top, as one stands before a bed
    polar.set_theta_direction(-1)
    points = None
    for found, marker in zip(sets, ("o", "^"), strict=False):
        views = np.array(
            [_view(image) for image in found.images if image.get("in_ward") and "camera_from_bed" in image]
        ).reshape(-1, 3)
        if len(views):
            points = polar.scatter(
                np.radians(views[:, 0]), views[:, 2], c=views[:, 1], s=9, marker=marker, cmap="viridis", vmin=0, vmax=90
            )
    polar.set_title("Viewpoint: azimuth, distance from the bed's centre (m)", pad=22)
    polar.set_rlabel_position(135)
    polar.tick_params(axis="x", pad=12)
    polar.set_xticks(np.radians([0, 90, 180, 270]), ["foot end", "patient's right", "head end", "patient's left"])
    if points is None:
        _nothing(polar)
    else:
        figure.colorbar(points, ax=polar, label="elevation (degrees)", shrink=0.7, pad=0.12)


def _view(image: dict[str, Any]) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees and distance in metres of the camera from the mattress's centre."""
    pose = np.asarray(image["camera_from_bed"])
    x, y, z = -pose[:3, :3].T @ pose[:3, 3]
    return (
        float(np.degrees(np.arctan2(-y, x))),
        float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
        float(np.sqrt(x * x + y * y + z * z)),
    )


def _nothing(axis: Any) -> None:
    axis.text(0.5, 0.5, "the labels do not say", ha="center", va="center", color="0.5", transform=axis.transAxes)


_PANELS = (
    _boxes, _postures, _skin_tones, _keypoints, _ages, _bmi, _coverage, _visible_share, _heights, _crowds, _brightness,
    _left_empty,
)  # fmt: skip
