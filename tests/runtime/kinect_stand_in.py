"""A camera for tests: takes pyk4a's place in the worker's environment and delivers the captures of the real recording.

How it behaves stands in a file beside it: nothing, `device`, `open`, `silent`, `library`; and after three frames
`lost`, `stuck`, `garbage`, `dropouts`.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np

from runtime.capture.k4a_file import K4aFile

STAND_IN = """
    import enum, os, pathlib, signal, sys, time
    import numpy as np
    here = pathlib.Path(__file__).parent
    behaviour = (here / "behaviour").read_text()
    if behaviour == "library": raise ImportError("libk4a.so.1.4: cannot open shared object file")
    class K4AException(Exception): pass
    class K4ATimeoutException(K4AException): pass
    FPS = enum.IntEnum("FPS", "FPS_5 FPS_15 FPS_30")
    ImageFormat = enum.IntEnum("ImageFormat", "COLOR_MJPG")
    DepthMode = enum.IntEnum("DepthMode", "OFF NFOV_UNBINNED")
    ColorResolution = enum.IntEnum("ColorResolution", "RES_720P RES_1080P")
    def connected_device_count(): return 0 if behaviour == "device" else 1
    class Config:
        def __init__(self, **values): self.__dict__.update(values)
    class Capture:
        color = np.frombuffer((here / "color.jpg").read_bytes(), np.uint8)
        def __init__(self, depth, device_us):
            self.depth = np.load(here / "depth.npy") if depth else None
            self.ir = np.load(here / "ir.npy") if depth else None
            self.color_system_timestamp_nsec = time.perf_counter_ns()
            self.color_timestamp_usec = device_us
    class PyK4A:
        opened = False
        serial = "001514394512"
        def __init__(self, config, device_id):
            self.config, self.frames, self.samples = config, 0, 1
        @property
        def calibration_raw(self): return (here / "calibration.json").read_text() + "\\0"
        def start(self):
            if behaviour == "open": raise K4AException()
            if behaviour == "silent": time.sleep(3600)
            self.opened = True
        def stop(self): self.opened = False
        def get_imu_sample(self, timeout):
            if not self.samples: raise K4ATimeoutException()
            self.samples -= 1
            return {"acc_sample": (0.0, 0.0, -9.81), "gyro_sample": (0.1, 0.2, 0.3), "acc_timestamp": 900_000,
                    "gyro_timestamp": 900_000, "temperature": 30.0}
        def get_capture(self, timeout):
            self.frames += 1
            if self.frames > 3:
                if behaviour == "lost": raise K4AException()
                if behaviour == "garbage":
                    os.write(int(sys.argv[sys.argv.index("--fd") + 1]), os.urandom(4096))
                    time.sleep(3600)
                if behaviour == "stuck":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    time.sleep(3600)
                if behaviour == "dropouts" and self.frames % 2: raise K4ATimeoutException()
            time.sleep(0.02)
            return Capture(self.config.depth_mode == DepthMode.NFOV_UNBINNED, 1_000_000)
"""


def take_apart(recording: Path, folder: Path) -> Path:
    """Put the recording's parts, the stand-in and an interpreter that finds it into `folder`; returns it."""
    file = K4aFile(recording)
    capture = next(file.captures())
    assert capture.color is not None and capture.depth is not None and capture.infrared is not None
    (folder / "color.jpg").write_bytes(capture.color)
    np.save(folder / "depth.npy", capture.depth)
    np.save(folder / "ir.npy", capture.infrared)
    (folder / "calibration.json").write_bytes(file.calibration_json)
    (folder / "pyk4a.py").write_text(textwrap.dedent(STAND_IN))
    (folder / "behaviour").write_text("")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder
