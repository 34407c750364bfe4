"""What a source may be able to do besides delivering frames. It says so by having the method; most have none of them.

Whoever needs an ability asks `runtime.capture.source.ability_of` for it, whatever the source is called.
`synth.dataset.HoldsOutFrames` is one more.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from calibration.estimate import CalibrationEstimate


@runtime_checkable
class LaysTarget(Protocol):
    """A source that lays the printed target on its bed by itself: there is nobody who could be asked to."""

    def with_target(self) -> str:
        """The argument (what stands after `kind:`) of the same source with the target on its bed."""
        ...


@runtime_checkable
class EmptiesBed(Protocol):
    """A source whose bed empties itself: there is nobody who could be asked to leave it."""

    def emptied(self) -> str:
        """The argument of the same source with nobody in its bed or beside it."""
        ...


@runtime_checkable
class KnowsTruth(Protocol):
    """A source that knows where it really stands."""

    def true_calibration(self) -> CalibrationEstimate:
        """The truth, for saying how good a calibration is; nothing else may use it."""
        ...
