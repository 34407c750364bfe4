"""Crowds at every socket of a live site: what they cost the picture, and how long others wait for an answer.

The same live path is watched with the crowd and without it by turns, so that what else the machine does meanwhile is in
both; the ratio of frames has an interval from the pairs.
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from appliance import versions
from appliance.live.addresses import page_key_file, result_socket, service_socket
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from benchmarks import crowds
from calibration.errors import WardposeError
from runtime.bus import ResultClient
from runtime.display.page_key import page_key

WATCH_S = 4.0  # over which frames are counted
PAIRS = 4  # with and without, of each attack
ANSWERS = 2  # asked for in each
MOST_LOST = 0.05  # of the frames
MOST_WAIT_S = 1.0
_ATTACK_S = 0.5  # between two of one attack
_DEAF = 8  # who ask and never read
_PATIENCE_S = 30.0
_STATUS = json.dumps({"call": "status", "version": versions.API_VERSION}).encode() + b"\n"
_STATE = json.dumps({"command": "state"}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Door:
    """A socket of a site. deaf: a connection that asks and never reads; answered_s: how long somebody waits who comes
    now."""

    name: str
    place: crowds.Place
    attacks: Sequence[tuple[str, Callable[[], None]]]
    deaf: Callable[[], Any]
    answered_s: Callable[[], float]


@dataclass(slots=True)
class Seen:
    """Pairs of frames in so many seconds without and with the crowd, and how long answers took (s)."""

    frames: list[tuple[int, int]] = field(default_factory=list)
    calm_s: list[float] = field(default_factory=list)
    crowd_s: list[float] = field(default_factory=list)


def run(site: SiteFolder) -> Iterator[dict[str, Any]]:
    """One row a socket of a site that is live."""
    for door in doors(site):
        yield _crowded(site, door)


def doors(site: SiteFolder) -> list[Door]:
    """The service's socket, the results' and the page's port."""
    service, bus = service_socket(site), result_socket(site)
    port, key = load_settings(site).display.port, page_key(page_key_file(site))
    return [
        Door("the service's socket", service, _attacks(service), partial(crowds.never_read, service, _STATUS, 200),
             lambda: crowds.answer_ms(service, _STATUS, _PATIENCE_S) / 1e3),
        Door("the bus", bus, _attacks(bus), partial(crowds.never_read, bus, _STATE, 200),
             lambda: _bus_answer_s(site)),
        Door("the page", port, [
            *_attacks(port), ("no_header_ends", partial(crowds.no_header_ends, port)),
            ("deep_to_the_page", partial(crowds.deep_to_the_page, port, key)),
            ("wrong_kinds_to_the_page", partial(crowds.wrong_kinds_to_the_page, port, key)),
        ], partial(crowds.watch, port, key), lambda: crowds.picture_ms(port, key, _PATIENCE_S) / 1e3),
    ]  # fmt: skip


def _attacks(place: crowds.Place) -> list[tuple[str, Callable[[], None]]]:
    return [(attack.__name__, partial(attack, place)) for attack in crowds.ATTACKS]


def _crowded(site: SiteFolder, door: Door) -> dict[str, Any]:
    row: dict[str, Any] = {"fault": f"a crowd at {door.name}", "tried": 0, "lost": 0, "notes": []}
    seen, rng = Seen(), random.Random(0)
    for name, attack in door.attacks:
        row["tried"] += 1
        for _ in range(PAIRS):
            calm = crowd = 0
            for with_it in rng.sample((False, True), 2):  # whatever drifts, drifts both ways
                try:
                    if with_it:
                        crowd = _watched(site, door, seen.crowd_s, attack)
                    else:
                        calm = _watched(site, door, seen.calm_s, None)
                except OSError as error:
                    row["lost"] += 1
                    row["notes"].append(f"{name}: no answer ({error})")
            seen.frames.append((calm, crowd))
    ratio, low, high = ratio_of(seen.frames)
    slowest, calm_slowest = max(seen.crowd_s, default=0.0), max(seen.calm_s, default=0.0)
    row["shown_s"] = round(slowest, 2)
    # On a machine that is itself late without the crowd, the crowd isn't to blame.
    row["lost"] += (high < 1 - MOST_LOST) + (slowest > max(MOST_WAIT_S, 2 * calm_slowest))
    total = PAIRS * len(door.attacks) * WATCH_S
    calm_rate, crowd_rate = (sum(pair[place] for pair in seen.frames) / total for place in (0, 1))
    told = "" if low >= 1 - MOST_LOST else f"; beyond {MOST_LOST:.0%}" if high < 1 - MOST_LOST else "; can't tell here"
    row["notes"] += [
        f"frames a second {calm_rate:.2f} without, {crowd_rate:.2f} with: {ratio:.3f} "
        f"(95 %: {low:.3f} to {high:.3f}){told}",
        f"answers: median {_median(seen.crowd_s):.3f} s with, {_median(seen.calm_s):.3f} s without; "
        f"slowest {slowest:.2f} s with, {calm_slowest:.2f} s without",
    ]  # fmt: skip
    return row


def _watched(site: SiteFolder, door: Door, answers: list[float], attack: Callable[[], None] | None) -> int:
    """Frames that were told in `WATCH_S`, with the held connections, the deaf readers and the attack again and again,
    or without any; answers: what one who comes meanwhile waits is added."""
    with contextlib.ExitStack() as crowd:
        if attack is not None:
            crowd.enter_context(crowds.held(door.place))
            for _ in range(_DEAF):
                with contextlib.suppress(OSError):
                    crowd.enter_context(contextlib.closing(door.deaf()))
        counter = _Counter(site)
        began = time.monotonic()
        until, next_attack, next_answer = began + WATCH_S, began, began + WATCH_S / (ANSWERS + 1)
        asked = 0
        while (now := time.monotonic()) < until:
            if attack is not None and now >= next_attack:
                attack()
                next_attack = time.monotonic() + _ATTACK_S
            if asked < ANSWERS and now >= next_answer:
                answers.append(door.answered_s())
                asked, next_answer = asked + 1, next_answer + WATCH_S / (ANSWERS + 1)
            time.sleep(0.02)
        return counter.end()


class _Counter:
    """Counts the frames that a live path tells of, on a thread of its own."""

    def __init__(self, site: SiteFolder) -> None:
        self._site, self._seen = site, set[float]()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._ending.set()
        self._thread.join()
        return len(self._seen)

    def _run(self) -> None:
        with ResultClient(result_socket(self._site)) as client:
            while not self._ending.is_set():
                with contextlib.suppress(WardposeError):
                    message = client.latest(0.5)
                    if message["state"] == "live":
                        self._seen.add(message["finished_at"])


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


def ratio_of(pairs: Sequence[tuple[int, int]], draws: int = 2000) -> tuple[float, float, float]:
    """Frames with over frames without, with its 95 % interval, of a bootstrap over the pairs."""
    rng = random.Random(0)

    def ratio(some: Sequence[tuple[int, int]]) -> float:
        return sum(crowd for _, crowd in some) / max(1, sum(calm for calm, _ in some))

    drawn = sorted(ratio(rng.choices(pairs, k=len(pairs))) for _ in range(draws))
    return ratio(pairs), drawn[int(0.025 * draws)], drawn[int(0.975 * draws)]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
