"""What the gate decided, and by which figures, as text for a screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from appliance.models.in_use import KINDS
from appliance.tui.widgets import BAD, FAINT, GOOD, when

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
