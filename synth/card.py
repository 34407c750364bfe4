"""The data card: what a data set holds, in numbers and in plots, beside a target's where one is given."""

from __future__ import annotations

import base64
import html
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibration.atomic import write_bytes
from synth.labelled_set import LabelledSet
from synth.visibility import ABSENT, VISIBLE

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}"
    "img{max-width:100%}table{border-collapse:collapse}td,th{padding:.25em 1em .25em 0;text-align:left;"
    "vertical-align:top;border-bottom:1px solid #ddd}h2{margin-top:2em}"
)


def data_card(found: LabelledSet) -> dict[str, Any]:
    """What the data set holds: pictures, people, postures, looks and sizes."""
    people = found.people
    areas = {image["id"]: image["width"] * image["height"] for image in found.images}
    heights = [annotation["bbox"][3] for annotation in people]
    shares = [annotation["bbox"][2] * annotation["bbox"][3] / areas[annotation["image_id"]] for annotation in people]
    visible = Counter(v for annotation in people for v in annotation.get("keypoints", [])[2::3])
    return {
        "images": len(found.images),
        "people": len(people),
        "people_per_image": _counts(len(found.by_image.get(image["id"], [])) for image in found.images),
        "postures": _counts(a.get("posture", "unknown") for a in people),
        "skin_tones": _counts(a.get("skin_tone", "unknown") for a in people),
        "sex": _counts(a.get("sex", "unknown") for a in people),
        "age_years": _spread([a["age"] for a in people if "age" in a]),
        "bmi": _spread([a["bmi"] for a in people if "bmi" in a]),
        "under_a_blanket": sum(a.get("blanket_coverage", 0) > 0 for a in people),
        "box_height_px": _spread(heights),
        "box_share_of_picture": _spread(shares),
        "keypoints": {"visible": visible[VISIBLE], "hidden": visible[VISIBLE - 1], "outside": visible[ABSENT]},
    }


def write_card(
    found: LabelledSet, out: Path, pictures: Mapping[str, Path], target: LabelledSet | None = None
) -> dict[str, Any]:
    """Write `card.json` and `card.html` (one file that holds its `pictures`, by heading) into the folder `out`."""
    card: dict[str, Any] = {"set": data_card(found)}
    if target is not None:
        card["target"] = data_card(target)
    write_bytes(out / "card.json", json.dumps(card, indent=1, ensure_ascii=False).encode() + b"\n")
    title = f"Data card: {html.escape(found.name)}"
    names = [found.name] + ([target.name] if target else [])
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th>{name.replace('_', ' ')}</th>{''.join(f'<td>{_text(c[name])}</td>' for c in card.values())}</tr>"
        for name in card["set"]
    )
    shown = "".join(
        f'<h2>{html.escape(heading)}</h2><img alt="{html.escape(heading)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}">'
        for heading, path in pictures.items()
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><table><tr><th></th>{head}</tr>{rows}</table>{shown}</html>\n"
    )
    write_bytes(out / "card.html", page.encode())
    return card


def _text(value: Any) -> str:
    text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    return html.escape(text.replace("_", " "))


def _counts(values: Iterable[Any]) -> dict[str, int]:
    return {
        str(name): number for name, number in sorted(Counter(values).items(), key=lambda item: str(item[0]).zfill(3))
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"5 %": round(float(low), 3), "median": round(float(middle), 3), "95 %": round(float(high), 3)}
