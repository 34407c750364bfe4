"""The soak tells growth from noise, and what the box does besides from what the site does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import soak
from benchmarks.growth import growth

HOUR = np.arange(0.0, 3600.0, 10.0)


@pytest.mark.parametrize("per_hour", [0.0, -3.0, 1.0])
def test_noise_with_bursts_is_no_growth(per_hour: float) -> None:
    rng = np.random.default_rng(1)
    values = 100 + per_hour * HOUR / 3600 + rng.normal(0, 2, len(HOUR))
    values[rng.random(len(HOUR)) < 0.1] += 80
    found = growth(HOUR, values, tolerance=6.0)
    assert found is not None and found.verdict != "grows" and found.low <= per_hour <= found.high


def test_a_leak_shows_under_the_same_noise() -> None:
    rng = np.random.default_rng(2)
    values = 100 + 20 * HOUR / 3600 + rng.normal(0, 2, len(HOUR))
    values[rng.random(len(HOUR)) < 0.1] += 80
    found = growth(HOUR, values, tolerance=6.0)
    assert found is not None and found.verdict == "grows" and 14 < found.per_hour < 26


def test_memory_that_work_takes_and_gives_back_is_judged_by_its_floor() -> None:
    values = 100.0 + 50 * (np.arange(len(HOUR)) % 7 > 0) * (HOUR / 3600)
    by_floor, by_median = (growth(HOUR, values, tolerance=1.0, floor=floor) for floor in (True, False))
    assert by_floor is not None and by_median is not None
    assert by_floor.verdict == "no growth" and by_median.verdict == "grows"


def test_too_little_is_no_judgement() -> None:
    assert growth([0.0, 1.0], [1.0, 2.0], tolerance=1.0) is None
    assert growth(HOUR, np.full(len(HOUR), np.nan), tolerance=1.0) is None


def row(at_s: float, **values: float) -> dict[str, float]:
    names = [f"{name}_{kind}" for name in soak.STEADY for kind in ("mib", "descriptors")]
    steady = dict.fromkeys((*names, "job_mib", "threads", "shared", "files", "temporary"), 10.0)
    return (
        {"at_s": at_s, "load": 1.0, "work": at_s // 300, "fps": 5.0, "p50_ms": 100.0, "p99_ms": 200.0} | steady | values
    )


def test_pictures_that_come_later_because_the_box_got_busy_are_no_growth_of_ours() -> None:
    cores = os.cpu_count() or 1
    busy = [row(at, load=cores * (1 + at / 900), p99_ms=200 * (1 + at / 900)) for at in HOUR]
    ours = [row(at, p99_ms=200 * (1 + at / 900)) for at in HOUR]
    assert soak.judge(busy, 60)["ok"] and soak.judge(busy, 60)["p99_end_ms"] > soak.judge(busy, 60)["p99_start_ms"]
    assert not soak.judge(ours, 60)["ok"]


def test_others_work_that_ends_and_had_kept_nobody_waiting_is_no_growth_of_ours() -> None:
    cores = os.cpu_count() or 1
    calmer = [row(at, load=cores * (9 - at / 450), p99_ms=200 - at / 60) for at in HOUR]
    found = soak.judge(calmer, 60)
    assert found["ok"] and found["p99_end_ms"] < found["p99_start_ms"]


def test_each_kind_of_growth_is_named() -> None:
    for name in ("live_mib", "service_descriptors", "files", "temporary", "shared", "threads"):
        found = soak.judge([row(at, **{name: 10 + 40 * at / 3600}) for at in HOUR], 60)
        assert [each for each, value in found["growth"].items() if value["verdict"] == "grows"] == [name]


def test_a_run_keeps_its_curve_also_where_nothing_is_published(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    found = soak.run(
        0.02, service=os.getpid(), socket=tmp_path / "none.sock", site=site, key="nobody", out=tmp_path / "out",
        beside=lambda: 0, sample_s=0.2,
    )  # fmt: skip
    assert found["ok"] and Path(found["picture"]).stat().st_size > 1000
    assert len((tmp_path / "out" / "soak.csv").read_text().splitlines()) == found["samples"] + 1
