"""The live process: frames from the ring, through the pipeline, results onto a Unix socket.

    python -m runtime.live --ring NAME --detector X.onnx [--pose Y.onnx] [--calibration Z.json] --socket PATH
                           [--engines DIR] [--pictures DIR]

The newest frame always wins: one that came while another was being worked on is skipped, never queued. Every pass of
the loop ends in a message, also when there is nothing to see: silence means that this process is gone.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps
from runtime.bed_view import BedView
from runtime.bus import Message, ResultServer
from runtime.capture.ring import RingReader
from runtime.capture.source import StaleFrame
from runtime.detect_beside import Hung
from runtime.engine_choice.selection import EngineWish
from runtime.frames import Frame
from runtime.message import live_message
from runtime.notify import notify, telling_that_it_starts
from runtime.pause import Paused, PauseSwitch
from runtime.pipeline import LivePipeline, LiveResult
from runtime.renewal import ModelFiles, Renewal
from runtime.state import STALE_S, State
from runtime.unsureness import UnsurenessWatch

_WAIT_S = 0.1
_LONGEST_START_S = 1200.0
_NAMELESS = "a program on this box"


class FrameReader(Protocol):
    """Where the live process takes its frames from; `RingReader` in the product."""

    def read_next(self, timeout_s: float = 1.0, max_age_ms: float = ...) -> Frame: ...

    def trouble(self) -> str: ...


class LiveService:
    """The loop. It owns no thread of its own besides the socket's; `run` blocks until `stop` is called.

    It obeys the site's pause, whoever set it, and sets and lifts it for a client of the socket that gives a name.
    Models and engines change under it between two frames (`renewal`). load_bed: where the bed is, None for nowhere.
    """

    def __init__(
        self,
        reader: FrameReader,
        renewal: Renewal,
        socket: Path,
        pause: PauseSwitch,
        load_bed: Callable[[], BedView | None] = lambda: None,
        unsureness: UnsurenessWatch | None = None,
    ) -> None:
        self._reader, self._renewal, self._pause, self._load_bed = reader, renewal, pause, load_bed
        self._unsureness = unsureness or UnsurenessWatch()
        self._pipeline: LivePipeline | None = None
        self._result: LiveResult | None = None
        self._finished: deque[float] = deque(maxlen=30)
        self._stop = threading.Event()
        self._deciding = threading.Lock()  # so that no picture is published after a pause was acknowledged
        self._server = ResultServer(socket, self._command)

    def stop(self) -> None:
        """End `run` within about a quarter of a second. Safe from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Load the models, then serve until stopped. Raises WardposeError when a model can't be used."""
        try:
            # TensorRT may build an engine for minutes the first time, which is no hang.
            with telling_that_it_starts(_LONGEST_START_S, lambda: self._say("starting", "loading the models")):
                bed = self._load_bed()
                self._pipeline = self._renewal.open()
                self._pipeline.bed, self._pipeline.at_pace = bed, True
                self._unsureness.use(self._pipeline.models)
            notify("READY=1", f"STATUS=live on {self._pipeline.engine}")
            while not self._stop.is_set():
                if self._renewal.next(self._pipeline):
                    notify(f"STATUS=live on {self._pipeline.engine}")
                    self._unsureness.use(self._pipeline.models)
                self._step(self._pipeline)
                notify("WATCHDOG=1")
        finally:
            notify("STOPPING=1")
            self._renewal.end()
            self._server.close()
            if self._pipeline is not None:
                self._pipeline.end()

    def _step(self, pipeline: LivePipeline) -> None:
        if self._pause.active:
            self._rest()
            return
        try:
            frame = self._reader.read_next(timeout_s=_WAIT_S)
            result = pipeline.process(frame)
        except Paused:
            self._rest()
            return
        except StaleFrame as error:
            shown, trouble = self._result, self._reader.trouble()
            if not trouble and shown is not None and time.monotonic() - shown.captured_at < STALE_S:
                self._say("live")  # a slow camera's next frame is not due yet; the message says how old this one is
                return
            self._finished.clear()
            self._say("no-signal", trouble or str(error))
            return
        except Hung:
            raise
        except WardposeError as error:
            # A model that fails on one frame may answer the next; until then there is no live picture.
            self._say("no-signal", str(error))
            self._stop.wait(_WAIT_S)
            return
        with self._deciding:
            if self._pause.active:  # while the frame was being worked on: its people are nobody's business any more
                return
            self._result = result
            self._unsureness.update(frame, result)
            self._finished.append(result.finished_at)
            self._say("live", self._renewal.trouble)

    def _rest(self) -> None:
        self._result = None
        self._finished.clear()
        self._say("paused")
        self._stop.wait(_WAIT_S)

    def _say(self, state: State, message: str = "") -> None:
        times = self._finished
        fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0
        self._server.publish(
            live_message(
                state,
                result=self._result,
                pipeline=self._pipeline,
                message=message,
                fps=fps,
                pause=self._pause.state() if state == "paused" else None,
                unsure=self._unsureness.told(),
            )
        )

    def _command(self, command: Message) -> Message:
        name, by = command.get("command"), command.get("by")
        who = by if isinstance(by, str) and by else _NAMELESS
        reason = command.get("reason")
        why = reason if isinstance(reason, str) else ""
        try:
            if name == "pause":
                with self._deciding:
                    self._pause.set(who, why)
                    self._say("paused")
            elif name == "resume":
                self._pause.lift(who, why)
            elif name == "use":
                self._renewal.ask(_model_files(command))
            elif name != "state":
                return {"ok": False, "error": f"no such command: {name!r}; known are pause, resume, state, use"}
        except WardposeError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, "paused": self._pause.active}


