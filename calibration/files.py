"""Calibrations on disk: one JSON file each, written whole, read with an error that names the field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.estimate import FORMAT_VERSION, CalibrationEstimate
from calibration.foreign_file import foreign_bytes
from calibration.json_text import parse_json
from calibration.posterior import is_positive_definite

MEND = "calibrate again, or restore the file from a backup"


def save_estimate(estimate: CalibrationEstimate, path: Path | str) -> None:
    """Write `estimate` as JSON; an older file stays until the new one is whole."""
    write_bytes(Path(path), estimate_text(estimate).encode())


def estimate_text(estimate: CalibrationEstimate) -> str:
    """What stands in the file of `estimate`."""
    return json.dumps(estimate.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_estimate(path: Path | str) -> CalibrationEstimate:
    """Read an estimate; raises WardposeError that names the file and, where one is at fault, the field."""
    where = str(path)
    try:
        content = foreign_bytes(Path(path))
    except FileNotFoundError:
        raise WardposeError("no such calibration", where=where, mend="calibrate first") from None
    except OSError as error:
        raise WardposeError(f"cannot be read: {error.strerror}", where=where, mend="check its rights") from error
    return parse_estimate(content, where)


def parse_estimate(content: bytes, where: str) -> CalibrationEstimate:
    """The estimate of a file's content; raises WardposeError that names `where` and the field at fault."""
    try:
        values = parse_json(content.decode("utf-8"))
    except ValueError as error:
        raise WardposeError(f"is not JSON ({error})", where=where, mend=MEND) from None
    if not isinstance(values, dict):
        raise WardposeError("holds no calibration", where=where, mend=MEND)
    if values.get("format") != FORMAT_VERSION:
        raise WardposeError(
            f"field format is {values.get('format')!r}, not {FORMAT_VERSION}", where=where, mend="calibrate again"
        )
    kinds: dict[str, type | tuple[type, ...]] = {
        "method": str, "made_at": str, "confirmed": bool, "camera": dict, "bed": dict, "camera_from_bed": list,
        "covariance": list, "reprojection_px": (int, float), "notes": list,
    }  # fmt: skip
    for name, kind in kinds.items():
        if name not in values:
            raise WardposeError(f"field {name} is missing", where=where, mend=MEND)
        if not isinstance(values[name], kind):
            raise WardposeError(f"field {name} is of the wrong kind", where=where, mend=MEND)
    for name in ("camera_from_bed", "covariance"):
        try:
            finite = bool(np.isfinite(np.asarray(values[name], dtype=np.float64)).all())
        except (TypeError, ValueError, OverflowError):
            finite = False
        if not finite:
            raise WardposeError(f"field {name} is no matrix of finite numbers", where=where, mend=MEND)
    try:
        estimate = CalibrationEstimate.from_dict(values)
    except KeyError as error:
        raise WardposeError(f"field camera.{error.args[0]} is missing", where=where, mend=MEND) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise WardposeError(f"holds a wrong value: {error}", where=where, mend=MEND) from None
    if not is_positive_definite(estimate.covariance):
        raise WardposeError("field covariance is no covariance", where=where, mend=MEND)
    return estimate
