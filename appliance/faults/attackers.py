"""The crowd at a socket of a live site, in a process of its own: `python -m appliance.faults.attackers SITE DOOR`.

What is asked is what a crowd makes the box do, not what it costs to be a crowd: two hundred connections, megabytes of
noise and a hundred thousand brackets are work of the attackers', which on a box of two processors would be taken from
the live path and be counted as the sockets' fault. So whoever attacks runs at idle priority, in a session of its own
(whose group of processes the kernel would weigh as a whole otherwise), and only ever has what nobody else wants. What
it asks for is done by the site's own processes at theirs, and that is what is measured.

It says `there` when it has loaded what it wants. Then it is told what to do in lines on standard input, and answers in
lines: `begin ATTACK` → `ready`, when the connections are held; then it attacks again and again until `end` → how often
it did, when everything is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance import versions
from appliance.live.addresses import page_key_file, result_socket, service_socket
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.settings import load_settings
from benchmarks import crowds
from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps
from calibration.processes import die_with_parent
from runtime.display.page_key import page_key

STATUS = json.dumps({"call": "status", "version": versions.API_VERSION}).encode() + b"\n"
STATE = json.dumps({"command": "state"}).encode() + b"\n"
DOORS = ("the service's socket", "the bus", "the page")
_READY = "ready"
_PAUSE_S = 0.5  # between two of one attack
_DEAF = 8  # who ask and never read


class Attackers:
    """The crowd at one door, idle until `attacking`; one process for as long as the block lasts."""

    def __init__(self, site: SiteFolder, door: str) -> None:
        self.made = 0
        """How many attacks were made so far: at idle priority, a box without a free moment lets none through."""
        self._command = [sys.executable, "-m", "appliance.faults.attackers", str(site.root), door]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    @contextlib.contextmanager
    def attacking(self, attack: str) -> Iterator[None]:
        """The crowd is there while the block runs, and makes that attack again and again. Raises OSError where it can't
        get hold of the door."""
        if (answer := self._ask(f"begin {attack}")) != _READY:
            raise OSError(answer)
        try:
            yield
        finally:
            self.made += int(self._ask("end"))

    def _ask(self, words: str) -> str:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{words}\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        if not (answer := self._process.stdout.readline()):
            raise WardposeError("the crowd's process ended", where="bench faults", mend="see what it says above")
        return answer.strip()


def attacks_at(door: str, site: SiteFolder) -> Mapping[str, Callable[[], None]]:
    """Each attack on a door, by its name."""
    place = _place(door, site)
    found = {attack.__name__: partial(attack, place) for attack in crowds.ATTACKS}
    if isinstance(place, int):
        key = page_key(page_key_file(site))
        found |= {
            "no_header_ends": partial(crowds.no_header_ends, place),
            "deep_to_the_page": partial(crowds.deep_to_the_page, place, key),
            "wrong_kinds_to_the_page": partial(crowds.wrong_kinds_to_the_page, place, key),
        }
    return found


def _place(door: str, site: SiteFolder) -> crowds.Place:
    if door == "the page":
        return load_settings(site).display.port
    return service_socket(site) if door == "the service's socket" else result_socket(site)


def _deaf(door: str, site: SiteFolder) -> Any:
    """A connection that asks and never reads."""
    place = _place(door, site)
    if isinstance(place, int):
        return crowds.watch(place, page_key(page_key_file(site)))
    return crowds.never_read(place, STATUS if door == "the service's socket" else STATE, 200)


def _give_way() -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


@contextlib.contextmanager
def _crowd(site: SiteFolder, door: str) -> Iterator[None]:
    """Held connections and deaf readers at a door."""
    with contextlib.ExitStack() as crowd:
        crowd.enter_context(crowds.held(_place(door, site)))
        for _ in range(_DEAF):
            with contextlib.suppress(OSError):
                crowd.enter_context(contextlib.closing(_deaf(door, site)))
        yield


def _again_and_again(attack: Callable[[], None]) -> int:
    """Attack until a line comes; returns how often that was."""
    made, attacked_at = 0, 0.0
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        if time.monotonic() - attacked_at >= _PAUSE_S:
            attack()
            made, attacked_at = made + 1, time.monotonic()
    return made


def main() -> None:
    keep_out_of_dumps()
    root, door = sys.argv[1:]
    site = SiteFolder(Path(root))
    attacks = attacks_at(door, site)
    _give_way()
    _say("there")
    while line := sys.stdin.readline():
        try:
            with _crowd(site, door):
                _say(_READY)
                made = _again_and_again(attacks[line.split()[1]])
                sys.stdin.readline()
        except OSError as error:
            _say(f"{type(error).__name__}: {error}".replace("\n", " "))
            continue
        _say(str(made))


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
