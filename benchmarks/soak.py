"""A site watched for an hour: does anything of it grow? Memory, time, files, descriptors, a row every few seconds.

It looks at processes and at a folder from outside and starts neither; `wardpose bench soak` gives it both.
"""

from __future__ import annotations

import contextlib
import csv
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.growth import growth
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.bus import ResultClient

SAMPLE_S = 10.0
SHARED = Path("/dev/shm")
WARM_UP = 0.1  # of the time, at the beginning, which is not judged: caches fill, kernels are compiled
MEMORY_TOLERANCE = 4.0  # MiB an hour: what allocators gather without a leak
JOB_TOLERANCE = 40.0  # MiB an hour: of a few hundred, which a job frees when it ends
P99_TOLERANCE = 0.05  # of its median, an hour
COUNT_TOLERANCE = 1.0  # files, descriptors, threads an hour
# Each process of a site, by the module it runs; workers of a job count as the job.
MODULES = {
    "appliance.service": "service", "runtime.capture.process": "capture", "runtime.live": "live",
    "runtime.display.service": "display", "appliance.job_process": "job",
}  # fmt: skip
STEADY = ("service", "capture", "live", "display", "drift")  # they live as long as the site runs


def run(
    minutes: float, *, service: int, socket: Path, site: Path, key: str, out: Path, beside: Callable[[], int],
    aside: Callable[[Path], bool] = lambda path: False, temporary: Path | None = None, sample_s: float = SAMPLE_S,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Watch the process `service` and its children for `minutes`.

    socket: where its live process publishes. site: the folder whose files are counted, without those that `aside`
    names. key: what stands in the names of its shared memory. temporary: the folder for temporary files. beside: how
    many pieces of work were done beside it, so far. out: the folder that keeps `soak.csv`, written row by row, and
    `soak.png`.
    """
    out.mkdir(parents=True, exist_ok=True)
    curve, rows = out / "soak.csv", []
    began = time.monotonic()
    until = began + 60 * minutes
    with _Latencies(socket) as latencies, curve.open("w", newline="") as stream:
        writer: csv.DictWriter[str] | None = None
        while (now := time.monotonic()) < until:
            time.sleep(min(sample_s, until - now))
            row = {"at_s": round(time.monotonic() - began, 1), "load": os.getloadavg()[0], "work": beside()}
            row |= latencies.figures() | _processes(service) | _files(site, key, aside, temporary)
            if writer is None:
                writer = csv.DictWriter(stream, list(row))
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            rows.append(row)
            if progress is not None:
                progress(
                    int(time.monotonic() - began), int(60 * minutes), f"{row['fps']:.1f} frames/s, {row['work']} jobs"
                )
    return judge(rows, minutes) | {"curve": str(curve), "picture": str(_draw(rows, out / "soak.png"))}


def judge(rows: list[dict[str, float]], minutes: float) -> dict[str, Any]:
    """What grew, of a run's rows. `ok`: nothing is known to grow.

    p99 is judged by the load of the box (`steadied`), and as it is where it grows by the load: others' work that ends
    and had never kept us waiting looks like growth so.
    """
    judged = [row for row in rows if row["at_s"] >= WARM_UP * rows[-1]["at_s"]] if rows else []
    at = [row["at_s"] for row in judged]
    calm = [steadied(row["p99_ms"], row["load"]) for row in judged]
    tolerances = {f"{name}_descriptors": COUNT_TOLERANCE for name in STEADY}
    tolerances |= dict.fromkeys(("files", "temporary", "shared", "threads"), COUNT_TOLERANCE)
    found = {name: growth(at, [row[name] for row in judged], tolerance=most) for name, most in tolerances.items()}
    for name in (f"{steady}_mib" for steady in STEADY):
        found[name] = growth(at, [row[name] for row in judged], tolerance=MEMORY_TOLERANCE, floor=True)
    found["job_mib"] = growth(*_peaks(judged), tolerance=JOB_TOLERANCE)
    late = [row["p99_ms"] for row in judged]
    by_load, raw = (growth(at, values, tolerance=_p99_tolerance(values)) for values in (calm, late))
    if by_load is not None and by_load.verdict == "grows":
        found["p99_ms"] = raw
    else:
        found["p99_ms_by_load"] = by_load
    load = growth(at, [row["load"] for row in judged], tolerance=0.0)
    told = {name: value.to_dict() for name, value in found.items() if value is not None}
    steady = [value for name, value in found.items() if value is not None and name in {f"{s}_mib" for s in STEADY}]
    hours = (at[-1] - at[0]) / 3600 if at else 0.0
    return {
        "ok": all(value["verdict"] != "grows" for value in told.values()),
        "minutes": minutes,
        "samples": len(rows),
        "work": rows[-1]["work"] if rows else 0,
        "rss_growth_mib": round(sum(value.per_hour for value in steady) * hours, 2),
        "p99_start_ms": round(raw.start, 1) if raw else None,
        "p99_end_ms": round(raw.end, 1) if raw else None,
        "load_start": round(load.start, 1) if load else None,
        "load_end": round(load.end, 1) if load else None,
        "fps": round(float(np.median([row["fps"] for row in judged])), 2) if judged else None,
        "growth": told,
    }


def _p99_tolerance(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return P99_TOLERANCE * float(np.median(known)) if known else 0.0


def steadied(p99_ms: float, load: float) -> float:
    """p99 as it were with a processor for each program that wants one: what else a box does meanwhile is no growth of
    ours. load: how many programs wanted a processor, on average over a minute."""
    return p99_ms / max(1.0, load / (os.cpu_count() or 1))


def _peaks(rows: list[dict[str, float]]) -> tuple[list[float], list[float]]:
    """When each piece of work ended, and the most memory it took: within one, memory comes and goes."""
    whole: dict[float, list[dict[str, float]]] = {}
    for row in rows:
        whole.setdefault(row["work"], []).append(row)
    ended = list(whole.values())[:-1]
    return [rows[-1]["at_s"] for rows in ended], [float(np.nanmax([r["job_mib"] for r in rows])) for rows in ended]


class _Latencies:
    """From a frame's capture to its skeletons, as the live process publishes them."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._ms: list[float] = []
        self._since = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="latencies", daemon=True)

    def __enter__(self) -> _Latencies:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        """`fps`, `p50_ms`, `p99_ms` since the last call; not a number where nothing came."""
        with self._lock:
            taken, self._ms = self._ms, []
            seconds, self._since = time.monotonic() - self._since, time.monotonic()
        p50, p99 = np.percentile(taken, [50, 99]) if taken else (np.nan, np.nan)
        return {
            "fps": round(len(taken) / max(seconds, 1e-9), 2),
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
        }

    def _listen(self) -> None:
        newest = 0.0
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(ResultClient(self._socket))
            while not self._stopping.is_set():
                try:
                    message = client.latest(1.0)
                except WardposeError:
                    self._stopping.wait(0.2)
                    continue
                if message["state"] == "live" and message["finished_at"] > newest:
                    newest = message["finished_at"]
                    with self._lock:
                        self._ms.append((newest - message["captured_at"]) * 1e3)


