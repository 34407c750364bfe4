"""An engine that can't fail alone: behind the best one stands the reference, which takes over within a frame."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.engines.engine import InferenceEngine
from runtime.engines.patience import PatientCall
from runtime.engines.verdicts import Verdict


class EngineChain:
    """Engines for one model, best first; the last one is the reference. An `InferenceEngine`.

    A call that fails, answers with what is no number, or does not answer within a second, is made again at once on the
    next engine, which serves from then on. A reference that never answers is the whole process's affair: whoever
    watches it begins it anew. `why` tells which engines are not used and for what reason, `told` the same for programs.
    One thread at a time may call `run`. verdicts: what is known of every engine on this box.
    """

    def __init__(self, engines: tuple[InferenceEngine, ...], verdicts: tuple[Verdict, ...] = ()) -> None:
        self._engines, self._verdicts = engines, verdicts
        self._failed: dict[str, str] = {}
        self._calls = PatientCall()
        self.info = engines[0].info
        self.name, self.why = engines[0].name, self._reasons()

    @property
    def failed(self) -> frozenset[str]:
        """The engines that have failed while they were in use. Any thread may ask."""
        return frozenset(list(self._failed))

    def _reasons(self) -> tuple[str, ...]:
        refused = {v.name: v.why for v in self._verdicts if not v.qualifies} | self._failed
        return tuple(f"{name}: {why}" for name, why in refused.items())

    def told(self) -> list[dict[str, Any]]:
        """Each engine: `name`, `used`, `qualifies`, `why` (not), `ms`, `threads`."""
        rows = []
        for verdict in self._verdicts or tuple(Verdict(engine.name, True) for engine in self._engines):
            used, failed = verdict.name == self.name, self._failed.get(verdict.name, "")
            why = failed or verdict.why or ("" if used else "not faster, or not by enough")
            rows.append(
                {"name": verdict.name, "used": used, "qualifies": verdict.qualifies and not failed, "why": why,
                 "ms": verdict.ms, "threads": verdict.threads}
            )  # fmt: skip
        return rows

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """As `InferenceEngine.run`; raises WardposeError only where the last engine fails too."""
        while len(self._engines) > 1:
            engine = self._engines[0]
            try:
                outputs = self._calls.run(engine.run, batch)
                if all(np.isfinite(output).all() for output in outputs):
                    return outputs
                why = "its output is not finite"
            except Exception as error:  # a library or a plug-in may raise anything
                why = error.what if isinstance(error, WardposeError) else f"{type(error).__name__}: {error}"
            self._failed[engine.name] = f"failed while in use ({' '.join(why.split())[:160]})"
            sys.stderr.write(f"engine {engine.name} {self._failed[engine.name]}; {self._engines[1].name} takes over\n")
            self._engines = self._engines[1:]
            self.name, self.why = self._engines[0].name, self._reasons()
        return self._engines[0].run(batch)
