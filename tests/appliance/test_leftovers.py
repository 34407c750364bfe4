"""Housekeeping deletes what killed work left, only where nobody can still want it, and says what it freed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import housekeeping
from appliance.jobs import leftovers
from appliance.live.addresses import ring_name
from appliance.models.store import ModelStore
from appliance.site import audit
from appliance.site.folder import SiteFolder
from synth.render import kernel_cache
from tests.conftest import REPOSITORY

LONG_AGO = 30 * 86_400.0


def aged(path: Path, seconds: float = LONG_AGO) -> Path:
    """The file or folder, as if nobody had written to it for so long."""
    for each in (*path.rglob("*"), path):
        os.utime(each, (time.time() - seconds,) * 2)
    return path


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(3 << 20))
    return path


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Shared memory, temporary files and kernels of this test's own."""
    for name in ("shm", "tmp", "kernels"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(leftovers, "SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(leftovers.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(kernel_cache, "_places", lambda: [tmp_path / "kernels"])
    yield tmp_path


def found(site: SiteFolder) -> set[str]:
    return {leftover.path.name for leftover in leftovers.find(site)}


def test_every_kind_that_is_dead_is_deleted_and_told(
    site: SiteFolder, places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = [
        aged(made(site.calibrations / ".a.json.k3j2h1g0.part")),
        aged(made(site.datasets / "set" / "images" / ".000001.jpg.abcdefgh.part")),
        aged(made(site.models / ".half.x1y2z3w4" / "weights.safetensors").parent),
        aged(made(site.models / ".given-up.training" / "0a.safetensors").parent),
        aged(made(places / "shm" / ring_name(site))),
        aged(made(places / "shm" / "sem.wardpose-abcd1234")),
        aged(made(places / "shm" / "sem.mp-abcd1234")),
        aged(made(places / "tmp" / "wardpose-trial-abcd1234" / "model.onnx").parent),
        aged(made(places / "kernels" / "0123456789ab" / "kernel.nbc").parent),
    ]
    assert not housekeeping.tidy(site)
    assert not [path for path in dead if path.exists()]
    told = capsys.readouterr().err
    assert all(str(path) in told for path in dead) and told.count("3.0 MiB freed") == len(dead)
    (row,) = [row for row in audit.rows(site) if row.what == "site.tidy"]
    assert row.subject == "9 leftovers of killed work, 27.0 MiB" and ".half.x1y2z3w4" in row.reason


def test_what_may_still_be_wanted_stays(site: SiteFolder, places: Path) -> None:
    made(site.calibrations / ".new.json.k3j2h1g0.part")
    aged(made(site.models / ".resumable.training" / "0a.safetensors").parent, 86_400)
    aged(made(places / "shm" / "sem.mp-yngyng12"), 3_600)
    aged(made(places / "shm" / "somebody-elses"))
    aged(made(places / "tmp" / "wardpose-notes" / "mine.txt").parent)
    aged(made(places / "kernels" / kernel_cache.kernels_digest(REPOSITORY / "synth" / "render") / "kernel.nbc").parent)
    aged(made(site.plates / ".abcdef.part" / "color.png").parent)  # the plates' own rule
    assert not found(site)


def test_what_a_process_has_open_or_mapped_is_not_dead(site: SiteFolder, places: Path) -> None:
    part, ring = made(site.runs / ".a.json.k3j2h1g0.part"), made(places / "shm" / ring_name(site))
    code = (
        "import mmap, sys\n"
        f"part = open({str(part)!r}, 'rb')\nring = open({str(ring)!r}, 'r+b')\n"
        "mapped = mmap.mmap(ring.fileno(), 0)\nring.close()\nprint('there', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None and child.stdout.readline()
        aged(part), aged(ring)
        assert not found(site)
        child.stdin.close()
        child.wait()
    assert found(site) == {part.name, ring.name}


def test_a_model_that_is_being_made_is_not_half(site: SiteFolder) -> None:
    with pytest.raises(KeyboardInterrupt), ModelStore(site).adding("mine", origin="a tuning"):
        aged(made(site.models / ".mine.x1y2z3w4" / "weights.safetensors").parent)
        aged(made(site.models / ".mine.training" / "0a.safetensors").parent)
        assert not found(site)
        raise KeyboardInterrupt
    assert found(site) == {".mine.x1y2z3w4", ".mine.training"}


def test_our_semaphores_say_whose_they_are() -> None:
    code = (
        "import multiprocessing, os\nfrom appliance.program import name_semaphores\nname_semaphores()\n"
        "lock = multiprocessing.get_context('spawn').Lock()\nprint(lock._semlock.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert leftovers._ANY_SEMAPHORE.fullmatch(f"sem.{done.stdout.strip().removeprefix('/')}")
