"""wardpose synth, poses, preview, tune, evaluate, export, promote, rollback, base: a better model for this bedside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from appliance.cli.asking import add_reason, carry_out
from appliance.cli.output import Output
from calibration.errors import WardposeError
from tuning.base_options import absolute_set, add_options


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    synth = commands.add_parser("synth", parents=[common], help="make training images for this viewpoint")
    synth.add_argument(
        "--scenario", default="site", help="site (the calibrated viewpoint), B, C, D, base, or a TOML file"
    )
    synth.add_argument("--count", type=int, help="number of images (default: the site's setting)")
    synth.add_argument("--seed", type=int, help="the same seed makes the same images (default: the site's setting)")
    synth.add_argument("--out", type=Path, help="folder (default: in the site folder)")
    synth.add_argument(
        "--renderer", default="numba", help="numba (default, needs nothing), moderngl (OpenGL by EGL) or pyrender"
    )
    synth.add_argument("--resume", action="store_true", help="go on with a folder that was cut off")
    synth.add_argument("--depth", action="store_true", help="write depth too: 16-bit PNG, mm, as a Kinect measures it")
    synth.add_argument("--infrared", action="store_true", help="write the depth camera's infrared picture too")
    synth.set_defaults(run=make_images)
    poses = commands.add_parser(
        "poses", parents=[common], help="settle fresh in-bed poses by physics into a bank for a scenario's pose_bank"
    )
    poses.add_argument("--count", type=int, default=2100, help="number of poses")
    poses.add_argument("--seed", type=int, default=1, help="the same seed makes the same poses")
    poses.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bank, an .npz file")
    poses.set_defaults(run=settle_poses)
    preview = commands.add_parser("preview", parents=[common], help="draw a data set's labels and write its data card")
    preview.add_argument("folder", type=Path, metavar="DIR", help="a data set, or a COCO file")
    preview.add_argument("--target", type=Path, metavar="DIR|COCO.json", help="another set to show beside it")
    preview.add_argument("--out", type=Path, metavar="DIR", help="folder (default: in the site's pictures)")
    preview.add_argument("--count", type=int, default=24, help="number of images on the contact sheet")
    preview.add_argument("--detector", help="model whose features place the pictures (default: the live one)")
    preview.set_defaults(run=preview_data_set)
    tune = commands.add_parser("tune", parents=[common], help="tune a model on a data set")
    tune.add_argument("--model", help="the model to start from (default: the site's setting for the task)")
    tune.add_argument("--task", choices=("detect", "pose"), help="what is tuned (default: what --model is for)")
    tune.add_argument("--data", type=Path, help="data set (default: the newest)")
    tune.add_argument("--name", help="name of the tuned model")
    tune.add_argument(
        "--recipe", choices=("wardpose", "paper"), default="wardpose",
        help="whose numbers hold where none is said: ours, which forget the least, or the paper's",
    )  # fmt: skip
    tune.add_argument("--epochs", type=int, help="times through the pictures (default: the recipe's)")
    tune.add_argument("--minutes", type=float, help="end the training cleanly within this time")
    tune.add_argument("--batch", type=int, help="images of one step (default: the recipe's)")
    tune.add_argument("--rate", type=float, help="learning rate (default: the recipe's)")
    tune.add_argument(
        "--final-rate", type=float, help="learning rate at its pre-training's end: the paper's is a tenth of it"
    )
    tune.add_argument("--final-batch", type=int, help="images of a step of that pre-training (default: 16)")
    tune.add_argument("--seed", type=int, help="of the pictures' order and of what is changed in them")
    tune.add_argument("--processes", type=int, help="that train together (default: one for each GPU, else one)")
    tune.add_argument("--size", metavar="W×H", help="input of a detector, pixels (default: fits the pictures)")
    tune.set_defaults(run=tune_model)
    evaluate = commands.add_parser("evaluate", parents=[common], help="score a model on labelled pictures (COCO JSON)")
    evaluate.add_argument("--model", help="default: the one that is live")
    evaluate.add_argument("--data", type=Path, required=True, metavar="COCO.json", help="the labels")
    evaluate.add_argument("--images", type=Path, help="folder of the pictures (default: beside the file)")
    evaluate.add_argument("--keypoints", action="store_true", help="score the pose model as well")
    evaluate.add_argument("--pose", help="pose model for --keypoints (default: the one that is live)")
    evaluate.add_argument(
        "--boxes",
        choices=("truth", "detected"),
        help="whose boxes the skeletons are looked for in (default: detected; a pose model as --model: truth)",
    )
    evaluate.add_argument(
        "--turn", type=int, choices=(0, 90, 180, 270), default=0, help="turn every picture clockwise by so many degrees"
    )
    evaluate.add_argument("--size", metavar="W×H", help="input of the detector, pixels (default: the model's own)")
    evaluate.add_argument("--groups", action="store_true", default=None, help="by group of people, with intervals")
    evaluate.add_argument(
        "--against",
        metavar="MODEL",
        help="the model to compare with (default: the one it was tuned from, or the live one)",
    )
    evaluate.add_argument("--report", type=Path, metavar="FILE.html", help="write it as one page that opens offline")
    evaluate.add_argument(
        "--pictures", action="store_true", default=None, help="pictures in the report though they show real people"
    )
    evaluate.add_argument(
        "--features", type=Path, metavar="FILE.onnx", help="network that places the report's pictures, such as VGG16"
    )
    evaluate.set_defaults(run=evaluate_model)
    export = commands.add_parser("export", parents=[common], help="write a model in the form the live path loads")
    export.add_argument("--model", required=True, help="a model of this site")
    export.add_argument("--size", metavar="W×H", help="input of a detector, pixels (default: the model's own)")
    export.add_argument("--engine", choices=("onnx", "tensorrt"), default="onnx", help="what for (default: onnx)")
    export.set_defaults(run=export_model)
    promote = commands.add_parser("promote", parents=[common], help="let the gate decide whether a model goes live")
    promote.add_argument("name", metavar="NAME", help="a model of this site")
    promote.add_argument(
        "--data", type=Path, metavar="COCO.json", help="held-out pictures (default: simulated ones of this site)"
    )
    promote.add_argument("--images", type=Path, help="folder of those pictures (default: beside the file)")
    promote.add_argument(
        "--fresh", action="store_true", default=None,
        help="draw new held-out pictures, on which no candidate was tried: what the gate allows begins anew",
    )  # fmt: skip
    promote.add_argument("--upright", type=Path, metavar="COCO.json", help="pictures on which it must not get worse")
    promote.add_argument(
        "--floor",
        type=Path,
        metavar="COCO.json",
        help="people on the floor, on whom it must not get worse (default: simulated ones)",
    )
    add_reason(promote)
    promote.set_defaults(run=promote_model)
    rollback = commands.add_parser("rollback", parents=[common], help="put the model before the live one back")
    rollback.add_argument("--task", choices=("detect", "pose"), default="detect", help="of which (default: detect)")
    add_reason(rollback)
    rollback.set_defaults(run=roll_back)
    base = commands.add_parser("base", parents=[common], help="make a base model from synthetic images alone")
    add_options(base)
    base.add_argument("--out", type=Path, help="model folder (default: in the site folder)")
    base.add_argument("--start", metavar="MODEL", help="an earlier base model to go on with")
    base.set_defaults(run=make_base_model)


def _values(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The named options that were given, as plain values."""
    given = {name: getattr(options, name) for name in names}
    return {k: str(v.absolute()) if isinstance(v, Path) else v for k, v in given.items() if v is not None}