def _processes(service: int) -> dict[str, float]:
    """Private memory (MiB), open descriptors and threads of the site's processes."""
    memory = dict.fromkeys((*STEADY, "job"), 0.0)
    descriptors, threads = dict.fromkeys(STEADY, 0), 0
    for process, name in _named(service):
        with contextlib.suppress(psutil.Error, OSError):
            memory[name] += process.memory_full_info().uss / 2**20
            if name in descriptors:
                descriptors[name] += process.num_fds()
                threads += process.num_threads()
    absent = float("nan")
    return {
        **{f"{name}_mib": round(value, 2) if value else absent for name, value in memory.items()},
        **{f"{name}_descriptors": value or absent for name, value in descriptors.items()},
        "threads": threads,
    }  # fmt: skip


def _named(service: int) -> Iterator[tuple[psutil.Process, str]]:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(service)
        jobs: set[int] = set()
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                name = next((MODULES[word] for word in words if word in MODULES), "")
                if "drift" in words:
                    name = "drift"
                if not name and process.ppid() in jobs:
                    name = "job"
                if name == "job":
                    jobs.add(process.pid)
                if name:
                    yield process, name


def _files(site: Path, key: str, aside: Callable[[Path], bool], temporary: Path | None) -> dict[str, float]:
    files = sum(1 for path in site.rglob("*") if not aside(path.relative_to(site)))
    left = sum(1 for _ in temporary.rglob("*")) if temporary is not None else 0
    return {"files": files, "temporary": left, "shared": sum(1 for name in os.listdir(SHARED) if key in name)}


def _draw(rows: list[dict[str, float]], path: Path) -> Path:
    """The curves of a run: memory, times, counts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1, sharex=True)
    at = [row["at_s"] / 60 for row in rows]
    panels = (
        ("private memory (MiB)", [f"{name}_mib" for name in (*STEADY, "job")]),
        ("capture to skeleton (ms)", ["p50_ms", "p99_ms"]),
        ("count", ["files", "temporary", "shared", "threads", *(f"{name}_descriptors" for name in STEADY)]),
    )
    for axis, (title, names) in zip(axes, panels, strict=True):
        for name in names:
            axis.plot(at, [row[name] for row in rows], label=name.removesuffix("_mib").replace("_", " "), linewidth=1)
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, ncols=3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=110)
    return path
