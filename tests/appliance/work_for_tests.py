"""Small honest jobs: they count files into a folder, so that a resumed one can be seen to carry on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.jobs import JobKind, Progress
from appliance.site_folder import SiteFolder
from calibration.errors import WardposeError


def count_files(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    folder = Path(parameters["folder"])
    folder.mkdir(exist_ok=True)
    made = 0
    for index in range(parameters["count"]):
        path = folder / f"{index:04d}"
        if not path.exists():
            path.touch()
            made += 1
            time.sleep(parameters.get("seconds_each", 0.0))
        progress(index + 1, parameters["count"], f"file {index + 1}")
    return {"made": made}


def refuse(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    raise WardposeError("no bed", where="the ward", mend="put one there")


def break_down(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    raise ZeroDivisionError("one by none")


JOB_KINDS = (
    JobKind("count", "Counting", count_files),
    JobKind("count-light", "Counting quietly", count_files, heavy=False),
    JobKind("refuse", "Refusing", refuse),
    JobKind("break", "Breaking down", break_down),
)
