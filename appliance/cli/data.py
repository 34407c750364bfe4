"""wardpose data check, turn: what is wrong with a data set, before a training finds it; the paper's set A."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("data", help="look at data sets, and turn one")
    kinds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    check = kinds.add_parser("check", parents=[common], help="list every fault of a data set")
    check.add_argument("place", type=Path, metavar="DIR", help="a data set, or a COCO file")
    check.add_argument("--images", type=Path, help="folder of the pictures (default: beside the file)")
    check.add_argument("--task", choices=("detect", "pose"), help="what it is to train (default: either)")
    check.set_defaults(run=check_data_set)
    turn = kinds.add_parser(
        "turn", parents=[common], help="make a data set of turned pictures: the paper's set A, from COCO's people"
    )
    turn.add_argument("place", type=Path, metavar="DIR", help="a COCO folder, or a COCO file")
    turn.add_argument("--images", type=Path, help="folder of the pictures (default: beside the file)")
    turn.add_argument("--out", type=Path, required=True, help="the folder to make")
    turn.add_argument("--count", type=int, help="pictures, drawn from those with people (default: each once)")
    turn.add_argument("--least", type=float, default=70.0, metavar="DEG", help="smallest turn to either side")
    turn.add_argument("--most", type=float, default=110.0, metavar="DEG", help="largest turn to either side")
    turn.add_argument("--seed", type=int, default=0, help="the same seed makes the same set")
    turn.set_defaults(run=turn_data_set)


def turn_data_set(options: argparse.Namespace, out: Output) -> int:
    from pydantic import ValidationError

    from calibration.errors import WardposeError
    from tuning.turned import TurnSettings, turn_data

    try:
        settings = TurnSettings(least_deg=options.least, most_deg=options.most, count=options.count, seed=options.seed)
    except ValidationError as error:
        first = error.errors()[0]
        what = ": ".join([*(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")])
        raise WardposeError(what, where="wardpose data turn", mend="see its --help") from None
    file = options.place / "annotations.json" if options.place.is_dir() else options.place
    with out.progress("turning") as progress:
        count = turn_data(file.absolute(), options.images, options.out.absolute(), settings, progress)
    out.say(f"{count} pictures, turned by {options.least:g} to {options.most:g}° to either side, in {options.out}")
    out.answer({"ok": True, "images": count, "out": str(options.out.absolute())} | settings.model_dump())
    return 0


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
