"""ONNX's Resize in torch: every coordinate rule and rounding it has, for the two last axes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tuning.families.onnx_node import Node


def upsample(node: Node, values: list[Any]) -> Any:
    """Upsample, of opsets up to 9: Resize with asymmetric coordinates, rounded down."""
    scales = node.argument(values, 1, "scales")
    return _scaled(
        values[0], [float(s) for s in scales], None, node.attributes.get("mode", "nearest"), "asymmetric", "floor"
    )


def resize(node: Node, values: list[Any]) -> Any:
    """Resize of opsets 10 to 26, without cropping, cubic interpolation or antialiasing."""
    asked = node.attributes
    if asked.get("antialias", 0) or asked.get("exclude_outside", 0):
        raise NotImplementedError("a Resize with antialiasing or exclude_outside")
    if asked.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotImplementedError("a Resize that keeps the aspect ratio")
    x, mode = values[0], asked.get("mode", "nearest")
    if node.opset < 11:
        return _scaled(x, node.argument(values, 1), None, mode, "asymmetric", "floor")
    scales, sizes = node.argument(values, 2) or None, node.argument(values, 3) or None
    axes = [axis % x.ndim for axis in asked.get("axes", range(x.ndim))]
    if scales is not None:
        scales = [dict(zip(axes, scales, strict=True)).get(axis, 1.0) for axis in range(x.ndim)]
    if sizes is not None:  # batch and channels stay as they are, whatever a graph made for one picture says
        sizes = [dict(zip(axes, sizes, strict=True)).get(axis, x.shape[axis]) for axis in range(x.ndim)]
    rule = asked.get("coordinate_transformation_mode", "half_pixel")
    return _scaled(x, scales, sizes, mode, rule, asked.get("nearest_mode", "round_prefer_floor"))


def _scaled(x: Any, scales: list[float] | None, sizes: list[int] | None, mode: str, rule: str, rounding: str) -> Any:
    if x.ndim != 4 or mode not in ("nearest", "linear", "bilinear"):
        raise NotImplementedError(f"a Resize of the mode {mode!r} over {x.ndim} axes")
    if scales is not None:
        if any(s != 1 for s in scales[:2]):
            raise NotImplementedError("a Resize over channels")
        lengths, factors = [math.floor(n * s) for n, s in zip(x.shape[2:], scales[2:], strict=True)], scales[2:]
    else:
        assert sizes is not None
        lengths = [int(n) for n in sizes[2:]]
        factors = [n / old for n, old in zip(lengths, x.shape[2:], strict=True)]
    whole = all(f == int(f) and n == f * old for f, n, old in zip(factors, lengths, x.shape[2:], strict=True))
    if mode == "nearest":
        if whole and (rule, rounding) != ("align_corners", rounding) and rounding != "ceil":
            if rule in ("half_pixel", "pytorch_half_pixel") and rounding in ("round_prefer_floor", "round_prefer_ceil"):
                return F.interpolate(x, size=lengths, mode="nearest")
            if rule == "asymmetric" and rounding == "floor":
                return F.interpolate(x, size=lengths, mode="nearest")
        for axis, (length, factor) in enumerate(zip(lengths, factors, strict=True), start=2):
            places = _round(_source(x.shape[axis], length, factor, rule), rounding)
            x = x.index_select(axis, places.clamp(0, x.shape[axis] - 1).long().to(x.device))
        return x
    exact = all(n == old * f for f, n, old in zip(factors, lengths, x.shape[2:], strict=True))
    if rule == "align_corners" and min(lengths) > 1:
        return F.interpolate(x, size=lengths, mode="bilinear", align_corners=True)
    if exact and (rule == "half_pixel" or (rule == "pytorch_half_pixel" and min(lengths) > 1)):
        return F.interpolate(x, size=lengths, mode="bilinear", align_corners=False)
    for axis, (length, factor) in enumerate(zip(lengths, factors, strict=True), start=2):
        last = x.shape[axis] - 1
        place = _source(x.shape[axis], length, factor, rule).clamp(0, last)
        low = place.floor()
        shape = [1] * 4
        shape[axis] = length
        weight = (place - low).to(x.dtype).reshape(shape).to(x.device)
        first = x.index_select(axis, low.long().to(x.device))
        second = x.index_select(axis, (low + 1).clamp(0, last).long().to(x.device))
        x = first + (second - first) * weight
    return x


def _source(old: int, new: int, factor: float, rule: str) -> Any:
    """Where each new place lies in the old axis (float64)."""
    place = torch.arange(new, dtype=torch.float64)
    if rule == "half_pixel":
        return (place + 0.5) / factor - 0.5
    if rule == "pytorch_half_pixel":
        return (place + 0.5) / factor - 0.5 if new > 1 else torch.zeros_like(place)
    if rule == "asymmetric":
        return place / factor
    if rule == "align_corners":
        return place * (old - 1) / (new - 1) if new > 1 else torch.zeros_like(place)
    raise NotImplementedError(f"a Resize with the coordinates {rule!r}")


def _round(place: Any, rounding: str) -> Any:
    if rounding == "floor":
        return place.floor()
    if rounding == "ceil":
        return place.ceil()
    return (place - 0.5).ceil() if rounding == "round_prefer_floor" else (place + 0.5).floor()
