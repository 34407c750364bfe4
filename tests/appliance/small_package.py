"""A package of the models a box starts with, with small graphs of the same inputs and outputs in place of the real."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.tuning.tfjs_files import convolution, node, picture, write_graph
from tuning.pretrained import PACKAGE_LICENCE, PRETRAINED


def heads_of_movenet(folder: Path, name: str, side: int) -> None:
    """A graph with MoveNet's input and outputs, and one convolution for each."""
    rng = np.random.default_rng(side)
    channels = {"heatmap": 17, "regression": 34, "centre": 1, "offset": 34}
    weights = {f"{head}/weight": rng.normal(size=(4, 4, 3, n)).astype(np.float32) for head, n in channels.items()}
    outputs = PRETRAINED[name].outputs
    steps = [convolution(outputs[head], "input", f"{head}/weight", stride=4) for head in channels]
    write_graph(folder, [picture(1, side, side, 3), *steps], weights, name=name, half=True)


def heads_of_nanodet(folder: Path, activation: str = "Sigmoid") -> None:
    rng = np.random.default_rng(8)
    constants: dict[str, Any] = {
        "to": np.array([0, 2, 3, 1], np.int32),
        "fro": np.array([0, 3, 1, 2], np.int32),
        "last": np.array([0, 2, 1], np.int32),
    }
    steps = [picture(1, 3, 416, 416), node("Transpose", "seen", "input", "to")]
    for output, target in PRETRAINED["nanodet"].outputs.items():
        kind, stride = output.split("_")
        channels = 80 if kind == "scores" else 44
        constants[f"{output}/weight"] = rng.normal(size=(1, 1, 3, channels)).astype(np.float32)
        constants[f"{output}/shape"] = np.array([1, channels, -1], np.int32)
        steps += [
            convolution(f"{output}/conv", "seen", f"{output}/weight", stride=int(stride)),
            node("Transpose", f"{output}/first", f"{output}/conv", "fro"),
            node(activation if kind == "scores" else "Identity", f"{output}/active", f"{output}/first"),
            node("Reshape", f"{output}/flat", f"{output}/active", f"{output}/shape"),
            node("Transpose", f"{output}/rows", f"{output}/flat", "last"),
            node("Identity", target, f"{output}/rows"),
        ]
    write_graph(folder, steps, constants, name="nanodet", half=True)


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def package_files(folder: Path, **nanodet: Any) -> dict[str, bytes]:
    """The members of a package with small graphs in the places of the real ones."""
    folder.mkdir()
    heads_of_nanodet(folder, **nanodet)
    heads_of_movenet(folder, "movenet-thunder", 256)
    heads_of_movenet(folder, "movenet-lightning", 192)
    members = [member for model in PRETRAINED.values() for member in model.members]
    files = {"package/index.js": b"throw 'run';", PACKAGE_LICENCE: b"MIT"}
    return files | {member: (folder / Path(member).name).read_bytes() for member in members}
