"""wardpose backgrounds: photographs to put people into, and where the bed is in each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from appliance.cli.asking import exported_model
from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "backgrounds", parents=[common], help="check a folder of photographs, and find the bed in each"
    )
    parser.add_argument("folder", type=Path, help="the `backgrounds` of a scenario")
    parser.add_argument("--model", help="an imported detector that knows beds (COCO's classes); without it, only check")
    parser.set_defaults(run=look_through)


def look_through(options: argparse.Namespace, out: Output) -> int:
    from synth.ward.photographs import photographs

    if options.model:
        from appliance.models.use import require_task
        from appliance.site.folder import SiteFolder
        from runtime.engines.engine import open_engine
        from synth.ward.find_beds import find_beds

        site = SiteFolder.open(options.home)
        require_task(site, options.model, "detect")
        engine = open_engine(exported_model(options, out, options.model))
        with out.progress("looking for beds") as progress:
            find_beds(options.folder, engine, progress=progress)
    found = photographs(str(options.folder))
    known = sum(photograph.known for photograph in found)
    out.say(f"{len(found)} photographs, the bed known in {known}; in the others a bed of our own is drawn")
    out.answer({"ok": True, "photographs": len(found), "beds": known})
    return 0
