"""What the gate decided, and by which figures, as text for a screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from appliance.models.in_use import KINDS
from appliance.tui.ink import BAD, FAINT, GOOD
from appliance.tui.job_words import change_words
from appliance.tui.widgets import when

# As the evaluation names them, and as a person reads them.
FIGURES = {
    "person_score": "person score",
    "AP": "AP",
    "AP50": "AP50",
    "AR": "AR",
    "keypoints_mean_oks": "mean OKS",
    "keypoints_AP": "OKS AP",
    "keypoints_AP50": "OKS AP50",
}


def verdict_text(row: Mapping[str, Any]) -> Text:
    """One decision of `ModelStore.promotions`: what went live or not, the figures before and after, the reasons."""
    reasons = row["reasons"]
    before, after = reasons.get("before", {}), reasons.get("after", {})
    if "rollback" in reasons:
        went, colour = "was put back", GOOD
    else:
        went, colour = ("went live", GOOD) if row["accepted"] else ("was refused", BAD)
    text = Text.assemble(f"{KINDS[row['task']].capitalize()} ", (row["model"], "bold"), " ", (went, colour))
    if (change := change_words(before, after)) and "rollback" not in reasons:
        text.append(f": {change}")
    text.append(f" ({when(row['at'])}, {row['who']})\n", FAINT)
    if row["previous"] and row["previous"] != row["model"]:
        text.append(f"  {'before it' if row['accepted'] else 'in use stays'}: {row['previous']}\n", FAINT)
    for name, said in FIGURES.items():
        if name in before and name in after:
            change = after[name] - before[name]
            text.append(f"  {said:<14}{before[name]:6.3f} → {after[name]:.3f}  ")
            text.append(f"{change:+.3f}\n", GOOD if change >= 0 else BAD)
    if "rollback" in reasons:
        text.append(f"  rolled back: {reasons['rollback']}\n")
    for reason in reasons.get("reasons", []):
        text.append(f"  - {reason}\n", BAD if reason.startswith("failed") else "")
    return text


def sets_table(evidence: Mapping[str, Any]) -> Table | None:
    """How both models did on each set of pictures that the gate judged them by; None where none is told."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=FAINT)
    for column in ("judged on", "figure", "in use", "judged", "change"):
        table.add_column(column, justify="left" if column in ("judged on", "figure") else "right")
    for label, found in (evidence.get("sets") or {}).items():
        before, after = found.get("before") or {}, found.get("after") or {}
        for name, said in FIGURES.items():
            if name in after:
                old, new = before.get(name), after[name]
                change = Text("") if old is None else Text(f"{new - old:+.3f}", GOOD if new >= old else BAD)
                table.add_row(label, said, "–" if old is None else f"{old:.3f}", f"{new:.3f}", change)
                break
    return table if table.row_count else None


def figures_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table | None:
    """The figures that two models were compared by; None where there are none."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=FAINT)
    for column in ("figure", "in use", "judged", "change"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, said in FIGURES.items():
        if name in after:
            old, new = before.get(name), after[name]
            change = Text("") if old is None else Text(f"{new - old:+.3f}", GOOD if new >= old else BAD)
            table.add_row(said, "–" if old is None else f"{old:.3f}", f"{new:.3f}", change)
    return table if table.row_count else None