def input_size(text: str | None) -> dict[str, int]:
    """Width and height from such as 416x256 or 416×256; nothing from nothing."""
    if text is None:
        return {}
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise WardposeError(f"--size {text!r} is no size", mend="write width and height, such as 416x256")
    width, height = (int(side) for side in sides)
    if not (32 <= width <= 4096 and 32 <= height <= 4096):
        raise WardposeError(f"--size {text} is out of bounds", mend="give 32 to 4096 pixels a side")
    return {"width": width, "height": height}


def _evaluation(options: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "data", "images", "keypoints", "pose", "boxes", "turn")
    asked = ("groups", "against", "report", "pictures", "features")
    return _values(options, *names, *asked) | input_size(options.size)


def make_images(options: argparse.Namespace, out: Output) -> int:
    given = _values(options, "scenario", "count", "seed", "out", "renderer", "resume", "depth", "infrared")
    if options.scenario.endswith(".toml"):  # the service has a working folder of its own
        given["scenario"] = str(Path(options.scenario).absolute())
    result = carry_out(options, out, "making images", "synth", given)
    out.say(f"{result['images']} images in {result['out']} ({result['seconds']:.0f} s)")
    out.answer(result)
    return 0


def settle_poses(options: argparse.Namespace, out: Output) -> int:
    from calibration import bounds
    from calibration.atomic import require_file_place

    for name, number, allowed in (("--count", options.count, bounds.IMAGES), ("--seed", options.seed, bounds.SEED)):
        if not allowed.hold(number):
            raise WardposeError(f"{name} must be {allowed}, got {number}", where="poses")
    require_file_place(options.out)
    from synth.body.anny_body import AVERAGE_ADULT, anny_body
    from synth.pose.make_bank import make_bank, write_bank

    body = anny_body()
    with out.progress("settling poses") as progress:
        arrays, rejected = make_bank(body, body.rest(AVERAGE_ADULT), options.count, options.seed, progress)
    write_bank(options.out, arrays)
    kept = len(arrays["posture"])
    out.say(f"{kept} settled poses in {options.out}; {rejected.total()} drops were rejected:")
    for reason, times in rejected.most_common():
        out.say(f"  {times:4d} {reason}")
    out.answer({"ok": True, "poses": kept, "rejected": dict(rejected), "out": options.out, "seed": options.seed})
    return 0


