"""Curves in braille cells: a job's loss, its rate, how a figure went."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.text import Text

from appliance.jobs.store import Step
from appliance.tui.ink import ACCENT, FAINT, inked

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LOSS = re.compile(r"\bloss ([0-9.]+(?:e[+-]?\d+)?)")


def curve(points: Sequence[tuple[float, float]], columns: int, rows: int, name: str, unit: str = "") -> Text:
    """points (x, y) as a line in `rows` rows of cells, with its name, its last value, and the scale at its left."""
    if len(points) < 2:
        return inked(f"{name}: not enough yet to draw", FAINT)
    left = 9
    width, height = max(2 * (columns - left), 4), 4 * rows
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    span_x, span_y = (xs[-1] - xs[0]) or 1.0, (high - low) or 1.0
    cells = [[0] * (width // 2) for _ in range(rows)]
    before: tuple[int, int] | None = None
    for x, y in points:
        column = round((x - xs[0]) / span_x * (width // 2 * 2 - 1))
        row = round((high - y) / span_y * (height - 1))
        for c, r in _between(before or (column, row), (column, row)):
            cells[r // 4][c // 2] |= _DOTS[r % 4][c % 2]
        before = (column, row)
    text = Text.assemble((name, "bold"), f" {ys[-1]:.3g}{unit}", (f"  ({len(points)} points)\n", FAINT), no_wrap=True)
    for index, line in enumerate(cells):
        scale = high if index == 0 else low if index == rows - 1 else None
        text.append(f"{scale:>8.3g} " if scale is not None else " " * left, FAINT)
        text.append("".join(chr(0x2800 + dots) for dots in line), ACCENT)
        text.append("\n" if index < rows - 1 else "")
    return text


def losses(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """The loss over the steps of a training, as its notes tell it: (step, loss)."""
    found = [(step.done, _LOSS.search(step.note)) for step in steps]
    return [(float(done), float(match[1])) for done, match in found if match]


def rates(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """How fast a job went: (seconds, done a second), over stretches of a twentieth of its time."""
    if len(steps) < 3:
        return []
    stretch = max((steps[-1].seconds - steps[0].seconds) / 20, 2.0)
    found, before = [], steps[0]
    for step in steps[1:]:
        if step.total != before.total or step.done < before.done:
            before = step  # another stage of the work
        elif step.seconds - before.seconds >= stretch:
            found.append((step.seconds, (step.done - before.done) / (step.seconds - before.seconds)))
            before = step
    return found


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots from start to end."""
    count = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (round(start[0] + (end[0] - start[0]) * i / count), round(start[1] + (end[1] - start[1]) * i / count))
        for i in range(count + 1)
    ]
