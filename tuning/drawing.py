"""Figures as SVG. The one module of this floor that imports matplotlib."""

from __future__ import annotations

import io
from typing import Any

from calibration.errors import WardposeError


def figure_of(rows: int, columns: int, inches: tuple[float, float], *, one_scale: bool = False) -> tuple[Any, Any]:
    """A figure, and its axes (rows, columns). one_scale: gains are read off the same scale in all of them."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise WardposeError("matplotlib is not installed", mend="pip install matplotlib") from error
    figure = Figure(figsize=inches, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey="all" if one_scale else "none")


def svg_of(figure: Any) -> bytes:
    """Letters as outlines: they look the same wherever they are opened; no date: the same figure is the same file."""
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "wardpose"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
