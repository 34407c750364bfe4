"""Pictures of every screen for the README: `python -m appliance.tui.screenshot FOLDER [--home SITE]`.

The terminal UI's show the site as it is; nothing is put on for them. The bedside page's show drawn people, for nobody
else may be in them. Chromium, which that page needs anyway, draws them all.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.box.doctor import chromium
from appliance.site.folder import SiteFolder
from appliance.tui.app import SCREENS, WardposeApp
from appliance.tui.ink import LOOKS
from appliance.tui.page import Page
from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps

CELL_PX = (12.2, 24.4)  # of the letters in what Textual exports
PAGE = "page"


async def screens(
    site: SiteFolder, names: Sequence[str], size: tuple[int, int], theme: str, seconds: float
) -> dict[str, str]:
    """The SVG of each screen of `size` (columns, rows), looked at for `seconds` so that it shows the real state."""
    app, drawn = WardposeApp(site), {}
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.theme = theme
        for name in names:
            app.action_go(name)
            while not (app.screen.status if isinstance(app.screen, Page) else None):
                await pilot.pause(0.1)
            await pilot.pause(seconds)
            svg = app.export_screenshot(title="wardpose")
            # Its letters come from another computer; those of this one do as well.
            drawn[name] = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.S)
    return drawn


def png(svg: str, size: tuple[int, int]) -> bytes:
    """The picture that Chromium draws of it, in few colours. Raises `WardposeError` without Chromium."""
    from benchmarks.page_pictures import packed

    width, height = round(size[0] * CELL_PX[0] + 18), round(size[1] * CELL_PX[1] + 50)
    with tempfile.TemporaryDirectory() as folder:
        page, out = Path(folder, "screen.html"), Path(folder, "screen.png")
        page.write_text(f'<body style="margin:0">{svg}</body>', encoding="utf-8")
        subprocess.run(
            [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={folder}/own", f"--window-size={width},{height}",
             f"--screenshot={out}", f"file://{page}"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        return packed(out.read_bytes())


def _chromium() -> str:
    program = chromium()
    if program is None:
        raise WardposeError("there is no Chromium to draw the pictures", mend="run `./wardpose setup`, or take --svg")
    return program


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="appliance.tui.screenshot", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder they are written into")
    parser.add_argument("--home", help="the site folder")
    parser.add_argument(
        "--screen", choices=(*SCREENS, PAGE), action="append", help="this screen; may be said again (default: all)"
    )
    parser.add_argument("--theme", choices=tuple(LOOKS), default="dark")
    parser.add_argument("--columns", type=int, default=110)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each is looked at before")
    parser.add_argument("--svg", action="store_true", help="write SVG, which wants no Chromium")
    options = parser.parse_args(arguments)
    keep_out_of_dumps()
    size = (options.columns, options.rows)
    wanted = options.screen or (*SCREENS, PAGE)
    names = [name for name in wanted if name != PAGE]
    options.out.mkdir(parents=True, exist_ok=True)
    if PAGE in wanted and not options.svg:
        from benchmarks.page_pictures import take

        take(_chromium(), options.out)
    if not names:
        return 0
    drawn = asyncio.run(screens(SiteFolder.open(options.home), names, size, options.theme, options.seconds))
    for name, svg in drawn.items():
        content = svg.encode() if options.svg else png(svg, size)
        write_bytes(options.out / f"terminal-{name}.{'svg' if options.svg else 'png'}", content, mode=0o644)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
