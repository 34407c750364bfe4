"""Real candidates: files that are broken, and detectors trained here on pictures that make them good or bad."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibration.json_text import parse_json
from calibration.progress import Progress
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import load_scenario
from tuning.families.family import TuneSettings, tune
from tuning.gate.guards import SEED
from tuning.import_model import import_model

TRAINING_PICTURES = 240
_NOISE = 0.35  # of a box's size, on labels that are noisy


def broken_model(folder: Path, detector: Path, kind: str, rng: np.random.Generator) -> Path:
    """The detector's file with NaN in one of its weights (`NaN`) or cut off (`truncated`), in the last one's place."""
    import onnx
    from onnx import numpy_helper

    sidecar = detector.with_name(detector.name + ".json")
    out = folder / "broken.onnx"
    content = detector.read_bytes()
    if kind == "truncated":
        out.write_bytes(content[: int(len(content) * rng.uniform(0.01, 0.999))])
    else:
        model = onnx.load_from_string(content)
        weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
        tensor = weights[int(rng.integers(len(weights)))]
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[int(rng.integers(values.size))] = np.nan
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(model, str(out))
    if sidecar.is_file():
        out.with_name(out.name + ".json").write_bytes(sidecar.read_bytes())
    return out


def trained_models(
    folder: Path, detector: Path, files: Mapping[str, Path], progress: Progress | None
) -> Iterator[tuple[str, Path, int]]:
    """Kind, file and how many of the pictures it is judged by it was trained on: of detectors trained from `detector`.

    files: the annotations of the sets they are judged by. What `folder` holds already is not trained again.
    """
    models = folder / "trained"
    models.mkdir(parents=True, exist_ok=True)
    start = models / "start"
    if not start.exists():
        import_model(detector, models, "start")
    bedside = folder / "training"
    spec = DatasetSpec(scenario=load_scenario("C"), count=TRAINING_PICTURES, seed=7)
    make_dataset(spec, bedside, resume=bedside.exists(), progress=progress)
    elsewhere = folder / "elsewhere"  # people on their feet in rooms without a bed
    rooms = load_scenario("base").having(name="rooms", open_room_share=1.0, fallen_share=0.0)
    make_dataset(
        DatasetSpec(scenario=rooms, count=TRAINING_PICTURES, seed=SEED + 7), elsewhere, resume=elsewhere.exists(),
        progress=progress,
    )  # fmt: skip
    noisy = _noisy(bedside, folder / "noisy")
    held_out = next(iter(files.values())).parent
    pictures = len(parse_json((held_out / "annotations.json").read_bytes())["images"])
    recipes: dict[str, tuple[str, Path, TuneSettings, int]] = {
        "better": ("good", bedside, TuneSettings(epochs=3), 0),
        "label noise": ("noisy", noisy, TuneSettings(epochs=3), 0),
        "wrong viewpoint": ("elsewhere", elsewhere, TuneSettings(epochs=3, learning_rate=0.01), 0),
        "leaked frames": ("leaked", held_out, TuneSettings(epochs=4), pictures),
    }
    for kind, (name, data, settings, leaked) in recipes.items():
        out = models / name
        if not out.exists():
            tune(start, data, out, settings, progress)
        yield kind, _file(out), leaked
    rng = np.random.default_rng(SEED)
    for number in range(4):
        path = models / f"half-{number}.onnx"
        _half_noise(_file(models / "good"), path, rng.uniform(0.1, 0.6), rng)
        yield "half trained", path, 0


def _file(model: Path) -> Path:
    return next(model.glob("*.onnx"))


def _half_noise(source: Path, out: Path, share: float, rng: np.random.Generator) -> None:
    """The model with its convolutions `share` of the way to random weights of the same spread, as one that training has
    not yet brought far."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            values = numpy_helper.to_array(tensor)
            random = rng.normal(values.mean(), values.std(), values.shape)
            mixed = ((1 - share) * values + share * random).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(mixed, tensor.name))
    onnx.save(model, str(out))


def _noisy(data: Path, out: Path) -> Path:
    """The same pictures with labels that somebody drew in a hurry."""
    out.mkdir(exist_ok=True)
    if not (out / "images").exists():
        (out / "images").symlink_to((data / "images").absolute())
    content: dict[str, Any] = parse_json((data / "annotations.json").read_bytes())
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    rng = np.random.default_rng(SEED)
    for row in content["annotations"]:
        x, y, w, h = row["bbox"]
        (x1, y1, x2, y2) = (np.array([x, y, x + w, y + h]) + rng.normal(0, _NOISE, 4) * [w, h, w, h]).tolist()
        width, height = sizes[row["image_id"]]
        left, right = sorted(np.clip([x1, x2], 0, width).tolist())
        top, bottom = sorted(np.clip([y1, y2], 0, height).tolist())
        row["bbox"] = [left, top, max(right - left, 4.0), max(bottom - top, 4.0)]
        row["bbox"][:2] = min(left, width - 5), min(top, height - 5)
        row["area"] = 0.5 * row["bbox"][2] * row["bbox"][3]
    (out / "annotations.json").write_text(json.dumps(content))
    return out
