"""wardpose bench synth, calibrate, infer, live, evaluate."""

from __future__ import annotations

import argparse
from typing import Any

from appliance.cli.output import Output

# What is measured, and the option that says how much of it.
BENCHMARKS = {
    "synth": ("making images", "count", 16),
    "calibrate": ("the ways to calibrate", "trials", 30),
    "infer": ("the inference engines", "repeats", 30),
    "live": ("the live path, camera to skeleton", "seconds", 10),
    "evaluate": ("scoring detections", "pictures", 2000),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("bench", help="measure this box")
    kinds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    for name, (title, amount, default) in BENCHMARKS.items():
        bench = kinds.add_parser(name, parents=[common], help=title)
        bench.add_argument(f"--{amount}", dest="amount", type=int, default=default, help=f"default {default}")
        if name in ("infer", "live"):
            bench.add_argument("--detector", help="a model of this site (default: the built-in one)")
            bench.add_argument("--pose", help="a model of this site (default: the built-in one)")
        bench.set_defaults(run=measure, bench=name)


def measure(options: argparse.Namespace, out: Output) -> int:
    from importlib import import_module
    from inspect import signature

    from appliance.site_folder import SiteFolder
    from appliance.work import exported
    from calibration.errors import WardposeError

    amount = BENCHMARKS[options.bench][1]
    if options.amount < 1:
        raise WardposeError(
            f"--{amount} must be 1 or more", where=f"bench {options.bench}", mend="leave it out for the default"
        )
    run = import_module(f"benchmarks.{options.bench}").run
    arguments: dict[str, Any] = {amount: options.amount}
    with out.progress(f"bench {options.bench}") as progress:
        for task in ("detector", "pose"):
            if name := getattr(options, task, None):
                arguments[task] = exported(SiteFolder.open(options.home), name, progress)
        if "progress" in signature(run).parameters:
            arguments["progress"] = progress
        result = run(**arguments)
    out.table(("figure", "value"), list(_flat(result)))
    out.answer(result)
    return 0


def _flat(values: dict[str, Any], prefix: str = "") -> Any:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name} ")
        elif value is None or isinstance(value, str | int | float):
            yield f"{prefix}{name}", value
