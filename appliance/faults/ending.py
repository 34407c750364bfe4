"""The end of a service that a measurement started: its folder is deleted next, so it must be gone by then."""

from __future__ import annotations

import time

from appliance.client import ServiceClient
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity

_PATIENCE_S = 60.0


def end_service(client: ServiceClient) -> None:
    """Stop the service and wait until its process is gone; raises WardposeError where it stays."""
    identity = process_identity(int(client.status()["pid"]))
    client.stop_service()
    until = time.monotonic() + _PATIENCE_S
    while is_running(identity):
        if time.monotonic() > until:
            raise WardposeError("the service does not end", where=str(client.site.root), mend="see its log")
        time.sleep(0.1)
