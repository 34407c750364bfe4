"""wardpose bench: speed, memory and faults, one command for each part of the product."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from appliance.cli import bench_chaos, bench_faults, bench_job, bench_page, bench_soak
from appliance.cli.asking import exported_model
from appliance.cli.output import Output

# What is measured, and the option that says how much of it.
BENCHMARKS = {
    "synth": ("making images", "count", 96),
    "calibrate": ("the ways to calibrate", "trials", 30),
    "infer": ("the inference engines", "repeats", 30),
    "live": ("the live path, camera to skeleton", "seconds", 20),
    "ring": ("the frame ring, and how soon a fault of the camera shows", "frames", 300),
    "identity": ("whether people keep their numbers, on a simulated ward", "minutes", 4),
    "evaluate": ("scoring detections", "pictures", 2000),
    "drift": ("the watch over a calibration, for a simulated day", "disturbances", 2000),
    "gate": ("what the gate lets through: bad candidates, and a tenth as many good ones", "candidates", 1000),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("bench", help="measure this box")
    kinds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    for name, (title, amount, default) in BENCHMARKS.items():
        bench = kinds.add_parser(name, parents=[common], help=title)
        bench.add_argument(f"--{amount}", dest="amount", type=int, default=default, help=f"default {default}")
        if name == "synth":
            bench.add_argument("--renderer", default="numba", help="numba (default), moderngl or pyrender")
        if name == "gate":
            bench.add_argument("--work", type=Path, help="folder that keeps pictures and models")
            bench.add_argument("--no-training", dest="train", action="store_false", help="train no real candidates")
        if name in ("infer", "live", "gate"):
            bench.add_argument("--detector", help="a model of this site (default: the live one)")
            bench.add_argument("--pose", help="a model of this site (default: the live one, where there is one)")
        if name == "live":
            bench.add_argument("--yardsticks", action="store_true", help="beside ultralytics and rtmlib (installs it)")
            bench.add_argument("--threads", type=int, help="of each engine on the processor (default: as measured)")
            bench.add_argument("--job", action="store_true", help="with a tuning beside it too: what it costs")
        bench.set_defaults(run=measure, bench=name)
    bench_page.add(kinds, common)
    bench_soak.add(kinds, common)
    bench_faults.add(kinds, common)
    bench_chaos.add(kinds, common)
    whole = kinds.add_parser(
        "families", parents=[common], help="the paper's models in their whole size: built, tuned a step, exported, read"
    )
    whole.add_argument("models", nargs="*", metavar="MODEL", help="default: all of them, one after the other")
    whole.add_argument("--threads", type=int, help="for training and answering (default: one a core)")
    whole.add_argument("--work", type=Path, help="folder with room for the models (default: the system's)")
    whole.set_defaults(run=measure_families)
    over = kinds.add_parser("carry-over", parents=[common], help="tuning on synthetic images, scored on photographs")
    over.add_argument("--task", choices=("detect", "pose"), default="detect", help="which model is tuned")
    over.add_argument(
        "--score", action="append", required=True, metavar="NAME=COCO.json[:IMAGES]", help="photographs to score on"
    )
    over.add_argument(
        "--model", "--detector", help="the model of this site to tune (default: the one a box starts with)"
    )
    over.add_argument("--scenario", default="base", help="what the images show: B, C, D, base, or a TOML file")
    over.add_argument("--count", type=int, default=2300, help="number of images, default 2300")
    over.add_argument("--data", type=Path, help="an existing data set instead")
    over.add_argument(
        "--held-out",
        type=int,
        default=200,
        help="synthetic images of other wards to score a pose model on, default 200",
    )
    over.add_argument(
        "--size", type=int, help="pixels of an image's side (default: 416 for a detector, else the scenario's own)"
    )
    over.add_argument("--seed", type=int, default=0, help="of the images and of the training (default 0)")
    over.add_argument(
        "--alpha", type=float, action="append", help="score the weights this far on the way as well (may be repeated)"
    )
    over.add_argument(
        "--orders", type=int, default=1, help="train this often, on the pictures in another order, and take the means"
    )
    over.add_argument("--ablations", action="store_true", help="leave one ingredient out at a time as well")
    over.add_argument("--threads", type=int, help="for training and scoring (default: one a core)")
    over.add_argument("--work", type=Path, help="folder that keeps images and models; what it holds is not made again")
    over.set_defaults(run=measure_carry_over)


def measure(options: argparse.Namespace, out: Output) -> int:
    from importlib import import_module
    from inspect import signature

    from calibration.errors import WardposeError

    amount = BENCHMARKS[options.bench][1]
    if options.amount < 1:
        raise WardposeError(
            f"--{amount} must be 1 or more", where=f"bench {options.bench}", mend="leave it out for the default"
        )
    run = import_module(f"benchmarks.{options.bench}").run
    wanted = signature(run).parameters
    arguments: dict[str, Any] = {amount: options.amount}
    if "pause_file" in wanted:
        from appliance.live import pauses
        from appliance.site.folder import SiteFolder

        site = SiteFolder.open(options.home)
        if options.bench == "live":
            arguments |= {"yardsticks": options.yardsticks, "threads": options.threads, "engines": site.engines}
        pauses.switch(site).require_off()
        arguments["pause_file"] = site.pause_file
    arguments |= _models(options, out, [name for name in ("detector", "pose") if name in wanted])
    with out.progress(f"bench {options.bench}") as progress:
        if renderer := getattr(options, "renderer", None):
            arguments["renderer"] = renderer
        if options.bench == "gate":
            arguments |= {"work": options.work, "train": options.train}
        if getattr(options, "job", False):
            arguments["job"] = partial(bench_job.tuning, progress)
        if "progress" in wanted:
            arguments["progress"] = progress
        result = run(**arguments)
    out.table(("figure", "value"), list(_flat(result)))
    out.answer(result)
    return 0


def _models(options: argparse.Namespace, out: Output, wanted: list[str]) -> dict[str, Path]:
    """The ONNX files of the models named, else of the live ones; a box without a pose model has none to measure."""
    from appliance.models.store import ModelStore
    from appliance.models.use import require_task
    from appliance.site.folder import SiteFolder

    if not wanted:
        return {}
    site = SiteFolder.open(options.home)
    found = {}
    for kind in wanted:
        task = "detect" if kind == "detector" else "pose"
        name = getattr(options, kind, None) or ModelStore(site).live(task)
        if name:
            require_task(site, name, task)
            found[kind] = exported_model(options, out, name)
    return found


def measure_families(options: argparse.Namespace, out: Output) -> int:
    from benchmarks.families import run

    with out.progress("bench families") as progress:
        found = run(options.models, threads=options.threads, work=options.work, progress=progress)
    seconds = ("build_s", "step_s", "export_s", "answer_s")
    keys = ("input", *seconds, "export_error", "decode_error_px", "onnx_mb", "memory_gb")
    out.table(("model", *(key.replace("_", " ") for key in keys)), [
        (name, *(row.get(key) for key in keys)) for name, row in found.items()
    ])  # fmt: skip
    out.answer({"models": found})
    return 0


def measure_carry_over(options: argparse.Namespace, out: Output) -> int:
    from appliance.models.store import ModelStore
    from appliance.site.folder import SiteFolder
    from calibration.errors import WardposeError
    from tuning.base_options import evaluation_set
    from tuning.study.carry_over import run

    store = ModelStore(SiteFolder.open(options.home))
    name = options.model or store.start(options.task)
    if not name:
        raise WardposeError("this box has no pose model", mend="wardpose models fetch")
    with out.progress("bench carry-over") as progress:
        result = run(
            options.count, model=store.folder(name), task=options.task,
            sets=dict(evaluation_set(text) for text in options.score), scenario=options.scenario, data=options.data,
            held_out=options.held_out, alphas=options.alpha or (), ablations=options.ablations, orders=options.orders,
            size=options.size, seed=options.seed, work=options.work, threads=options.threads, progress=progress,
        )  # fmt: skip
    mean = "person_score" if options.task == "detect" else "mean_oks"
    rows = [
        (trained, column, *(figures.get(key) for key in ("AP50", "AP", mean, f"{mean}_gained", "spread", "p")))
        for trained, columns in {"before": result["before"], **result["tuned"]}.items()
        for column, figures in columns.items()
    ]
    out.table(("trained on", "people", "AP50", "AP", mean.replace("_", " "), "gained", "spread", "p"), rows)
    out.answer({"model": name, "task": options.task, **result})
    return 0


def _flat(values: dict[str, Any], prefix: str = "") -> Any:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name} ")
        elif value is None or isinstance(value, str | int | float):
            yield f"{prefix}{name}", value
