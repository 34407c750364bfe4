"""What killed work left behind, which nobody will use again: deleted where it is surely dead, and told.

Surely dead is what no process of this box has open or mapped and nobody wrote to for a while, and for which no work is
under way. What could still be gone on with, such as an interrupted tuning, waits for days.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.jobs.store import ACTIVE, JobStore
from appliance.live.addresses import ring_name
from appliance.site import audit, intents
from appliance.site.folder import SiteFolder
from calibration.disk import ROOM, DiskError
from runtime.capture.ring_layout import SHARED_MEMORY
from synth.render.kernel_cache import unused_kernels
from tuning.store.card import CARD_FILE

QUIET_S = 600.0  # nobody writes a file so long without a sign, or renames it so long after its last byte
DAY_S = 86_400.0
GIVEN_UP_S = 7 * DAY_S  # an interrupted tuning that nobody went on with
SEMAPHORES = "sem.wardpose-"  # how those of our programs are called (see `appliance.program`)
_ANY_SEMAPHORE = re.compile(r"sem\.(wardpose|mp)-[a-z0-9_]{8}")
_WORK_FOLDER = re.compile(r"wardpose-(trial|bench|evaluate|soak|kill)-[a-z0-9_]{8}")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that nobody needs. why: what it is, in words."""

    path: Path
    why: str


def clear(site: SiteFolder) -> tuple[list[str], list[str]]:
    """Delete what is surely dead, with one audit row; returns what was freed and what couldn't be, a line each."""
    lines: list[str] = []
    stuck: list[str] = []
    dead = find(site)
    if not dead:
        return lines, stuck
    # Where it is cut off, what has a name of its own in the site goes too; rings and kernels may be used again by then.
    told = _told(dead)
    own, names = [found.path for found in dead if found.path.is_relative_to(site.root)], [found.path for found in dead]
    try:
        with (
            contextlib.suppress(_NothingFreed),
            intents.intend(site, "site.tidy", told, _named(names), deletes=own, again=True) as deed,
        ):
            lines, stuck = _delete(dead)
            if not lines:
                raise _NothingFreed
            deed.reason = _named([path for path in names if not os.path.lexists(path)])
    except intents.Gone:  # another program of the site clears the same away
        return lines, stuck
    except DiskError as error:
        left = [found for found in dead if os.path.lexists(found.path)]
        if sum(_size(found.path) for found in left) < ROOM:  # nothing that its row would find room by
            return lines, [*stuck, str(error)]
        more, stuck = _delete(left)
        lines += more
        with contextlib.suppress(DiskError):
            audit.record(site, "site.tidy", told, _named([found.path for found in left]))
    return lines, stuck


class _NothingFreed(Exception):
    """There is nothing to write down."""


def _told(dead: Sequence[Leftover]) -> str:
    return f"{len(dead)} leftovers of killed work, {sum(_size(found.path) for found in dead) / 2**20:.1f} MiB"


def _named(paths: Sequence[Path]) -> str:
    return "; ".join(path.name for path in paths)[:2000]


def _delete(dead: Sequence[Leftover]) -> tuple[list[str], list[str]]:
    lines, stuck = [], []
    for found in dead:
        size = _size(found.path)
        try:
            if found.path.is_dir() and not found.path.is_symlink():
                shutil.rmtree(found.path)
            else:
                found.path.unlink(missing_ok=True)
        except OSError as error:
            stuck.append(f"{found.path}: {found.why}, can't be deleted: {(error.strerror or str(error)).lower()}")
            continue
        lines.append(f"{found.path}: {found.why}; {size / 2**20:.1f} MiB freed")
    return lines, stuck


def find(site: SiteFolder) -> list[Leftover]:
    """What lies about on this box for this site, and is surely dead."""
    used, whole_view = in_use()
    found = [*_parts(site, used), *_models(site, used), *_shared(site, used, whole_view), *_work_folders(used)]
    return found + [Leftover(path, "compiled kernels of another version") for path in unused_kernels()]


