"""A file or folder as a person names it."""

from __future__ import annotations

from pathlib import Path

from calibration.errors import WardposeError


def named_place(named: Path | str) -> Path:
    """The absolute path; `~` is their home, also where no shell has seen it. Raises `WardposeError`."""
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError:
        raise WardposeError("nobody's home is called so", where=str(named), mend="write the folder out") from None
    except FileNotFoundError:  # of the working folder
        raise WardposeError(
            "the folder that this is run in is gone", where=str(named), mend="go to another, or write the place out"
        ) from None
