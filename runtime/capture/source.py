"""What a capture source is, how one is named, and how one is opened.

A source is named by a *spec*: a registered kind (`kinect`, `simulated`) or `kind:argument`
(`recording:/data/ward.mkv`, `video:/data/photos`, `video:rtsp://camera/stream`). Options of a kind follow a `#`:
`recording:/data/ward.mkv#loop=true&realtime=false`. A password in it is shown as `***` wherever the source is named.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from calibration.errors import WardposeError
from calibration.plugins import load_plugin
from runtime.capture.abilities import EmptiesBed, LaysTarget
from runtime.capture.secrets import filled
from runtime.frames import Frame, Origin, known_origin
from runtime.pause import PauseSwitch


class EndOfStream(Exception):
    """The source has no further frame, ever: the recording, folder or video is at its end."""


class StaleFrame(WardposeError):
    """No frame that is young enough: the camera or its process is slow, stopped or gone."""


@runtime_checkable
class CaptureSource(Protocol):
    """A camera, or what stands in for one.

    Threads: a source belongs to the thread that opened it; no method may be called from two threads at once. A
    source that needs a thread or a process of its own (kinect) starts it in `open` and ends it in `close`.

    Blocking: `open` may block for seconds (a camera starts up), `read` blocks for at most about `timeout_s`, `close`
    for at most a few seconds; none waits for ever. A source that may wait in `open` or `close` for more than four
    seconds without working says so by an attribute `waits_s`; else its process is taken for hung and started again.

    Age: `read` gives the *next* frame in order. A live source keeps at most one frame waiting and drops older ones, so
    the frame is at most one frame interval older than the call; a source that isn't live drops nothing.

    Abilities: a source that can do more says so by the methods of `runtime.capture.abilities`.

    Subclass it to inherit the context manager.
    """

    name: str
    """What a person calls it; it becomes `Frame.source`."""

    live: bool
    """True where frames come at the pace of the world and are lost if not read (`timestamp_s` is monotonic time)."""

    origin: Origin
    """What the pictures are of. Every screen says so where they are not of what a camera sees now; a source that does
    not declare it passes for `unknown`, and is told of as such."""

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """The source named by what stands after `kind:` in its spec ("" where nothing does); opens nothing.

        Raises `WardposeError` where the argument makes no sense.
        """
        ...

    def open(self) -> None:
        """Start delivering. Does nothing if open already; may be called again after `close` or after a failure.

        Raises `WardposeError` where the camera or the file can't be used, leaving nothing half open.
        """
        ...

    def read(self, timeout_s: float = 1.0) -> Frame:
        """The next frame. Raises `EndOfStream` at the end, `StaleFrame` where none came within `timeout_s` (the
        source stays usable), `WardposeError` where the source failed and must be opened again."""
        ...

    def close(self) -> None:
        """Release everything. Does nothing if closed already."""
        ...

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_ConfigT = TypeVar("_ConfigT", bound=_Config)
_AbilityT = TypeVar("_AbilityT")


class RecordingConfig(_Config):
    """An Azure Kinect recording."""

    kind: Literal["recording"] = "recording"
    path: str = Field(title="Recording", description="the .mkv file", min_length=1)
    loop: bool = Field(False, title="Loop", description="begin again at the end")
    realtime: bool = Field(True, title="Real time", description="play at the recorded pace, else as fast as read")
    start_s: float = Field(0.0, title="Start", description="seconds from the first frame", ge=0, le=86_400)


class VideoConfig(_Config):
    """Photographs, a video file, a USB (UVC) camera or an RTSP stream."""

    kind: Literal["video"] = "video"
    path: str = Field(
        title="Where", description="a folder or file, a UVC index such as 0, or an rtsp:// address", min_length=1
    )
    loop: bool = Field(False, title="Loop", description="begin again at the end (folders and files)")
    realtime: bool = Field(True, title="Real time", description="play at the recorded pace, else as fast as read")
    photos_per_s: float = Field(2.0, title="Photographs a second", description="pace of a folder", gt=0, le=120)
    allow_network: bool = Field(
        False, title="Allow the network", description="let an rtsp:// camera be on another machine"
    )


class KinectConfig(_Config):
    """An Azure Kinect, or an Orbbec camera through its K4A wrapper; driven by a process of its own."""

    kind: Literal["kinect"] = "kinect"
    device: int = Field(0, title="Device", description="index among the connected cameras", ge=0, le=15)
    python: str = Field("", title="Python", description="interpreter of the Kinect's environment ('' = look for it)")
    library: str = Field("", title="Library", description="another libk4a.so, e.g. Orbbec's ('' = bundled)")
    depth: bool = Field(True, title="Depth", description="capture depth too (needs a display: Xvfb will do)")
    color: Literal["720p", "1080p", "1440p", "1536p", "2160p", "3072p"] = Field("720p", title="Colour resolution")
    fps: int = Field(30, title="Frames a second", description="5, 15 or 30")

    @model_validator(mode="after")
    def _camera_has_it(self) -> Self:
        if self.fps not in (5, 15, 30):
            raise ValueError(f"the camera gives 5, 15 or 30 frames a second, not {self.fps}")
        if self.color == "3072p" and self.fps == 30:
            raise ValueError("the camera gives 3072p at 15 frames a second at most")
        return self


def config_from_argument(model: type[_ConfigT], argument: str, field: str) -> _ConfigT:
    """The settings in the argument of a spec: `field` takes what stands before the `#`, options what stands after.

    Raises `WardposeError` naming the option that is wrong.
    """
    head, options = split_options(argument, model)
    kind = model.model_fields["kind"].default
    if not head and model.model_fields[field].is_required():
        raise WardposeError(f"{kind}: names nothing", mend=f"write {kind}:{field}")
    values = {field: head, **options} if head else options
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise WardposeError(_first_problem(error), where=f"{kind}:{argument}", mend="correct the spec") from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def split_options(argument: str, allowed: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """`/data/x.mkv#loop=true&start_s=2` → (`/data/x.mkv`, its options).

    Only a tail made of `key=value` pairs whose keys are fields of `allowed` counts as options, so a `#` in a file's
    name stays part of the name.
    """
    head, hash_sign, tail = argument.rpartition("#")
    pairs = [part.partition("=") for part in tail.split("&")]
    if not hash_sign or not all(sign and key in allowed.model_fields for key, sign, _ in pairs):
        return argument, {}
    return head, {key: value for key, _, value in pairs}


def parse_spec(spec: str) -> tuple[str, str]:
    """`kind:argument` → (kind, argument); a bare kind has the argument "", or its options (`kinect#depth=false`)."""
    kind = re.split("[:#]", spec, maxsplit=1)[0]
    argument = spec[len(kind) :].removeprefix(":")
    kind = kind.strip()
    if not kind or "/" in kind or kind.startswith("."):
        raise WardposeError(
            f"{spec!r} names no source",
            mend="write kind:argument, e.g. simulated, recording:/path/file.mkv or video:/path/photos",
        )
    return kind, argument


def check_spec(spec: str) -> None:
    """Raise `WardposeError` where `spec` names no source; opens nothing."""
    make_source(spec)


def origin_of(source: CaptureSource) -> Origin:
    """What the source declares its pictures to be of; `unknown` where it declares nothing that is known."""
    return known_origin(getattr(source, "origin", None))


def make_source(spec: str) -> CaptureSource:
    """The source that `spec` names, not opened yet; a password that it hides is put back (see `capture.secrets`).

    Raises `WardposeError` where the spec is wrong or its password is not known.
    """
    kind, argument = parse_spec(filled(spec))
    source: CaptureSource = load_plugin("capture_sources", kind).from_argument(argument)
    return source


def ability_of(spec: str, ability: type[_AbilityT]) -> _AbilityT | None:
    """The source that `spec` names, where its kind has that ability (one of `runtime.capture.abilities`), else None.

    Opens nothing. Raises `WardposeError` where the spec is wrong.
    """
    kind, _ = parse_spec(spec)
    if not issubclass(load_plugin("capture_sources", kind), ability):
        return None
    source = make_source(spec)
    assert isinstance(source, ability)
    return source


def with_target(spec: str) -> str:
    """The spec of the same source with the printed target on its bed, where it lays it by itself; else `spec`."""
    able = ability_of(spec, LaysTarget)
    return spec if able is None else f"{parse_spec(spec)[0]}:{able.with_target()}"


def emptied(spec: str) -> str:
    """The spec of the same source with its bed empty, where that empties itself; else `spec`."""
    able = ability_of(spec, EmptiesBed)
    return spec if able is None else f"{parse_spec(spec)[0]}:{able.emptied()}"


def open_source(spec: str, pause: PauseSwitch | None) -> CaptureSource:
    """The source that `spec` names, open and ready to read; close it, or use it as a context manager.

    pause: the site's, which every opening and every frame asks; None only for who looks on behalf of no site. Raises
    `Paused` while it holds, at the next frame where it comes in between; `WardposeError` where the spec is wrong or the
    source can't be opened.
    """
    source = _Guarded(make_source(spec), pause)
    source.open()
    return source


class _Guarded(CaptureSource):
    """A source that is not read while the site is paused, and whose frames say what they are of."""

    def __init__(self, source: CaptureSource, pause: PauseSwitch | None) -> None:
        self._source, self._pause = source, pause
        self.name, self.live, self.origin = source.name, source.live, origin_of(source)

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        raise NotImplementedError("it is made of a source: see open_source")

    def open(self) -> None:
        self._require_unpaused()
        self._source.open()
        try:
            self._require_unpaused()  # opening may have taken seconds
        except BaseException:
            self._source.close()
            raise

    def read(self, timeout_s: float = 1.0) -> Frame:
        self._require_unpaused()
        frame = self._source.read(timeout_s)
        self._require_unpaused()
        return replace(frame, origin=self.origin)

    def close(self) -> None:
        self._source.close()

    def _require_unpaused(self) -> None:
        if self._pause is not None:
            self._pause.require_off()
