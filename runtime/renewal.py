"""Models and engines of a running pipeline, taken over between two frames.

What takes time, reading a model, opening an engine, its first call, happens on a thread beside the frames; the pipeline
goes on with what it has until everything is ready.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from calibration.errors import WardposeError
from runtime.belief import least_score
from runtime.detect import PersonDetector
from runtime.detect_beside import opened_to_step_back
from runtime.engine_choice.selection import EngineSearch, EngineWish, InUse, open_chain
from runtime.engines.chain import EngineChain
from runtime.pipeline import LivePipeline
from runtime.pose import PoseEstimator

# Engines are tried when the live picture has been there for so long: its start needs the processor more.
SEARCH_AFTER_S = 30.0
_STEADY_S = 300.0


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The ONNX files of a pipeline; no pose model: boxes only."""

    detector: Path
    pose: Path | None


class Renewal:
    """Opens a pipeline's models, and new ones beside it. `open`, `ask`, `next` and `end` are for one thread, the one
    that works on the frames; `ask` may be called by any.

    confidence: least score of a person, where the detector's own is not wanted.
    """

    def __init__(self, files: ModelFiles, wish: EngineWish, confidence: float | None = None) -> None:
        self._files, self._wish, self._confidence = files, wish, confidence
        self._lock = threading.Lock()
        self._ready: tuple[PersonDetector, PoseEstimator | None] | None = None
        self._wanted: ModelFiles | None = None
        self._opening = False
        self._failed: dict[Path, frozenset[str]] = {}
        self._in_use = InUse(wish.place)
        self._began = time.monotonic()
        self._searching = self._is_steady = False
        self.trouble = ""

    def open(self, pipeline_of: type[LivePipeline] = LivePipeline) -> LivePipeline:
        """The pipeline to begin with, without a bed; raises WardposeError where a model or an engine can't be used."""
        self._in_use.begin()
        pipeline = pipeline_of(*self._open(self._files))
        self._note(pipeline)
        self._began = time.monotonic()
        return pipeline

    def ask(self, files: ModelFiles) -> None:
        """Use these models as soon as they are ready; raises WardposeError where a file is not there."""
        for path in (files.detector, files.pose):
            if path is not None and not path.is_file():
                raise WardposeError("no such model file", where=str(path), mend="name an existing .onnx file")
        self._want(files)

    def next(self, pipeline: LivePipeline) -> bool:
        """Between two frames: take over what is ready, and notice engines that failed. Returns whether models or
        engines have changed. It never waits."""
        self._look_at(pipeline)
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is None:
            return False
        pipeline.use(*ready)
        self._note(pipeline)
        return True

    def end(self) -> None:
        """The live path ends as it should."""
        self._in_use.end()

    def _look_at(self, pipeline: LivePipeline) -> None:
        lived = time.monotonic() - self._began
        if not self._searching and lived >= SEARCH_AFTER_S:
            self._searching = True
            self._search(self._files)
        if not self._is_steady and lived >= _STEADY_S:
            self._is_steady = True
            self._in_use.steady()
        files = self._files
        for path, engine in ((files.detector, pipeline.detector.engine), (files.pose, _engine_of(pipeline.pose))):
            if path is None or not isinstance(engine, EngineChain):
                continue
            if engine.failed - self._failed.get(path, frozenset()):
                self._failed[path] = self._failed.get(path, frozenset()) | engine.failed
                self._note(pipeline)
                if self._wish.prefer is None:
                    self._want(files)  # the next best one, if there is one between it and the reference

    def _search(self, files: ModelFiles) -> None:
        models: dict[Path, Path | None] = {files.detector: None}
        if files.pose is not None:
            models[files.pose] = files.detector
        EngineSearch(models, self._wish, lambda onnx: self._want(self._files)).start()

    def _note(self, pipeline: LivePipeline) -> None:
        pose = _engine_of(pipeline.pose)
        self._in_use.note([pipeline.detector.engine.name, *([pose.name] if pose is not None else [])])

    def _want(self, files: ModelFiles) -> None:
        with self._lock:
            self._wanted = files
            if self._opening:
                return
            self._opening = True
        threading.Thread(target=self._open_what_is_wanted, name="opening models", daemon=True).start()

    def _open_what_is_wanted(self) -> None:
        while True:
            with self._lock:
                files, self._wanted = self._wanted, None
                if files is None:
                    self._opening = False
                    return
            try:
                parts = self._open(files)
            except WardposeError as error:
                self.trouble = f"the models stay as they are: {error.what}"
                sys.stderr.write(f"{error}\n")
                continue
            self.trouble = ""
            with self._lock:
                if files != self._files:
                    self._files, self._searching, self._began = files, False, time.monotonic()
                self._ready = parts

    def _open(self, files: ModelFiles) -> tuple[PersonDetector, PoseEstimator | None]:
        failed = self._failed.get(files.detector, frozenset())
        engine = opened_to_step_back(lambda: open_chain(files.detector, self._wish, without=failed))
        least = self._confidence
        if least is None:
            least = least_score(engine.info, files.pose is not None)
        detector = PersonDetector(engine, confidence=least)
        if files.pose is None:
            return detector, None
        pose = open_chain(files.pose, self._wish, without=self._failed.get(files.pose, frozenset()))
        return detector, PoseEstimator(pose)


def _engine_of(pose: PoseEstimator | None) -> EngineChain | None:
    return pose.engine if pose is not None and isinstance(pose.engine, EngineChain) else None
