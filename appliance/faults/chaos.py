"""Random faults on a live site, one after the other: how soon each shows, and how soon the picture is back.

What is drawn is seeded, so that a run can be had again. A fault that interrupts the picture must be told on the status
and end by itself; one that should not, a core taken away, memory taken, new models, a crowd at the results, must leave
the picture live.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from appliance.box import kept
from appliance.client import ServiceClient
from appliance.faults.ending import end_service
from appliance.faults.own_port import take_own_port
from appliance.live.addresses import result_socket
from appliance.site import audit
from appliance.site.folder import SiteFolder
from benchmarks import crowds
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.bus import ResultClient

# The goals: seconds until a fault shows, and until the picture is back.
SHOWN_S, RECOVERED_S = 1.0, 5.0
_LOOK_S, _LASTS_S, _LOST_S, _START_S = 0.05, 1.5, 60.0, 240.0
_TAKEN_BYTES = 512 * 2**20
_CROWD = 100
STRUCK = ("capture", "live", "display")


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault. shown_s: None where it did not show; recovered_s: None where the picture did not come back in time.
    Both in seconds. interrupts: whether it may show."""

    fault: str
    interrupts: bool
    at_s: float
    shown_s: float | None
    recovered_s: float | None


def run(
    work: Path, *, faults: int = 200, minutes: float = 10.0, seed: int = 0, source: str = "simulated",
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Strike a site in `work` that many times, at random moments of so many minutes, or as soon as the picture is back
    from the fault before; a picture that never comes back ends it. `ok`: no fault was the last word, and the site's
    files hold afterwards."""
    rng, struck = random.Random(seed), []
    site = SiteFolder.open(work / "site")
    take_own_port(site)
    with ServiceClient.connect(site) as client:
        try:
            client.start_live(source=source, reason="bench chaos")
            if not _is_well(client, _START_S):
                raise WardposeError("the live path shows nothing", where="bench chaos", mend="see the site's logs")
            began = time.monotonic()
            moments = sorted(rng.uniform(0, 60 * minutes) for _ in range(faults))
            kinds = [rng.choice(list(FAULTS)) for _ in moments]
            for number, (moment, kind) in enumerate(zip(moments, kinds, strict=True)):
                if progress is not None:
                    progress(number, faults, kind)
                time.sleep(max(0.0, began + moment - time.monotonic()))
                struck.append(_strike(client, site, kind, time.monotonic() - began))
                if struck[-1].recovered_s is None and not _is_well(client, _START_S):
                    break
            lasted = time.monotonic() - began
        finally:
            end_service(client)
    left = _left_wrong(site)
    rows = [_told([one for one in struck if one.fault == kind]) for kind in FAULTS if kind in {s.fault for s in struck}]
    lost = sum(one.recovered_s is None for one in struck)
    return {
        "ok": lost == 0 and not left, "faults": len(struck), "seconds": round(lasted, 1), "seed": seed, "lost": lost,
        "left": left, "rows": rows, "load": round(os.getloadavg()[0], 1),
        "shown_in_time": _share([s.shown_s for s in struck if s.interrupts], SHOWN_S),
        "recovered_in_time": _share([s.recovered_s for s in struck], RECOVERED_S),
    }  # fmt: skip


def _left_wrong(site: SiteFolder) -> list[str]:
    """What is wrong with the site's papers afterwards."""
    verdict = audit.verify(site)
    return [*kept.strays(site), *([] if verdict.whole else ["the audit trail's chain is broken"])]


def _is_well(client: ServiceClient, within_s: float) -> bool:
    """Whether the picture is live, and every process there, within so many seconds."""
    until = time.monotonic() + within_s
    while True:
        status = client.status()
        states = {each["name"]: each["state"] for each in status["processes"]}
        if status["live"]["state"] == "live" and all(states.get(name) == "running" for name in STRUCK):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


def _process(client: ServiceClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in client.status()["processes"] if each["name"] == name)
    return found


def _share(seconds: list[float | None], most: float) -> float | None:
    return round(sum(s is not None and s <= most for s in seconds) / len(seconds), 3) if seconds else None


def _told(of: list[Struck]) -> dict[str, Any]:
    shown = [one.shown_s for one in of if one.shown_s is not None]
    back = [one.recovered_s for one in of if one.recovered_s is not None]
    return {
        "fault": of[0].fault, "interrupts": of[0].interrupts, "tried": len(of), "showed": len(shown),
        "shown_median_s": _rounded(np.median, shown), "shown_most_s": _rounded(np.max, shown),
        "recovered_median_s": _rounded(np.median, back), "recovered_most_s": _rounded(np.max, back),
        "lost": len(of) - len(back),
    }  # fmt: skip


def _rounded(of: Callable[[list[float]], Any], seconds: list[float]) -> float | None:
    return round(float(of(seconds)), 2) if seconds else None


def _strike(client: ServiceClient, site: SiteFolder, kind: str, at_s: float) -> Struck:
    interrupts, deed = FAULTS[kind]
    before = {name: _process(client, name)["pid"] for name in STRUCK}
    began, shown, recovered = time.monotonic(), None, None
    with deed(client, site):
        while (elapsed := time.monotonic() - began) < _LOST_S:
            status = client.status()
            now = {each["name"]: each for each in status["processes"]}
            running = all(now[name]["state"] == "running" for name in before)
            changed = any(now[name]["pid"] != pid for name, pid in before.items())
            live = status["live"]["state"] == "live"
            if shown is None and (not running or changed or not live):
                shown = elapsed
            done = changed if kind.split()[0] in before else elapsed >= _LASTS_S
            if done and running and live:
                recovered = elapsed if shown is not None else 0.0
                break
            time.sleep(_LOOK_S)
    return Struck(kind, interrupts, round(at_s, 1), shown, recovered)


@contextlib.contextmanager
def _signalled(client: ServiceClient, name: str, number: int) -> Iterator[None]:
    os.kill(_process(client, name)["pid"], number)
    yield


@contextlib.contextmanager
def _core_taken(client: ServiceClient, site: SiteFolder) -> Iterator[None]:
    """The live process on one core, as when a cpuset takes the others away."""
    pid = _process(client, "live")["pid"]
    cores = os.sched_getaffinity(pid)
    _move(pid, {min(cores)})
    yield
    _move(pid, cores)


def _move(pid: int, cores: set[int]) -> None:
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), cores)