def preview_data_set(options: argparse.Namespace, out: Output) -> int:
    given = {"place": str(options.folder.absolute())} | _values(options, "target", "out", "count", "detector")
    result = carry_out(options, out, "preview", "preview", given)
    out.say(result["card"])
    out.answer({"ok": True, **result})
    return 0


def tune_model(options: argparse.Namespace, out: Output) -> int:
    given = _values(
        options, "model", "task", "data", "name", "recipe", "final_rate", "final_batch", "epochs", "minutes", "batch",
        "rate", "seed", "processes",
    ) | input_size(options.size)  # fmt: skip
    result = carry_out(options, out, "tuning", "tune", given)
    out.say(f"{result['model']}: tuned from {result['base']} in {result['seconds']:.0f} s")
    out.answer(result)
    return 0


def evaluate_model(options: argparse.Namespace, out: Output) -> int:
    result = carry_out(options, out, "evaluating", "evaluate", _evaluation(options))
    rows = [(name, value) for name, value in result.items() if isinstance(value, int | float)]
    keypoints = result.get("keypoints", {})
    rows += [(f"keypoints {name}", value) for name, value in keypoints.items() if isinstance(value, int | float)]
    rows += [
        (f"{posture} mean OKS ({figures['people']})", figures["mean_oks"])
        for posture, figures in keypoints.get("postures", {}).items()
    ]
    out.table(("figure", "value"), rows)
    if "report" in result:
        say_report(out, result["report"])
    if "file" in result:
        out.say(f"the report: {result['file']}")
    out.answer(result)
    return 0


def say_report(out: Output, report: dict[str, Any]) -> None:
    """What the page's first screen says, and its table of groups."""
    out.say("")
    out.say(report["sentence"])
    out.say(f"{report['verdict']} {report['why']}")
    first = next(iter(report["groups"][0]["after"]))
    rows = []
    for row in report["groups"]:
        after, change = row["after"][first], row["change"]
        between = "" if after["low"] is None else f"{after['low']:.2f}–{after['high']:.2f}"
        name = row["group"] if row["kind"] == row["group"] else f"{row['kind']}: {row['group']}"
        shown = (name, row["people"], row["scenes"], f"{after['mean']:.3f}", between)
        compared = (
            "" if change is None else f"{change['mean']:+.3f}",
            "" if row["holm"] is None else f"{row['holm']:.2g}",
        )
        rows.append(shown + compared)
    out.table(("group", "people", "scenes", first, "95 %", "change", "Holm's p"), rows)


def export_model(options: argparse.Namespace, out: Output) -> int:
    given = _values(options, "model", "engine") | input_size(options.size)
    result = carry_out(options, out, "exporting", "export", given)
    if "max_error" in result:
        error = result["max_error"]
        out.say(
            "its own trainer wrote it; it was not held against the trained model"
            if error is None
            else f"largest difference from the trained model: {error:.2g} of an output's range"
        )
    out.say(result["onnx"])
    out.answer(result)
    return 0


def promote_model(options: argparse.Namespace, out: Output) -> int:
    given = {"model": options.name} | _values(options, "data", "images", "fresh", "upright", "floor", "reason")
    result = carry_out(options, out, "judging", "promote", given)
    for reason in result["reasons"]:
        out.say(f"- {reason}")
    out.say(
        f"{options.name} is live now" if result["accepted"] else f"{options.name} was refused; {result['live']} stays"
    )
    out.answer(result)
    return 0 if result["accepted"] else 1


def roll_back(options: argparse.Namespace, out: Output) -> int:
    from appliance.client import ask_or_do
    from appliance.deeds import Deeds
    from appliance.site.folder import SiteFolder

    site, asked = SiteFolder.open(options.home), {"task": options.task, "reason": options.reason}
    # Whoever wants the model before back wants it now, and waits for no service to start.
    name = ask_or_do(site, "models.rollback", lambda: Deeds(site).ask("models.rollback", **asked), **asked)["live"]
    out.say(f"{name} is live again")
    out.answer({"ok": True, "live": name})
    return 0


def make_base_model(options: argparse.Namespace, out: Output) -> int:
    given = _values(
        options, "task", "data", "images", "epochs", "minutes", "size", "batch", "rate", "seed", "threads", "bfloat16",
        "resume", "out", "start",
    )  # fmt: skip
    given["score"] = [absolute_set(text) for text in options.score]
    result = carry_out(options, out, f"base {options.task}", "base", given)
    out.say(f"{result['model']} in {result['out']}")
    out.answer({"ok": True} | result)
    return 0
