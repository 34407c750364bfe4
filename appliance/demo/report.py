"""What a demo came to: the answer for a program, the table for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appliance.demo.teller import Teller

BOX_FIGURES = ("AP", "AP50", "AR", "person_score")
KEYPOINT_FIGURES = ("AP", "AP50", "AP_visible", "mean_oks")


def answer_of(figures: list[dict[str, Any]], results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What `wardpose demo --json` answers."""
    return {
        "ok": all(figure["ok"] for figure in figures),
        "total_s": round(sum(figure["seconds"] for figure in figures), 2),
        "stages": figures,
        "before": _figures(results["before"]),
        "after": _figures(results["after"]),
        "live": {key: results["live"][key] for key in ("fps", "p50_ms", "p99_ms", "engine")},
        "calibration": results["calibrate"],
        "export_max_error": results["export"].get("max_error"),
        "promoted": {task: decision["accepted"] for task, decision in results["gate"].items()},
        "pictures": results["pictures"]["pictures"],
    }


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    answer = {key: found[key] for key in BOX_FIGURES}
    if found.get("keypoints"):
        answer["keypoints"] = {key: found["keypoints"][key] for key in KEYPOINT_FIGURES}
    return answer


def tell(out: Teller, answer: dict[str, Any], results: dict[str, dict[str, Any]], titles: Mapping[str, str]) -> None:
    """Show a person what came of each stage. titles: the stages' by name."""
    notes = _notes(answer, results)
    out.say("")
    out.table(
        ("stage", "seconds", "what came of it"),
        [(titles[f["name"]], f["seconds"], notes.get(f["name"], "")) for f in answer["stages"]],
    )
    out.say("")
    skeletons = "keypoints" in answer["before"]
    rows = []
    for label in ("before", "after"):
        found, models = answer[label], results[label]["models"]
        row: tuple[Any, ...] = (f"{label}: {models['detect']}", *(found[key] for key in BOX_FIGURES))
        rows.append(
            (*row, models["pose"], *(found["keypoints"][key] for key in KEYPOINT_FIGURES)) if skeletons else row
        )
    titles_of = ("boxes on held-out frames", *BOX_FIGURES)
    out.table(
        (*titles_of, "skeletons", "OKS AP", "OKS AP50", "of visible joints", "mean OKS") if skeletons else titles_of,
        rows,
    )
    if not skeletons:
        from appliance.models.fetch import without

        out.say(f"no skeletons: this box has no pose model, and {without()}; mend: wardpose models fetch")
    out.say("")
    out.say(f"{answer['total_s']:.0f} s in all. Look at:")
    for picture in answer["pictures"]:
        out.say(f"  {picture}")


def _notes(answer: dict[str, Any], results: dict[str, dict[str, Any]]) -> dict[str, str]:
    seen, found, live = results["camera"], answer["calibration"], answer["live"]
    return {
        "camera": f"{seen['width']}×{seen['height']}, depth {seen['depth']}, {seen['fps']:.1f} frames/s",
        "calibrate": f"{found['rotation_error_deg']:.2f}° and {found['camera_error_mm']:.0f} mm from the truth",
        "synth": f"{results['synth']['images']} images",
        "held-out": f"{results['held-out']['images']} frames, {results['held-out']['people']} people",
        "before": _scores(answer["before"]),
        "after": _scores(answer["after"]),
        "tune": _sized(results["tune"]),
        "tune-pose": _sized(results["tune-pose"]) if results["tune-pose"]["model"] else "no pose model on this box",
        "export": f"differs by {answer['export_max_error']:.1e} of an output's range",
        "gate": "; ".join(f"{made['model']}: {_decision(made)}" for made in results["gate"].values()),
        "live": f"{live['fps']:.1f} frames/s, {live['p50_ms']:.0f} ms (p99 {live['p99_ms']:.0f}), {live['engine']}",
        "pictures": f"{len(answer['pictures'])} pictures",
    }


def _scores(found: dict[str, Any]) -> str:
    skeletons = f", OKS AP {found['keypoints']['AP']:.3f}" if "keypoints" in found else ""
    return f"person score {found['person_score']:.3f}{skeletons}"


def _sized(tuned: dict[str, Any]) -> str:
    return f"from {tuned['base']}, {tuned['images']} images at {tuned['width']}×{tuned['height']}"


def _decision(made: dict[str, Any]) -> str:
    return "promoted" if made["accepted"] else _refusal(made["reasons"])


def _refusal(reasons: list[str]) -> str:
    failed = [reason.removeprefix("failed: ") for reason in reasons if reason.startswith("failed")]
    return f"refused: {'; '.join(failed) or '; '.join(reasons)}"
