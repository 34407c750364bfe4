"""wardpose data check: what is wrong with a data set, before a training finds it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("data", help="look at data sets")
    kinds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    check = kinds.add_parser("check", parents=[common], help="list every fault of a data set")
    check.add_argument("place", type=Path, metavar="DIR", help="a data set, or a COCO file")
    check.add_argument("--images", type=Path, help="folder of the pictures (default: beside the file)")
    check.add_argument("--task", choices=("detect", "pose"), help="what it is to train (default: either)")
    check.set_defaults(run=check_data_set)


def check_data_set(options: argparse.Namespace, out: Output) -> int:
    from tuning.data_check import check_data

    with out.progress("checking") as progress:
        report = check_data(options.place.absolute(), options.images, task=options.task, progress=progress)
    for fault in report.faults:
        out.say(f"- {str(fault).removeprefix(f'{report.file}: ')}")
    for note in report.notes:
        out.say(f"  note: {note}")
    held = f"{report.images} pictures, {report.people} people, {report.with_keypoints} of them with keypoints"
    number = len(report.faults)
    wrong = "no fault" if report.ok else f"{number} fault{'s' if number > 1 else ''}"
    out.say(f"{report.file}: {wrong}; {held}")
    out.answer({"ok": report.ok} | report.model_dump())
    return 0 if report.ok else 1