def in_use() -> tuple[frozenset[str], bool]:
    """The paths that processes of this box have open, mapped or as their folder; and whether all of this user's could
    be looked at."""
    paths: set[str] = set()
    whole, own = True, os.getuid()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            mine = process.stat().st_uid in (own, os.geteuid())
            paths.add(os.readlink(process / "cwd"))
            for descriptor in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    paths.add(os.readlink(process / "fd" / descriptor))
            for line in (process / "maps").read_text(errors="replace").splitlines():
                if "/" in line:
                    paths.add(line[line.index("/") :])
        except PermissionError:
            whole = whole and (not mine or process.name == "1")  # a container's first process may be closed to all
        except OSError:
            continue  # it has ended
    return frozenset(paths), whole


def _parts(site: SiteFolder, used: frozenset[str]) -> Iterator[Leftover]:
    """What `atomic_file` was writing when it was killed. Plates and recordings have their own rules."""
    for path in site.root.rglob(".*.part"):
        if path.parent != site.plates and path.is_file() and str(path) not in used and _quiet(path, QUIET_S):
            yield Leftover(path, "a file whose writing was cut off")


def _models(site: SiteFolder, used: frozenset[str]) -> Iterator[Leftover]:
    """Half models, and interrupted tunings that nobody went on with."""
    making = set(intents.being_made(site))
    for job in JobStore(site).all(1000, states=ACTIVE):
        making.add(str(site.models / str(job.parameters.get("name"))))
    for folder in site.models.glob(".*"):
        if not folder.is_dir() or _holds(folder, used):
            continue
        name = folder.name[1:].rpartition(".")[0]
        if not name or any(str(site.models / name) in path for path in making):
            continue
        if folder.name.endswith(".training"):
            if (site.models / name / CARD_FILE).exists() and _quiet(folder, QUIET_S):
                yield Leftover(folder, "the unfinished tuning of a model that is finished")
            elif _quiet(folder, GIVEN_UP_S):
                yield Leftover(folder, "an unfinished tuning that nobody went on with for a week")
        elif _quiet(folder, QUIET_S):
            yield Leftover(folder, "a model whose making was cut off")


def _shared(site: SiteFolder, used: frozenset[str], whole_view: bool) -> Iterator[Leftover]:
    """The frame ring of a capture process that was killed, and semaphores that no process has mapped."""
    ring = SHARED_MEMORY / ring_name(site)
    if whole_view and _dead(ring, used, QUIET_S):
        yield Leftover(ring, "the frame ring of a killed process")
    for path in SHARED_MEMORY.glob("sem.*"):
        quiet = QUIET_S if path.name.startswith(SEMAPHORES) else DAY_S
        if whole_view and _ANY_SEMAPHORE.fullmatch(path.name) and _dead(path, used, quiet):
            yield Leftover(path, "a semaphore of killed processes")


def _work_folders(used: frozenset[str]) -> Iterator[Leftover]:
    for path in Path(tempfile.gettempdir()).glob("wardpose-*"):
        with contextlib.suppress(OSError):
            ours = _WORK_FOLDER.fullmatch(path.name) and path.lstat().st_uid == os.getuid() and not path.is_symlink()
            if ours and _quiet(path, DAY_S) and not _holds(path, used):
                yield Leftover(path, "the temporary folder of killed work")


def _dead(path: Path, used: frozenset[str], seconds: float) -> bool:
    try:
        return path.lstat().st_uid == os.getuid() and str(path) not in used and _quiet(path, seconds)
    except OSError:
        return False


def _holds(folder: Path, used: frozenset[str]) -> bool:
    """Whether any process has the folder, or something in it."""
    inside = f"{folder}/"
    return str(folder) in used or any(path.startswith(inside) for path in used)


def _quiet(path: Path, seconds: float) -> bool:
    """Whether nothing in it was written for so long, by this box's clock."""
    try:
        newest = max((each.lstat().st_mtime for each in (path, *path.rglob("*"))), default=0.0)
    except OSError:
        return False
    return 0 <= time.time() - newest > seconds


def _size(path: Path) -> int:
    total = 0
    for each in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):
            about = each.lstat()
            total += about.st_blocks * 512
    return total