@contextlib.contextmanager
def _memory_taken(client: ServiceClient, site: SiteFolder) -> Iterator[None]:
    with mmap.mmap(-1, _TAKEN_BYTES) as taken:
        for place in range(0, _TAKEN_BYTES, mmap.PAGESIZE):
            taken[place] = 1
        yield


@contextlib.contextmanager
def _new_models(client: ServiceClient, site: SiteFolder) -> Iterator[None]:
    """The live process is told to open its models anew."""
    from appliance.live.plan import model_file

    plan = client.status()["live"]["plan"]
    pose = str(model_file(site, plan["pose"])) if plan["pose"] else None
    with ResultClient(result_socket(site)) as results, contextlib.suppress(WardposeError):
        results.command("use", detector=str(model_file(site, plan["detector"])), pose=pose)
    yield


@contextlib.contextmanager
def _crowd(client: ServiceClient, site: SiteFolder) -> Iterator[None]:
    with contextlib.suppress(OSError), contextlib.closing(crowds.never_read(result_socket(site), b"{}\n", _CROWD)):
        yield
        return
    yield


Deed = Callable[[ServiceClient, SiteFolder], contextlib.AbstractContextManager[None]]


def _signal(name: str, number: int) -> Deed:
    return lambda client, site: _signalled(client, name, number)


# Each fault: whether it interrupts the picture or a screen, and what does it.
FAULTS: dict[str, tuple[bool, Deed]] = {
    f"{name} {deed}": (True, _signal(name, number))
    for name in STRUCK
    for deed, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP), ("ended", signal.SIGTERM))
} | {
    "a core taken from the live process": (False, _core_taken),
    "half a gigabyte of memory taken": (False, _memory_taken),
    "the models opened anew": (False, _new_models),
    "a hundred at the results who never read": (False, _crowd),
}
