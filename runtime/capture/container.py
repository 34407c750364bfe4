"""Files of pictures as FFmpeg reads them: the one module of this floor that imports PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bounds import PICTURE_PIXELS

# Transfer characteristics of ITU-T H.273 whose values, taken as they are, show everything dull: PQ and HLG.
_HDR = (16, 18)


class BrokenFile(Exception):
    """FFmpeg can't read the file, or can't read it any further; says why."""


@contextlib.contextmanager
def open_container(path: Path, *, format: str | None = None) -> Iterator[Any]:
    """An open `av.container.InputContainer`. Raises `BrokenFile`, also for what FFmpeg says while it is in use."""
    import av  # heavy, and absent on boxes that never play a file

    av.logging.set_level(None)
    try:
        with av.open(str(path), format=format, metadata_errors="replace") as container:
            yield container
    except av.error.FFmpegError as error:
        raise BrokenFile(error.strerror) from None


def seek(container: Any, time_us: int) -> None:
    """Go to the last key frame before that time; a file without an index stays at its start."""
    import av

    with contextlib.suppress(av.error.FFmpegError):
        container.seek(time_us, backward=True)


def pictures(container: Any) -> Iterator[tuple[NDArray[np.uint8], float | None]]:
    """Each picture of the first video track, (H, W, 3) RGB, turned as it was held, with its time in seconds where it
    has one. Other depths are scaled to 8 bits. What can't be decoded is left out; `BrokenFile` for an HDR video and for
    one in no known code."""
    import av

    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise BrokenFile("nothing says how its pictures are coded")
    if int(stream.codec_context.color_trc) in _HDR:
        raise BrokenFile("its brightness is meant for HDR screens, PQ or HLG")
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(PICTURE_PIXELS)}  # the decoder asks before it makes room
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            image = frame.to_ndarray(format="rgb24")
            yield np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90))), frame.time
