"""The bedside page in a real browser: how old is a skeleton when its picture is on the screen?

A live process's messages reach Chromium as they do beside a bed. A script of ours, put before the page's own, notes
when each message with a new frame came and when the drawing that follows it was handed to the screen: the first task
behind the animation frame in which the page drew. The page itself is the one that is served, unchanged.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.page_scene import LYING, beside, live, person, whereabouts
from benchmarks.page_scene import calibration as calibration_of
from calibration.errors import WardposeError
from calibration.files import save_estimate
from calibration.progress import Progress
from runtime.bus import ResultServer
from runtime.display.page_key import address
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch

FPS = 30.0
GOAL_MS = 150.0
SIZE_PX = (1920, 1080)
SEEN = calibration_of()
_WARM_UP_S = 2.0
_LOOK_S = 1.0
# Runs before the page's scripts. Each entry: milliseconds from capture to painted, as far as the page's side knows it:
# the age that came with the message and what passed since.
_NOTES = """
(() => {
  const Real = window.WebSocket;
  window.noted = [];
  let index = -1;
  const channel = new MessageChannel();
  const waiting = [];
  channel.port1.onmessage = () => {
    const painted = performance.now();
    for (const one of waiting.splice(0)) window.noted.push([one.age + painted - one.came, painted - one.came, painted]);
  };
  window.WebSocket = class extends Real {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        const came = performance.now();
        const said = JSON.parse(event.data);
        if (typeof said.age_ms !== "number" || said.frame_index === index) return;
        index = said.frame_index;
        requestAnimationFrame(() => {
          waiting.push({ age: said.age_ms, came });
          channel.port2.postMessage(0);
        });
      });
    }
  };
})();
"""


def run(
    seconds: float = 10.0, *, chromium: str, socket: Path | None = None, calibration: Path | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:  # fmt: skip
    """Watch the page for `seconds`.

    chromium: the browser's program. socket: of a live process that runs, whose frames are followed from the camera's
    shutter on; None: of messages made here 30 times a second, each as old as it takes to reach the screen. calibration:
    of its camera, whose bed is drawn.
    behind_ms: p50, p95, p99 and the most, from the frame (or message) to painted; page_ms: of it, from the message's
    arrival; painted_fps: new frames painted a second; goal_ms. Raises `WardposeError` where the browser can't be driven
    or nothing was painted.
    """
    with tempfile.TemporaryDirectory(prefix="wardpose-page-") as name, ExitStack() as held:
        work = Path(name)
        if socket is None:
            calibration = work / "calibration.json"
            save_estimate(SEEN, calibration)
        source = socket or held.enter_context(speaking(work, _moving))
        display = held.enter_context(
            DisplayServer(source, PauseSwitch(work / "pause.json"), work / "page.key", calibration=calibration, port=0)
        )
        noted = _watched(address(display.port, display.key), chromium, seconds, progress)
    if len(noted) < 2:
        raise WardposeError("no frame was painted", mend="see that the live picture runs, or leave --live out")
    behind, page, at = np.array(noted).T
    return {
        "source": "the live path" if socket else f"messages made here, {FPS:.0f} a second",
        "frames": len(noted),
        "painted_fps": round((len(noted) - 1) / (at[-1] - at[0]) * 1e3, 1),
        "behind_ms": _spread(behind),
        "page_ms": _spread(page),
        "goal_ms": GOAL_MS,
        "load": round(os.getloadavg()[0], 1),
    }


def _watched(where: str, chromium: str, seconds: float, progress: Progress) -> list[list[float]]:
    with opened(where, chromium, script=_NOTES) as page:
        page.wait_for_timeout(1000 * _WARM_UP_S)
        page.evaluate("noted.length = 0")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            progress(int(passed), math.ceil(seconds), "watching the page")
            page.wait_for_timeout(1000 * min(_LOOK_S, seconds - passed))
        noted: list[list[float]] = page.evaluate("noted")
        return noted


@contextmanager
def opened(where: str, chromium: str, *, size: tuple[int, int] = SIZE_PX, script: str = "") -> Iterator[Any]:
    """A page of a browser of its own, at the address `where`. size: width and height, pixels. script: runs before the
    page's own. Raises `WardposeError` where the browser can't be driven."""
    try:
        from playwright import sync_api as playwright
    except ImportError as error:
        raise WardposeError(
            "this environment lacks playwright", mend="type: pip install playwright, or use the extra `test`"
        ) from error
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except playwright.Error as error:
            raise WardposeError("Chromium does not start", where=chromium, mend=str(error).splitlines()[0]) from error
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.add_init_script(script)
        page.goto(where)
        yield page
        browser.close()


@contextmanager
def speaking(folder: Path, says: Callable[[int], dict[str, Any]]) -> Iterator[Path]:
    """The socket of a live process, on which `says(index)` is heard 30 times a second."""
    ending = threading.Event()
    with ResultServer(folder / "live.sock") as bus:

        def speak() -> None:
            index, began = 0, time.monotonic()
            while not ending.wait(max(0.0, began + index / FPS - time.monotonic())):
                index += 1
                bus.publish(says(index))

        thread = threading.Thread(target=speak, name="messages", daemon=True)
        thread.start()
        try:
            yield folder / "live.sock"
        finally:
            ending.set()
            thread.join()


def _moving(index: int) -> dict[str, Any]:
    """A patient whose arms move and two people beside the bed, made this moment."""
    joints = LYING.copy()
    joints[[9, 10], 2] += 0.1 + 0.1 * math.sin(index / 9)
    people = [person(joints, SEEN, role="patient")]
    people += [person(beside(y=y), SEEN, number=number, role="other") for number, y in ((2, -0.85), (3, 0.95))]
    at = time.monotonic()
    return live(
        people, index=index, patient=whereabouts("in-bed", 765.0), fps=FPS, captured_at=at, finished_at=at,
        engines={"detector": "none: made here"},
    )  # fmt: skip


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    low, high, higher = np.percentile(values, (50, 95, 99))
    return {
        "p50": round(float(low), 1), "p95": round(float(high), 1), "p99": round(float(higher), 1),
        "most": round(float(values.max()), 1),
    }  # fmt: skip
