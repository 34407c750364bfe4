"""What every method of calibration takes and gives, whatever it looks at: a target, depth, clicks or a tape measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One look at the bed, with what its camera knows.

    color: (H, W, 3) uint8 RGB as the lens saw it. depth: (h, w) uint16 millimetres, 0 = none, with its own lens and
    `color_from_depth` (4, 4). up: the direction against gravity (3,), in the colour camera's coordinates. None where
    the camera has or knows no such thing.
    """

    color: NDArray[np.uint8]
    camera: CameraModel
    depth: NDArray[np.uint16] | None = None
    depth_camera: CameraModel | None = None
    color_from_depth: NDArray[np.float64] | None = None
    up: NDArray[np.float64] | None = None


class Calibrator(Protocol):
    """One way to find where the camera stands.

    name: of the method, kept with the estimate. looks: how many sights it wants. target: whether something printed has
    to lie on the bed for it.
    """

    name: str
    looks: int
    target: bool

    @classmethod
    def from_argument(cls, argument: str, bed: Bed) -> Self:
        """From what a person wrote after the method's name, "" where nothing; WardposeError where that won't do."""
        ...

    def calibrate(
        self, sights: Sequence[Sight], bed: Bed, progress: Progress | None = None
    ) -> tuple[CalibrationEstimate, Sight]:
        """The unconfirmed estimate and the sight to show a person with it; at least one sight is given, all of one
        camera that has not moved. Raises WardposeError with the reason where nothing can be trusted."""
        ...


def best_of(
    estimate: Callable[[Sight], CalibrationEstimate], sights: Sequence[Sight], progress: Progress | None = None
) -> tuple[CalibrationEstimate, Sight]:
    """The estimate of the sight that fits best, and that sight: one may be blurred, or an arm may hide the target.

    Raises the last refusal where none will do.
    """
    best: tuple[CalibrationEstimate, Sight] | None = None
    refusal: WardposeError | None = None
    for number, sight in enumerate(sights, start=1):
        try:
            found = estimate(sight)
        except WardposeError as error:
            refusal = error
        else:
            if best is None or found.reprojection_px < best[0].reprojection_px:
                best = found, sight
        if progress is not None:
            progress(number, len(sights), "" if best is None else f"{best[0].reprojection_px:.2f} px")
    if best is None:
        assert refusal is not None
        raise refusal
    return best


def takes_no_argument(method: str, argument: str) -> None:
    """Raise WardposeError where something was written after the name of a method that has no choices."""
    if argument:
        raise WardposeError(f"{method} takes no argument, got {argument!r}", where="calibrate", mend="leave it out")
