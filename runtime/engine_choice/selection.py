"""The live path's choice of engines: at once what is known to be good, and better ones as they are found to be so.

The reference opens in a moment and serves while every other engine is tried in the background (`qualify`); TensorRT
may build for minutes. What was found is kept, so that the next start opens the best one at once. An engine that took
the live process with it is not tried a third time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.engine_choice.qualify import qualify_all
from runtime.engines.chain import EngineChain
from runtime.engines.engine import REFERENCE, InferenceEngine, build_engine, open_engine, require_engine_name
from runtime.engines.engine import probe_batch as warm_batch
from runtime.engines.onnx_engine import OnnxEngine
from runtime.engines.verdicts import Verdict, fastest, load_verdicts, save_verdicts

# How often a live process may end without a word while it uses an engine, until that engine is given up on this box.
_DEATHS = 2
_IN_USE = "in-use.json"


@dataclass(frozen=True, slots=True)
class EngineWish:
    """What is asked of the choice. prefer: this engine or an error. threads: so many on the CPU, not the measured.
    place: the folder of engines and verdicts, None: nothing is tried and nothing kept. pictures: folder of the site's
    synthetic images."""

    prefer: str | None = None
    threads: int | None = None
    place: Path | None = None
    pictures: Path | None = None


class _Threads(TypedDict):
    threads: int | None
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Left:
    """What a live process left in the folder of engines: those in use, and how often each took one with it."""

    names: list[str]
    deaths: dict[str, int]


def open_chain(onnx: Path, wish: EngineWish, *, without: frozenset[str] = frozenset()) -> EngineChain:
    """The best engine that is known to qualify for a model, with the reference behind it, warm and ready.

    without: names that are not to be used. Raises WardposeError for a file that is no usable model, and for a preferred
    engine that does not qualify.
    """
    if wish.prefer is not None:
        require_engine_name(wish.prefer)
    verdicts = load_verdicts(wish.place, onnx)
    reference = OnnxEngine(onnx, **_threads(verdicts, REFERENCE, wish))
    warm: InferenceEngine = reference
    engines: tuple[InferenceEngine, ...] = (reference,)
    if wish.prefer is not None and wish.prefer != REFERENCE:
        warm = _preferred(onnx, wish, reference, verdicts)
        engines = (warm, reference)
    elif wish.prefer is None:
        without |= _deadly(wish.place)
        verdicts = tuple(
            v.refused("the live process died while it was used") if v.name in without and v.qualifies else v
            for v in verdicts
        )
        best = fastest(verdicts, REFERENCE)
        if best is None and not verdicts and wish.place is None:
            warm = open_engine(onnx, threads=wish.threads)
            engines = (warm,) if warm.name == REFERENCE else (warm, reference)
            verdicts = tuple(Verdict(line.split(": ")[0], False, line.partition(": ")[2]) for line in warm.why)
            verdicts += (Verdict(warm.name, True),)
        elif best is not None:
            try:
                warm = build_engine(
                    best.name, onnx, reference.info, place=wish.place, **_threads(verdicts, best.name, wish)
                )
                engines = (warm, reference)
            except WardposeError as error:
                verdicts = tuple(v.refused(error.what) if v.name == best.name else v for v in verdicts)
    chain = EngineChain(engines, verdicts)
    for engine in reversed(engines):  # the first call of some engines takes long: not in the first frame
        engine.run(warm_batch(reference.info))
    return chain


def _preferred(
    onnx: Path, wish: EngineWish, reference: InferenceEngine, verdicts: tuple[Verdict, ...]
) -> InferenceEngine:
    """The engine asked for by name, where it qualified here or agrees with the reference's numbers now."""
    name = wish.prefer or REFERENCE
    known = next((v for v in verdicts if v.name == name), None)
    if known is None or not known.qualifies:
        return open_engine(onnx, prefer=name, threads=wish.threads)
    return build_engine(name, onnx, reference.info, place=wish.place, **_threads(verdicts, name, wish))


def _threads(verdicts: tuple[Verdict, ...], name: str, wish: EngineWish) -> _Threads:
    """As asked for, else as was found best, else as the engine has them."""
    known = next((v for v in verdicts if v.name == name), None)
    if wish.threads is not None or known is None:
        return _Threads(threads=wish.threads, pinned=False)
    return _Threads(threads=known.threads, pinned=known.pinned)


class EngineSearch:
    """Tries the engines for some models in the background, on a thread of its own that starts processes.

    models: file and, for a pose model, the detector's file. found: told on that thread when a model's verdicts are
    kept. Models with known verdicts are not tried again.
    """

    def __init__(self, models: dict[Path, Path | None], wish: EngineWish, found: Callable[[Path], None]) -> None:
        self._models, self._wish, self._found = models, wish, found
        self._thread = threading.Thread(target=self._run, name="engines", daemon=True)

    def start(self) -> None:
        if self._wish.place is not None and self._wish.prefer is None:
            self._thread.start()

    def _run(self) -> None:
        place = self._wish.place
        assert place is not None
        for onnx, detector in self._models.items():
            if load_verdicts(place, onnx):
                continue
            verdicts = qualify_all(
                onnx, place=place, detector=detector, pictures=self._wish.pictures, threads=self._wish.threads
            )
            save_verdicts(place, onnx, verdicts)
            self._found(onnx)


class InUse:
    """Notes which engines a live process uses, so that the next one knows when they took it with them.

    A file in the folder of engines, removed by a process that ends as it should. Only engines other than the reference
    are ever blamed.
    """

    def __init__(self, place: Path | None) -> None:
        self._file = None if place is None else place / _IN_USE
        self._noted: list[str] = []

    def begin(self) -> None:
        """Count the engines that a process left there as deadly once more."""
        if self._file is None:
            return
        left = _read(self._file)
        self._write([], left.deaths | {name: left.deaths.get(name, 0) + 1 for name in left.names})

    def note(self, names: list[str]) -> None:
        """These are in use from now on."""
        names = sorted(set(names) - {REFERENCE})
        if self._file is not None and names != self._noted:
            self._noted = names
            self._write(names, _read(self._file).deaths)

    def steady(self) -> None:
        """They have served long enough: what was held against them is over."""
        if self._file is not None:
            self._write(self._noted, {n: d for n, d in _read(self._file).deaths.items() if n not in self._noted})

    def end(self) -> None:
        """This process ends as it should."""
        if self._file is not None:
            self._write([], _read(self._file).deaths)

    def _write(self, names: list[str], deaths: dict[str, int]) -> None:
        assert self._file is not None
        try:
            if not names and not deaths:
                self._file.unlink(missing_ok=True)
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps({"names": names, "deaths": deaths}))
        except (WardposeError, OSError):  # a full disk must not end the live picture
            return


def _deadly(place: Path | None) -> frozenset[str]:
    if place is None:
        return frozenset()
    return frozenset(name for name, deaths in _read(place / _IN_USE).deaths.items() if deaths >= _DEATHS)


def _read(file: Path) -> _Left:
    try:
        found = parse_json(file.read_text())
        return _Left([str(n) for n in found["names"]], {str(n): int(d) for n, d in found["deaths"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return _Left([], {})
