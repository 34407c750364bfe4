"""Crowds at every socket of a live site: what they cost the picture, and how long others wait for an answer.

The same live path is watched with the crowd and without it by turns, so that what else the machine does meanwhile is in
both; the ratio of frames has an interval from the pairs. The crowd runs at idle priority (`appliance.faults.attackers`
says why), and frames are counted from what was received only when the watch is over: neither takes the processor from
the live path, else the ratio would measure the suite. Pairs are added until the interval tells whether the crowd costs
more than `MOST_LOST`, a fixed number of times; it is as much wider as so many looks at it want.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.faults.attackers import DOORS, STATUS, Attackers, attacks_at
from appliance.live.addresses import page_key_file, result_socket, service_socket
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from benchmarks import crowds
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.bus import ResultClient
from runtime.display.page_key import page_key

WATCH_S = 5.0  # over which frames are counted
PAIRS = 4  # with and without, of each attack, between two looks at the interval
LOOKS = 3  # at most
ANSWERS = 2  # asked for in each
MOST_LOST = 0.05  # of the frames
MOST_WAIT_S = 1.0
SURE = 0.95  # over all looks: each is as much surer (Bonferroni)
_PATIENCE_S = 30.0
_LATE_S = 0.1  # after which a frame has been told that was finished in time


@dataclass(slots=True)
class Seen:
    """Pairs of frames in so many seconds without and with the crowd, and how long answers took (s)."""

    frames: list[tuple[int, int]] = field(default_factory=list)
    calm_s: list[float] = field(default_factory=list)
    crowd_s: list[float] = field(default_factory=list)


def run(site: SiteFolder) -> Iterator[dict[str, object]]:
    """One row a socket of a site that is live."""
    for door in DOORS:
        yield _crowded(site, door)


def _crowded(site: SiteFolder, door: str) -> dict[str, object]:
    notes: list[str] = []
    seen, rng, unanswered, looks = Seen(), random.Random(0), 0, 0
    attacks = list(attacks_at(door, site))
    with _Counter(site) as counter, Attackers(site, door) as attackers:
        while looks < LOOKS and not (looks and _tells(seen.frames)):
            looks += 1
            for attack in attacks * PAIRS:
                pair = {False: 0, True: 0}
                for with_it in rng.sample((False, True), 2):  # whatever drifts, drifts both ways
                    crowd = attackers.attacking(attack) if with_it else contextlib.nullcontext()
                    try:
                        with crowd:
                            pair[with_it] = _watched(site, door, counter, seen.crowd_s if with_it else seen.calm_s)
                    except OSError as error:
                        unanswered += 1
                        notes.append(f"{attack}: no answer ({error})")
                seen.frames.append((pair[False], pair[True]))
    ratio, low, high = ratio_of(seen.frames)
    slowest, calm_slowest = max(seen.crowd_s, default=0.0), max(seen.calm_s, default=0.0)
    # On a machine that is itself late without the crowd, the crowd isn't to blame.
    lost = unanswered + (high < 1 - MOST_LOST) + (slowest > max(MOST_WAIT_S, 2 * calm_slowest))
    seconds = WATCH_S * len(seen.frames)
    calm_rate, crowd_rate = (sum(pair[place] for pair in seen.frames) / seconds for place in (0, 1))
    told = "" if low >= 1 - MOST_LOST else f"; beyond {MOST_LOST:.0%}" if high < 1 - MOST_LOST else "; can't tell here"
    notes += [
        f"frames a second {calm_rate:.2f} without, {crowd_rate:.2f} with: {ratio:.3f} "
        f"({SURE:.0%} over {LOOKS} looks: {low:.3f} to {high:.3f}){told}",
        f"{len(seen.frames)} pairs of {WATCH_S:g} s, {attackers.made} attacks made at idle priority",
        f"answers: median {_median(seen.crowd_s):.3f} s with, {_median(seen.calm_s):.3f} s without; "
        f"slowest {slowest:.2f} s with, {calm_slowest:.2f} s without",
    ]  # fmt: skip
    return {"fault": f"a crowd at {door}", "tried": len(attacks), "shown_s": round(slowest, 2), "lost": lost,
            "notes": notes}  # fmt: skip


def _tells(frames: Sequence[tuple[int, int]]) -> bool:
    """Whether the interval lies on one side of what may be lost."""
    _, low, high = ratio_of(frames)
    return low >= 1 - MOST_LOST or high < 1 - MOST_LOST


def _watched(site: SiteFolder, door: str, counter: _Counter, answers: list[float]) -> int:
    """Frames that were finished in `WATCH_S`; answers: what one who comes meanwhile waits is added."""
    began = time.monotonic()
    for asked in range(1, ANSWERS + 1):
        time.sleep(max(0.0, began + WATCH_S * asked / (ANSWERS + 1) - time.monotonic()))
        answers.append(_answered_s(site, door))
    time.sleep(max(0.0, began + WATCH_S - time.monotonic()))
    return counter.frames(began, began + WATCH_S)


class _Counter:
    """Counts the frames that a live path tells of. It connects before any crowd comes, for whoever was there first
    keeps the place, and only stores what it hears until it is asked: reading the messages meanwhile would cost as much
    as sending them."""

    def __init__(self, site: SiteFolder) -> None:
        self._socket = result_socket(site)
        self._heard, self._rest = deque[bytes](), b""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)

    def __enter__(self) -> _Counter:
        self._thread.start()
        return self

    def __exit__(self, *what: object) -> None:
        self._ending.set()
        self._thread.join()

    def frames(self, began: float, until: float) -> int:
        """How many were finished between these instants of the monotonic clock, of all since the last call."""
        time.sleep(_LATE_S)
        while self._heard:
            self._rest += self._heard.popleft()
        *lines, self._rest = self._rest.split(b"\n")
        finished = set()
        for line in lines:
            with contextlib.suppress(ValueError):  # the rest of it went with a connection that broke
                message = parse_json(line)
                if isinstance(message, dict) and message.get("state") == "live":
                    finished.add(message["finished_at"])
        return sum(began <= instant < until for instant in finished)

    def _run(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(OSError), crowds.connect(self._socket, 0.2) as connection:
                while not self._ending.is_set():
                    with contextlib.suppress(TimeoutError):
                        piece = connection.recv(1 << 20)
                        if not piece:
                            break
                        self._heard.append(piece)
            self._ending.wait(0.05)


def _answered_s(site: SiteFolder, door: str) -> float:
    """How long somebody waits who comes now."""
    if door == "the bus":
        return _bus_answer_s(site)
    if door == "the page":
        return crowds.picture_ms(load_settings(site).display.port, page_key(page_key_file(site)), _PATIENCE_S) / 1e3
    return crowds.answer_ms(service_socket(site), STATUS, _PATIENCE_S) / 1e3


def _bus_answer_s(site: SiteFolder) -> float:
    """Of whoever comes again as long as others take their place, as the page does."""
    began = time.monotonic()
    while True:
        try:
            with ResultClient(result_socket(site)) as client:
                client.command("state", timeout_s=_PATIENCE_S)
            return time.monotonic() - began
        except WardposeError as error:
            if time.monotonic() - began > _PATIENCE_S:
                raise OSError(str(error)) from None
            time.sleep(0.02)


def ratio_of(pairs: Sequence[tuple[int, int]], draws: int = 10_000) -> tuple[float, float, float]:
    """Frames with over frames without, with its interval, of a bootstrap over the pairs, that holds for each of
    `LOOKS` looks at once with the certainty `SURE`."""
    frames = np.asarray(pairs, np.float64)  # (pairs, without and with)
    drawn = frames[np.random.default_rng(0).integers(len(frames), size=(draws, len(frames)))].sum(1)
    tail = (1 - SURE) / 2 / LOOKS
    low, high = np.quantile(drawn[:, 1] / np.maximum(drawn[:, 0], 1), (tail, 1 - tail))
    return float(frames[:, 1].sum() / max(1.0, frames[:, 0].sum())), float(low), float(high)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
