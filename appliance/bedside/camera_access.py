"""The one place where this site's cameras are looked through.

Whatever else wants a picture asks here, so that a pause of the site holds for all of it: an opening and every frame ask
it first, and a pause in between ends the look at the next frame. `tests/test_house.py` sees to it that no other module
opens a source.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from appliance.live import pauses
from appliance.live.addresses import ring_name
from appliance.live.meter import ring_status
from appliance.site import audit
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.errors import WardposeError
from calibration.redaction import redacted

if TYPE_CHECKING:
    from runtime.capture.source import CaptureSource
    from runtime.frames import Frame

FIRST_FRAME_SECONDS = 60.0
NEXT_FRAME_SECONDS = 5.0


def open_camera(site: SiteFolder, spec: str) -> CaptureSource:
    """The source that `spec` names, open; raises `Paused` while the site is paused, and so does reading it."""
    from runtime.capture.source import open_source

    return open_source(spec, pauses.switch(site))


@contextlib.contextmanager
def camera_frames(site: SiteFolder, spec: str) -> Iterator[Iterator[Frame]]:
    """The camera's frames: from the ring where it runs live (a camera can't be opened twice), else from the source.

    Raises `StaleFrame` where the first frame, or the next, doesn't come; `Paused` once the site is paused.
    """
    from runtime.capture.ring import RingReader

    pauses.switch(site).require_off()
    status = ring_status(site)
    if status["state"] == "streaming" and status["source"] == redacted(spec):
        with RingReader(ring_name(site)) as reader:
            yield _each(reader.read_next)
    else:
        with open_camera(site, spec) as source:
            yield _each(source.read)


LOOKS = {
    "picture": ("camera.look", ""),
    "calibration": ("camera.look", "to calibrate: "),
    "plate": ("plate.capture", "the empty bed, shown to a person before it is kept: "),
}


def note_look(site: SiteFolder, spec: str | None, what: str, reason: str) -> str:
    """Write down that somebody is about to look through a camera (default: the site's); returns its name, without a
    password. what: one of `LOOKS`. Raises `Paused` while the site is paused.

    The look itself is taken by whoever asked: `take_pictures`, `camera_frames`.
    """
    pauses.switch(site).require_off()
    named = redacted(spec or load_settings(site).camera.source)
    deed, purpose = LOOKS[what]
    audit.record(site, deed, named, purpose + reason)
    return named


def take_pictures(site: SiteFolder, spec: str, count: int) -> list[Frame]:
    """The first `count` pictures of a source, fewer where it ends.

    Raises `WardposeError` when none comes.
    """
    frames: list[Frame] = []
    with camera_frames(site, spec) as coming:
        for frame in coming:
            frames.append(frame)
            if len(frames) == count:
                break
    if not frames:
        raise WardposeError("it gave no picture", where=spec, mend="see `wardpose camera probe`")
    return frames


def _each(read: Callable[[float], Frame]) -> Iterator[Frame]:
    from runtime.capture.source import EndOfStream, StaleFrame

    patient_until = time.monotonic() + FIRST_FRAME_SECONDS
    while True:
        try:
            frame = read(1.0)
        except EndOfStream:
            return
        except StaleFrame:
            if time.monotonic() > patient_until:
                raise
            continue
        yield frame
        patient_until = time.monotonic() + NEXT_FRAME_SECONDS
