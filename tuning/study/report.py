"""What a study came to, as files: every table in one Markdown file, all figures, and all numbers as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.atomic import write_bytes
from tuning.study import figures
from tuning.study.findings import Change, Findings, change
from tuning.study.ledger import Study
from tuning.study.tables import Table, open_tables, paper_tables, sweeps, targeting_tables
from tuning.study.workshop import EVERYBODY

TABLES, NUMBERS = "tables.md", "study.json"


@dataclass(frozen=True, slots=True)
class Report:
    """The tables, the files they and the figures are in, and what all of it cost."""

    study: Study
    tables: list[Table]
    files: list[Path]

    def answer(self) -> dict[str, Any]:
        """Everything for a program."""
        return {
            "study": self.study.plan.name,
            "left_out": self.study.plan.left_out,
            "tables": [{"title": t.title, "columns": t.columns, "rows": t.rows, "note": t.note} for t in self.tables],
            "files": self.files,
            "cpu_minutes": round(sum(self.study.cpu_s.values()) / 60, 1),
            "minutes": round(sum(self.study.seconds.values()) / 60, 1),
            "cells": len(self.study.plan.cells),
        }


def write_report(study: Study, folder: Path) -> Report:
    """Write `tables.md`, `study.json` and the figures of a finished study into `folder`."""
    found = Findings(study)
    aimed = study.plan.name == "targeting"
    tables = targeting_tables(found) if aimed else [*paper_tables(found), *open_tables(found)]
    drawn = list(_targeting_figures(found, folder) if aimed else _protocol_figures(found, folder))
    report = Report(study, tables, [folder / TABLES, *drawn, folder / NUMBERS])
    write_bytes(folder / TABLES, markdown(report).encode(), mode=0o644)
    answer = report.answer() | {"files": [path.name for path in report.files]}
    write_bytes(folder / NUMBERS, json.dumps(answer, indent=1, ensure_ascii=False).encode() + b"\n", mode=0o644)
    return report


def markdown(report: Report) -> str:
    """The tables for a reader, and what they cost."""
    said = report.answer()
    lines = [
        f"# {said['study']}: {said['cells']} cells, "
        f"{said['cpu_minutes']:g} processor minutes in the runs that finished them",
        *(f"\nLeft out: {what}: {why}." for what, why in said["left_out"].items()),
    ]
    for table in report.tables:
        lines += ["", f"## {table.title}", "", _row(table.columns), _row(["---"] * len(table.columns))]
        lines += [_row(map(_cell, table.columns, row)) for row in table.rows]
        lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


def _targeting_figures(found: Findings, folder: Path) -> Iterator[Path]:
    detector = found.detectors()[0]
    arms: dict[str, dict[str, Change]] = {}
    for target in found.targets():
        for column in found.columns(target):
            before = found.boxes(detector, None, target, column)
            named = target if column == EVERYBODY else f"{target}: {column}"
            for arm in found.tuned_on(detector, target):
                arms.setdefault(arm, {})[named] = change(before, found.boxes(detector, arm, target, column))
    yield figures.targeting(arms, folder / "targeting.svg")


def _protocol_figures(found: Findings, folder: Path) -> Iterator[Path]:
    likeness = found.study.results["likeness"]
    yield figures.box_sizes(likeness, folder / "figure-8.svg")
    yield figures.components(likeness, folder / "figure-9.svg")
    yield figures.neighbours(likeness, folder / "figure-10.svg")
    if swept := sweeps(found):
        yield figures.sweeps(swept, folder / "sweeps.svg")


def _row(cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _cell(heading: str, value: object) -> str:
    """Three places behind the point; two digits of a p-value."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    if heading.startswith("p "):
        return f"{value:.2g}"
    return f"{value:g}" if value == int(value) else f"{value:.3f}".replace("-0.000", "0.000")