def _model_files(command: Message) -> ModelFiles:
    detector, pose = command.get("detector"), command.get("pose")
    if not isinstance(detector, str) or not isinstance(pose, str | None):
        raise WardposeError("use wants the detector's file, and the pose model's or none", where="use")
    return ModelFiles(Path(detector), Path(pose) if pose else None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.live", description=__doc__.splitlines()[0])
    parser.add_argument("--ring", required=True, help="name of the frame ring to read")
    parser.add_argument("--detector", required=True, type=Path, help="ONNX file of the person detector")
    parser.add_argument("--pose", type=Path, help="ONNX file of the pose model; without it there are boxes only")
    parser.add_argument("--calibration", type=Path, help="this camera's calibration: where the bed is in its picture")
    parser.add_argument("--socket", required=True, type=Path, help="Unix socket to serve results on")
    parser.add_argument("--pause-file", type=Path, metavar="PATH", help="the site's pause (default: beside the socket)")
    parser.add_argument("--engine", help="use this inference engine or fail (default: the best that qualifies)")
    parser.add_argument("--threads", type=int, help="CPU threads for inference (default: the engine's choice)")
    parser.add_argument("--engines", type=Path, metavar="DIR", help="where tried and compiled engines are kept")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="synthetic images of this site, to try engines on")
    parser.add_argument("--unsureness", type=Path, metavar="FILE", help="where it is kept how unsure the models were")
    parser.add_argument("--confidence", type=float, help="least score of a person (default: the model's own threshold)")
    options: Any = parser.parse_args(arguments)
    keep_out_of_dumps()

    def load_bed() -> BedView | None:
        return None if options.calibration is None else BedView.load(options.calibration)

    wish = EngineWish(options.engine, options.threads, options.engines, options.pictures)
    renewal = Renewal(ModelFiles(options.detector, options.pose), wish, options.confidence)
    try:
        pause = PauseSwitch(options.pause_file or options.socket.with_name(f"{options.socket.name}.paused"))
        service = LiveService(
            RingReader(options.ring), renewal, options.socket, pause, load_bed, UnsurenessWatch(options.unsureness)
        )
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, lambda *_: service.stop())
        service.run()
    except WardposeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
