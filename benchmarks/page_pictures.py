"""Pictures of the bedside page for the README (`python -m appliance.tui.screenshot`).

The page that is served, in Chromium, told of drawn people in a bed: nobody real is in them, and no camera is opened.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.page import SEEN, opened, speaking
from benchmarks.page_scene import LYING, SITTING, beside, live, person, whereabouts
from calibration.atomic import write_bytes
from calibration.files import save_estimate
from runtime.display.page_key import address
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch

SIZE_PX = (960, 540)
STATES = ("live", "edge", "nobody", "paused")
COLOURS = 192
_SETTLE_MS = 1500
_HOUR = 20  # in the evening's light, whenever they are made


def told(state: str, index: int) -> dict[str, Any]:
    """The message of a live process in which that is so."""
    if state == "live":
        people = [person(LYING, SEEN, role="patient"), person(beside(), SEEN, number=2, role="other")]
        return live(people, index=index, patient=whereabouts("in-bed", 4980))
    if state == "edge":
        return live([person(SITTING, SEEN, role="patient")], index=index, patient=whereabouts("on-edge", 75))
    return live([], index=index, patient=whereabouts("out-of-bed", 600))


def take(chromium: str, folder: Path) -> list[Path]:
    """Write a picture of each state, `page-STATE.png`. chromium: the browser's program. Raises `WardposeError` where
    it can't be driven."""
    now, written = ["live"], []
    with tempfile.TemporaryDirectory(prefix="wardpose-page-") as name:
        work = Path(name)
        save_estimate(SEEN, work / "calibration.json")
        pause = PauseSwitch(work / "pause.json")
        light = f"Date.prototype.getHours = () => {_HOUR}"
        with (
            speaking(work, lambda index: told(now[0], index)) as socket,
            DisplayServer(
                socket, pause, work / "page.key", calibration=work / "calibration.json", port=0
            ) as display,
            opened(address(display.port, display.key), chromium, size=SIZE_PX, script=light) as page,
        ):  # fmt: skip
            for state in STATES:
                now[0] = state
                if state == "paused":
                    pause.set("Nurse Anna at the bedside page", "washing")
                page.wait_for_timeout(_SETTLE_MS)
                written.append(folder / f"page-{state}.png")
                write_bytes(written[-1], packed(page.screenshot()), mode=0o644)
    return written


def packed(png: bytes) -> bytes:
    """The same picture in few colours: letters on few grounds want no more."""
    from PIL import Image

    small = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()
