"""The watch as the box starts it: what it keeps is written down, and what a former version kept is gone."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from appliance.live.plan import result_socket, ring_name
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from calibration.drift import DriftReference
from runtime.bus import ResultServer
from runtime.capture.ring import RingWriter
from runtime.frames import Frame
from tests.calibration.test_camera_drift import CAMERA, ESTIMATE, WIDE, seen
from tests.conftest import REPOSITORY


@pytest.mark.timeout(240)
def test_taking_a_reference_is_written_down_and_a_former_one_is_deleted(site: SiteFolder) -> None:
    row = calibrations.keep(site, ESTIMATE)
    calibration = site.resolve(row.file)
    reference, former = calibrations.reference_file(calibration), calibration.with_suffix(".watch.npz")
    np.savez(former, pieces=np.zeros((203, 31, 31), np.uint8))
    color = seen(WIDE, np.zeros(3))
    with RingWriter(ring_name(site)) as ring:
        live = ResultServer(result_socket(site))
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--only", "drift", "--home", str(site.root)], cwd=REPOSITORY
        )
        try:
            deadline = time.monotonic() + 200
            while not reference.exists() and time.monotonic() < deadline and process.poll() is None:
                captured = time.monotonic_ns() / 1e9
                ring.write(Frame(color, captured, 0, "test", CAMERA))
                live.publish({"state": "live", "captured_at": captured, "people": []})
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(60)
            live.close()
    assert not former.exists() and len(DriftReference.load(reference).background.points) > 30
    written = [(r.what, r.subject) for r in audit.rows(site) if r.what.startswith("watch.")]
    assert written == [("watch.reference", str(row.id)), ("watch.forget", former.name)]
