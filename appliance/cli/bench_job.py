"""A tuning on a site of its own, which `wardpose bench live --job` runs beside the live path."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.progress import Progress

if TYPE_CHECKING:
    from appliance.client import ServiceClient

_IMAGES, _EPOCHS = 48, 500
_LOOK_S = 0.5


@contextlib.contextmanager
def tuning(progress: Progress) -> Iterator[None]:
    """A detector is tuned from here to the block's end, as jobs are: at their priority. Its images are made before."""
    from appliance.client import ServiceClient
    from appliance.site.folder import SiteFolder
    from calibration.errors import WardposeError

    with tempfile.TemporaryDirectory(prefix="wardpose-bench-job-") as work:
        site = SiteFolder.open(Path(work) / "site")
        with ServiceClient.connect(site) as client:
            try:
                data = client.carry_out("synth", {"scenario": "B", "count": _IMAGES}, progress)["out"]
                number = int(client.submit("tune", {"data": data, "task": "detect", "epochs": _EPOCHS})["id"])
                while not (job := _job(client, number))["done"]:  # until it trains
                    if job["state"] not in ("queued", "running"):
                        raise WardposeError(f"the tuning was {job['state']}: {job['error']}", where="bench live --job")
                    progress(0, 1, f"job: {job['note']}")
                    time.sleep(_LOOK_S)
                yield
            finally:
                client.stop_service()


def _job(client: ServiceClient, number: int) -> dict[str, Any]:
    return next(job for job in client.jobs() if job["id"] == number)
