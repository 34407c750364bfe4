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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.belief import DOUBTFUL, SURE
from runtime.bus import ResultServer
from runtime.display.page_key import address
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch
from runtime.state import STALE_S

FPS = 30.0
GOAL_MS = 150.0
WIDTH_PX, HEIGHT_PX = 1920, 1080
_WARM_UP_S = 2.0
_LOOK_S = 1.0
# Joints of somebody on their back in a 1280 × 720 picture, COCO's order, pixels.
_LYING = np.array([
    [420, 330], [412, 322], [412, 340], [416, 306], [416, 356], [480, 292], [480, 372], [560, 270], [560, 396],
    [640, 300], [636, 350], [650, 306], [650, 358], [770, 300], [764, 366], [880, 296], [872, 372],
], np.float64)  # fmt: skip

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
    seconds: float = 10.0, *, chromium: str, socket: Path | None = None, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Watch the page for `seconds`.

    chromium: the browser's program. socket: of a live process that runs, whose frames are followed from the camera's
    shutter on; None: of messages made here 30 times a second, each as old as it takes to reach the screen.
    behind_ms: p50, p95, p99 and the most, from the frame (or message) to painted; page_ms: of it, from the message's
    arrival; painted_fps: new frames painted a second; goal_ms. Raises `WardposeError` where the browser can't be driven
    or nothing was painted.
    """
    with (
        tempfile.TemporaryDirectory(prefix="wardpose-page-") as work,
        _messages(Path(work), socket) as source,
        DisplayServer(source, PauseSwitch(Path(work) / "pause.json"), Path(work) / "page.key", port=0) as display,
    ):
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
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.add_init_script(_NOTES)
        page.goto(where)
        page.wait_for_timeout(1000 * _WARM_UP_S)
        page.evaluate("noted.length = 0")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            progress(int(passed), math.ceil(seconds), "watching the page")
            page.wait_for_timeout(1000 * min(_LOOK_S, seconds - passed))
        noted: list[list[float]] = page.evaluate("noted")
        browser.close()
    return noted


@contextmanager
def _messages(folder: Path, socket: Path | None) -> Iterator[Path]:
    """The socket of a live process: the given one, or one of messages made here."""
    if socket is not None:
        yield socket
        return
    ending = threading.Event()
    with ResultServer(folder / "live.sock") as bus:

        def speak() -> None:
            index, began = 0, time.monotonic()
            while not ending.wait(max(0.0, began + index / FPS - time.monotonic())):
                index += 1
                bus.publish(_message(index))

        thread = threading.Thread(target=speak, name="messages", daemon=True)
        thread.start()
        try:
            yield folder / "live.sock"
        finally:
            ending.set()
            thread.join()


def _message(index: int) -> dict[str, Any]:
    """A patient who moves and two people beside the bed, made this moment."""
    sway = 12 * math.sin(index / 9)
    people = []
    for number, (dx, dy) in enumerate(((0.0, 0.0), (120.0, 170.0), (-60.0, -150.0)), start=1):
        joints = _LYING + (dx, dy + sway)
        low, high = joints.min(axis=0) - 20, joints.max(axis=0) + 20
        people.append({
            "id": number, "box": [*low.tolist(), *high.tolist()], "score": 0.9, "shown": "skeleton",
            "keypoints": [[x, y, 0.9] for x, y in joints.tolist()], "role": "patient" if number == 1 else "other",
        })  # fmt: skip
    at = time.monotonic()
    return {
        "version": 1, "state": "live", "message": "", "fps": FPS, "people": people, "frame_index": index,
        "captured_at": at, "finished_at": at, "width": 1280, "height": 720, "origin": "camera", "sure": SURE,
        "doubtful": DOUBTFUL, "pause": None, "stale_s": STALE_S, "patient": None,
        "engines": {"detector": "none: made here"},
    }  # fmt: skip


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    low, high, higher = np.percentile(values, (50, 95, 99))
    return {
        "p50": round(float(low), 1), "p95": round(float(high), 1), "p99": round(float(higher), 1),
        "most": round(float(values.max()), 1),
    }  # fmt: skip
