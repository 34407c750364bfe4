"""A picture of one screen as SVG, for the README: `python -m appliance.tui.screenshot OUT.svg [--screen live]`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from appliance.site.folder import SiteFolder
from appliance.tui.app import WardposeApp
from appliance.tui.widgets import PAGES
from calibration.atomic import write_text
from calibration.memory import keep_out_of_dumps


async def screenshot(site: SiteFolder, screen: str, size: tuple[int, int], seconds: float) -> str:
    """The SVG of a screen of `size` (columns, rows), looked at for `seconds` so that it shows the real state."""
    app = WardposeApp(site)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.action_go(screen)
        await pilot.pause(seconds)
        return app.export_screenshot(title="wardpose")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="appliance.tui.screenshot", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", help="the site folder")
    parser.add_argument("--screen", choices=PAGES, default=PAGES[0])
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to wait before the picture is taken")
    options = parser.parse_args(arguments)
    keep_out_of_dumps()
    site = SiteFolder.open(options.home)
    size = (options.columns, options.rows)
    write_text(options.out, asyncio.run(screenshot(site, options.screen, size, options.seconds)), mode=0o644)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
