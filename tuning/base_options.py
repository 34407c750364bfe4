"""What can be asked of the making of a base model, on either command line; nothing heavy is loaded here."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError

# What a base model can be for, and what it is called.
TASKS = {"detector": "person-detector", "pose": "person-pose"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `wardpose base` and of `python -m tuning.base`."""
    parser.add_argument("task", choices=tuple(TASKS), help="what it is to find")
    parser.add_argument("--data", type=Path, help="COCO folder of synthetic images (default: one is made)")
    parser.add_argument("--images", type=int, help="images to make, or to use of --data (default: 6000, or all)")
    parser.add_argument("--epochs", type=int, default=30, help="times through the images (default 30)")
    parser.add_argument("--minutes", type=float, help="end the training cleanly within this time")
    parser.add_argument("--size", type=int, help="longer side of the model's input, pixels")
    parser.add_argument("--batch", type=int, help="images of one step (default: the model's own)")
    parser.add_argument("--rate", type=float, help="learning rate (default: the model's own)")
    parser.add_argument("--seed", type=int, default=1, help="of the images and of the training (default 1)")
    parser.add_argument("--threads", type=int, help="default: one a core")
    parser.add_argument("--bfloat16", action="store_true", help="faster where the processor has bfloat16")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--score", action="append", default=[], metavar="NAME=COCO.json[:IMAGES]", help="a further set for the card"
    )


def options_from(given: Mapping[str, Any]) -> argparse.Namespace:
    """The options of `add_options` as they would be had they been typed: what is `given`, and the defaults."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args([str(given["task"])])
    for name, value in given.items():
        if hasattr(options, name) and value is not None:
            setattr(options, name, Path(value) if name == "data" else value)
    return options


def absolute_set(text: str) -> str:
    """The same set of `evaluation_set` for a process with another working folder."""
    name, (annotations, images_dir) = evaluation_set(text)
    return f"{name}={annotations.absolute()}" + (f":{images_dir.absolute()}" if images_dir else "")


def evaluation_set(text: str) -> tuple[str, tuple[Path, Path | None]]:
    """A set to score on, from NAME=COCO.json or NAME=COCO.json:IMAGES; a folder stands for its annotations.json."""
    name, _, place = text.partition("=")
    annotations, _, images_dir = place.partition(":")
    if not name or not annotations:
        raise WardposeError(f"--score {text!r} names no set", mend="write NAME=COCO.json or NAME=COCO.json:IMAGES")
    file = Path(annotations)
    if file.is_dir():
        file /= "annotations.json"
    return name, (file, Path(images_dir) if images_dir else None)
