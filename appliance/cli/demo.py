"""wardpose demo."""

from __future__ import annotations

import argparse
from typing import Any

from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "demo", parents=[common], help="the whole way on the simulated ward, from nothing to live"
    )
    parser.set_defaults(run=demo)


def demo(options: argparse.Namespace, out: Output) -> int:
    from appliance.demo.demo import run_demo
    from appliance.site.folder import SiteFolder

    result = run_demo(SiteFolder.open(options.home), out=out)
    out.answer(result)
    return 0 if result["ok"] else 1
