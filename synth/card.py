"""Looking at a data set: a contact sheet with its labels drawn, and a card of what it holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from runtime.skeleton import LIMBS
from synth.visibility import ABSENT, VISIBLE

_TILE_WIDTH, _GAP, _COLUMNS = 400, 6, 4
_BOX = ((255, 196, 0), (64, 200, 255), (255, 110, 160), (140, 230, 90))
_LEFT, _RIGHT, _MIDDLE = (80, 170, 255), (255, 120, 80), (240, 240, 240)
_LEFT_KEYPOINTS = frozenset((1, 3, 5, 7, 9, 11, 13, 15))


def contact_sheet(folder: Path, out_png: Path, count: int = 24) -> Path:
    """Draw up to `count` pictures, spread evenly over the data set, with visible boxes and skeletons, into a PNG.

    Full circles are visible keypoints, rings hidden ones; the patient's left is blue, the right orange.
    Raises WardposeError where the COCO file or a picture is missing or broken.
    """
    images, by_image = _read(folder)
    picked = [
        images[i] for i in np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    ]
    tiles = [_tile(_load(folder, image), by_image.get(image["id"], [])) for image in picked]
    columns = min(_COLUMNS, len(tiles))
    height = max(tile.shape[0] for tile in tiles)
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (_TILE_WIDTH + _GAP) + _GAP, 3), 24, np.uint8)
    for position, tile in enumerate(tiles):
        y = _GAP + position // columns * (height + _GAP)
        x = _GAP + position % columns * (_TILE_WIDTH + _GAP)
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    ok, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not ok:
        raise WardposeError("the contact sheet could not be encoded", where=str(out_png))
    write_bytes(out_png, data.tobytes())
    return out_png


def data_card(folder: Path) -> dict[str, Any]:
    """What the data set holds: pictures, people, postures, looks and sizes. Raises WardposeError as `contact_sheet`."""
    images, by_image = _read(folder)
    people = [annotation for group in by_image.values() for annotation in group]
    areas = {image["id"]: image["width"] * image["height"] for image in images}
    heights = [annotation["bbox"][3] for annotation in people]
    shares = [annotation["bbox"][2] * annotation["bbox"][3] / areas[annotation["image_id"]] for annotation in people]
    visible = Counter(v for annotation in people for v in annotation.get("keypoints", [])[2::3])
    return {
        "images": len(images),
        "people": len(people),
        "people_per_image": _counts(len(by_image.get(image["id"], [])) for image in images),
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


def write_card(folder: Path) -> Path:
    """Write `card.json` and a readable `card.md` into the data set's folder; returns the latter."""
    card = data_card(folder)
    write_bytes(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False).encode() + b"\n")
    lines = [f"# Data card: {folder.name}", "", f"{card['images']} synthetic pictures, {card['people']} people.", ""]
    lines += ["| what | |", "|---|---|"]
    for name, value in card.items():
        text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        lines.append(f"| {name.replace('_', ' ')} | {text} |")
    path = folder / "card.md"
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path


def _counts(values: Iterable[Any]) -> dict[str, int]:
    return {
        str(name): number for name, number in sorted(Counter(values).items(), key=lambda item: str(item[0]).zfill(3))
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"5 %": round(float(low), 3), "median": round(float(middle), 3), "95 %": round(float(high), 3)}


def _read(folder: Path) -> tuple[list[dict[str, Any]], dict[int, list[dict[str, Any]]]]:
    path = Path(folder) / "annotations.json"
    try:
        content = json.loads(path.read_bytes())
        images = list(content["images"])
        by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    except FileNotFoundError:
        raise WardposeError(
            "holds no annotations.json", where=str(folder), mend="finish the data set with --resume"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise WardposeError(f"is no COCO file: {error}", where=str(path), mend="make the data set again") from None
    if not images:
        raise WardposeError("names no pictures", where=str(path), mend="make the data set again")
    missing = [image["file_name"] for image in images if not _image_path(folder, image).is_file()]
    if missing:
        raise WardposeError(
            f"{len(missing)} of {len(images)} pictures are missing, the first is {missing[0]}", where=str(path),
            mend="put them back, or go on with --resume",
        )  # fmt: skip
    return images, by_image


def _image_path(folder: Path, image: dict[str, Any]) -> Path:
    """COCO's file names are relative to the folder of pictures; some sets write them relative to the JSON file."""
    inside = Path(folder) / "images" / image["file_name"]
    return inside if inside.is_file() else Path(folder) / image["file_name"]


def _load(folder: Path, image: dict[str, Any]) -> NDArray[np.uint8]:
    path = _image_path(folder, image)
    color = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if color is None:
        raise WardposeError("is no picture", where=str(path), mend="make it again with --resume")
    return np.asarray(cv2.cvtColor(color, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _tile(color: NDArray[np.uint8], annotations: list[dict[str, Any]]) -> NDArray[np.uint8]:
    scale = _TILE_WIDTH / color.shape[1]
    size = (_TILE_WIDTH, max(1, round(color.shape[0] * scale)))
    tile = cv2.resize(color, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for number, annotation in enumerate(annotations):
        draw_person(tile, annotation, scale, _BOX[number % len(_BOX)])
    return np.asarray(tile, dtype=np.uint8)


def draw_person(
    canvas: NDArray[np.uint8], annotation: dict[str, Any], scale: float = 1.0, box_color: tuple[int, int, int] = _BOX[0]
) -> None:
    """Draw one COCO annotation onto an RGB picture (H, W, 3), in place; `scale` canvas pixels a label pixel."""
    x, y, w, h = (value * scale for value in annotation["bbox"])
    cv2.rectangle(canvas, (round(x), round(y)), (round(x + w), round(y + h)), box_color, 1, cv2.LINE_AA)
    name = str(annotation.get("posture", ""))
    cv2.putText(
        canvas, name, (round(x) + 2, max(round(y) - 3, 9)), cv2.FONT_HERSHEY_SIMPLEX, 0.33, box_color, 1, cv2.LINE_AA
    )
    keypoints = np.asarray(annotation.get("keypoints", []), dtype=np.float64).reshape(-1, 3)
    if not len(keypoints):
        return
    points = [(round(px * scale), round(py * scale)) for px, py in keypoints[:, :2]]
    for a, b in LIMBS:
        if keypoints[a, 2] != ABSENT and keypoints[b, 2] != ABSENT:
            cv2.line(canvas, points[a], points[b], _side(a, b), 1, cv2.LINE_AA)
    for k, point in enumerate(points):
        if keypoints[k, 2] != ABSENT:
            cv2.circle(canvas, point, 2, _side(k, k), -1 if keypoints[k, 2] == VISIBLE else 1, cv2.LINE_AA)


def _side(a: int, b: int) -> tuple[int, int, int]:
    left = (a in _LEFT_KEYPOINTS) + (b in _LEFT_KEYPOINTS)
    return _LEFT if left == 2 else _RIGHT if left == 0 and 0 not in (a, b) else _MIDDLE
