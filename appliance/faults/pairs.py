"""Two at once: every deed that writes, done by two processes at one moment, on a small site that both work on.

One is done and the other refused in one line, or both are done one after the other; nothing is lost, nothing stands
without its row, and nobody sees a defect.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from appliance.bedside import recordings, skeleton_streams
from appliance.deeds import Deeds
from appliance.faults.children import FINISHED, at_once, fresh_copy, in_child
from appliance.faults.holding import holds
from appliance.faults.operations import OPERATIONS
from appliance.jobs.store import JobStore
from appliance.live import pauses
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.processes import process_identity

ROUNDS = 5  # of each deed: who is first is chance
_DONE = "done"
Deed = Callable[[SiteFolder], object]


def _nothing(site: SiteFolder) -> None:
    """The site is as the deed wants it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A deed for two. before: what it wants of the site first. once: only one of the two can have done it: it takes
    a name, or deletes something."""

    deed: Deed
    before: Deed = _nothing
    once: bool = False


def _asked(name: str, /, **parameters: object) -> Deed:
    return lambda site: Deeds(site).ask(name, **parameters)


def _recorded(name: str, /, **parameters: object) -> Deed:
    # The recorder is the suite, not one of the two: a name whose recorder has ended is free again.
    return lambda site: Deeds(site).ask(
        name, seconds=1.0, expires="1d", process=process_identity(os.getppid()), reason="how she turns over",
        **{key: str(site.root / "night.mkv") if key == "file" else value for key, value in parameters.items()},
    )  # fmt: skip


def _resumed(site: SiteFolder) -> None:
    pauses.resume(site, "washed")


def _submitted(site: SiteFolder) -> None:
    JobStore(site).submit("export", {"model": "first"})


def _cancelled(site: SiteFolder) -> None:
    _submitted(site)
    JobStore(site).cancel(1)


def _promoted(site: SiteFolder) -> None:
    ModelStore(site).record_promotion("second", accepted=True, reasons={"asked": "better"})


def _opened_to_others(site: SiteFolder) -> None:
    site.root.chmod(0o755)


def _recording(site: SiteFolder) -> None:
    _recorded("camera.record", file="", source="simulated")(site)


def _kept_stream(site: SiteFolder) -> None:
    file = skeleton_streams.file_of(site, "night")
    file.parent.mkdir(mode=0o700)
    number, _ = recordings.begin(
        site, file, source="skeletons", seconds=1.0, reason="how she turns over", expires="1d", process="",
        deed=recordings.SKELETONS,
    )  # fmt: skip
    file.write_bytes(bytes(1000))
    recordings.end(site, number, kept=True)


# Whatever is not among the operations that the suite cuts off.
_MORE: dict[str, Pair] = {
    "recording begun": Pair(_recorded("camera.record", file="", source="simulated"), once=True),
    "recording ended": Pair(_asked("camera.recorded", id=2, kept=False), _recording),
    "skeletons begun": Pair(_recorded("skeletons.record", name="night"), once=True),
    "skeletons exported": Pair(
        _asked("skeletons.export", name="night", to="bids", out="/tmp/night", reason="a study"), _kept_stream
    ),
    "skeletons deleted": Pair(_asked("skeletons.delete", name="night", reason="it is over"), _kept_stream, once=True),
    "resume": Pair(_resumed, pauses.pause),
    "job cancelled": Pair(_asked("jobs.cancel", id=1), _submitted),
    "job paused": Pair(_asked("jobs.pause", id=1), _submitted),
    "job resumed": Pair(_asked("jobs.resume", id=1), _cancelled, once=True),
    "model rolled back": Pair(_asked("models.rollback", task="detect", reason="it misses feet"), _promoted),
    "certificate made": Pair(_asked("station.certificate", names=["bed12.ward.local"], reason="the first")),
    "station switched": Pair(_asked("station.switch", on=False, reason="no longer wanted")),
    "site closed": Pair(_asked("site.close"), _opened_to_others),
    "box set up": Pair(_asked("box.installed", names=["EGL"])),
    "camera looked through": Pair(
        _asked("camera.look", source="simulated", what="picture", reason="is the bed in sight?")
    ),
    "plate looked at": Pair(_asked("plates.look", name="monday", reason="is it still the room?")),
    "live path ended in a terminal": Pair(_asked("live.ended", process="1 2 3", reason="Ctrl-C")),
}
# Of the operations, those that take a name or delete something.
_ONCE = frozenset(
    {"plate kept", "plate removed", "model added", "model removed", "data set removed", "calibration discarded"}
)
PAIRS = {name: Pair(deed, once=name in _ONCE) for name, deed in OPERATIONS.items()} | _MORE


@dataclass(slots=True)
class Met:
    """What came of a deed for two. both: times that both were done; refused: the line that the other was told."""

    deed: str
    tried: int = 0
    both: int = 0
    refused: str = ""
    lost: int = 0
    faults: list[str] = field(default_factory=list)


def meet(name: str, original: Path, work: Path, *, rounds: int = ROUNDS) -> Met:
    """Do it so often, each time on a fresh copy at `work` of the site `original`. For a process with one thread."""
    pair, met = PAIRS[name], Met(name)
    for _ in range(rounds):
        root = fresh_copy(original, work)
        ready, told = in_child(partial(_alone, pair.before, root))
        if (ready, told) != (FINISHED, _DONE):
            raise RuntimeError(f"{name}: {told}")
        answers = at_once([partial(_alone, pair.deed, root)] * 2)
        met.tried += 1
        done = [told for status, told in answers if (status, told) == (FINISHED, _DONE)]
        refused = [told for status, told in answers if status == FINISHED and told != _DONE]
        faults = [f"a defect: {told}" for status, told in answers if status != FINISHED]
        faults += [f"told in more than one line: {told}" for told in refused if "\n" in told]
        if not done or (pair.once and len(done) > 1):
            faults.append(f"{len(done)} of the two were done: {refused}")
        faults += in_child(partial(_faults_of, root))[1].splitlines()
        met.both += len(done) > 1
        met.refused = refused[0] if refused else met.refused
        met.lost += bool(faults)
        met.faults += faults
    return met


def _alone(deed: Deed, root: Path) -> str:
    try:
        deed(SiteFolder.open(root))
    except WardposeError as error:
        return str(error)
    return _DONE


def _faults_of(root: Path) -> str:
    return "\n".join(holds(SiteFolder.open(root)))
