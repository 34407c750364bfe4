"""Which body model and which source of poses people are made with, each opened once a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from calibration.plugins import load_plugin
from synth.body.body_model import BodyModel
from synth.pose.pose_source import PoseSource


@dataclass(frozen=True, slots=True)
class Casting:
    """Names of plug-ins and the file or folder each one needs, None where it needs none."""

    body: str = "anny"
    body_file: str | None = None
    pose_source: str = "clinical"
    pose_path: str | None = None

    def check_body(self) -> None:
        """Raise WardposeError, before any work, where the body is unknown or its file is not what it should be."""
        load_plugin("body_models", self.body).check(_path(self.body_file))

    def check_poses(self) -> None:
        """As `check_body`, for the source of poses and its file or folder."""
        load_plugin("pose_sources", self.pose_source).check(_path(self.pose_path))

    def open_body(self) -> BodyModel:
        """The body model; the same instance for every casting that asks for it."""
        return _body(self.body, _path(self.body_file))

    def open_poses(self) -> PoseSource:
        """The source of patients' poses; the same instance for every casting that asks for it."""
        return _poses(self.pose_source, _path(self.pose_path))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


@cache
def _body(name: str, file: Path | None) -> BodyModel:
    return cast(BodyModel, load_plugin("body_models", name).open(file))


@cache
def _poses(name: str, path: Path | None) -> PoseSource:
    return cast(PoseSource, load_plugin("pose_sources", name).open(path))
