"""`site.toml`: what a person may set on this box. One model per concern; a mistake is told with its line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from appliance.site import intents, settings_trail
from appliance.site.folder import SiteFolder
from appliance.site.toml_text import described, with_value
from calibration import bounds
from calibration.atomic import write_text
from calibration.disk import DiskError
from calibration.errors import WardposeError
from calibration.redaction import redacted, secrets_in
from calibration.toml_file import parse_toml, toml_text
from runtime.capture.secrets import keep

_PATIENCE_S = 10.0  # with another program that changes them


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BedSettings(_Section):
    """The bed beside this box"""

    length: float = Field(
        default=2.0, title="mattress length, metres", ge=bounds.BED_LENGTH_M.least, le=bounds.BED_LENGTH_M.most
    )
    width: float = Field(
        default=0.9, title="mattress width, metres", ge=bounds.BED_WIDTH_M.least, le=bounds.BED_WIDTH_M.most
    )
    height: float = Field(
        default=0.55, title="mattress top above the floor, metres", ge=bounds.BED_HEIGHT_M.least,
        le=bounds.BED_HEIGHT_M.most,
    )  # fmt: skip
    backrest_deg: float = Field(
        default=0.0, title="raised backrest, degrees", ge=bounds.BACKREST_DEG.least, le=bounds.BACKREST_DEG.most
    )


class CameraSettings(_Section):
    """Where the frames come from"""

    source: str = Field(
        default="simulated", title="kinect, simulated, recording:FILE, video:FILE-OR-FOLDER-OR-URL", min_length=1
    )


class SynthesisSettings(_Section):
    """Making training images"""

    count: int = Field(default=400, title="images a data set", ge=bounds.IMAGES.least, le=bounds.IMAGES.most)
    seed: int = Field(
        default=1, title="seed; the same seed makes the same images", ge=bounds.SEED.least, le=bounds.SEED.most
    )
    workers: int = Field(default=0, title="processes, 0 = one a core", ge=0, le=256)


class TuningSettings(_Section):
    """Fitting the models to those images"""

    base: str = Field(default="nanodet", title="the detector to start from", min_length=1)
    pose_base: str = Field(default="movenet-thunder", title="the pose model to start from", min_length=1)
    epochs: int = Field(default=1, title="passes over the images", ge=bounds.EPOCHS.least, le=bounds.EPOCHS.most)
    batch: int = Field(default=0, title="images a step, 0 = the model's own", ge=0, le=bounds.BATCH.most)
    image_size: int = Field(
        default=0, title="longer side of a detector's input, pixels, a multiple of 32, 0 = the model's own",
        ge=0, le=bounds.INPUT_SIDE_PX.most, multiple_of=32,
    )  # fmt: skip
    learning_rate: float = Field(
        default=0.0, title="step size of gradient descent, 0 = the model's own", ge=0, le=bounds.LEARNING_RATE_MOST
    )
    freeze: int = Field(
        default=-1, title="first layers left as they are, -1 = the model's own", ge=-1, le=bounds.FROZEN_LAYERS.most
    )


class LiveSettings(_Section):
    """The running pipeline"""

    detector: str = Field(default="", title="detector to run, empty = the promoted one", max_length=120)
    pose: str = Field(default="", title="pose model to run, empty = the promoted one", max_length=120)
    engine: str = Field(default="", title="inference engine, empty = the best that this box can run", max_length=120)


class DisplaySettings(_Section):
    """The page for the nurse, on this box's own screen only"""

    port: int = Field(default=8765, title="loopback port of the page", ge=1024, le=65535)
    language: Literal["en", "de", "fr"] = Field(default="en", title="language of the page: en, de or fr")


class MetricsSettings(_Section):
    """The live path's figures for Prometheus, on this box alone"""

    port: int = Field(default=0, title="loopback port that answers /metrics, 0 = none", ge=0, le=65535)


class StationSettings(_Section):
    """The same page for the ward's station, over the network: by TLS and a PIN, to look only"""

    on: bool = Field(default=False, title="whether it is served at all; see `wardpose station`")
    address: str = Field(
        default="0.0.0.0", title="this box's address to serve it on, 0.0.0.0 = each",
        pattern=r"^((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)$",
    )  # fmt: skip
    port: int = Field(default=8766, title="its port", ge=1024, le=65535)
    names: str = Field(
        default="", title="host names by which the station reaches this box, separated by commas", max_length=400,
        pattern=r"^[A-Za-z0-9.,\- ]*$",
    )  # fmt: skip
    bed: str = Field(default="", title="what the page calls this bed", max_length=40)
    hours: float = Field(default=8.0, title="hours after which a PIN is asked for again", ge=0.25, le=24)


class TerminalSettings(_Section):
    """The terminal UI"""

    theme: Literal["dark", "light", "contrast"] = Field(
        default="dark", title="dark, light, or contrast (high contrast)"
    )
    guide: str = Field(default="", title="steps of the set-up guide that were seen to", max_length=200)


class Settings(_Section):
    """All of `site.toml`."""

    bed: BedSettings = BedSettings()
    camera: CameraSettings = CameraSettings()
    synthesis: SynthesisSettings = SynthesisSettings()
    tuning: TuningSettings = TuningSettings()
    live: LiveSettings = LiveSettings()
    display: DisplaySettings = DisplaySettings()
    metrics: MetricsSettings = MetricsSettings()
    station: StationSettings = StationSettings()
    terminal: TerminalSettings = TerminalSettings()


def load_settings(site: SiteFolder) -> Settings:
    """The site's settings; a file of the defaults, with comments, is written when there is none.

    A camera's password that somebody wrote into it is moved to the file of passwords, and `***` stands in its place;
    an edit by hand is written into the audit trail. Raises `WardposeError` naming the file, the line, the field and
    what would be right.
    """
    path = site.settings_file
    if not path.exists():
        try:
            write_text(path, default_text())
        except DiskError:  # on a full disk they hold all the same
            return Settings()
    settings = read_settings(path)
    if secrets_in(settings.camera.source):
        settings = _move_password(site, settings)
    settings_trail.notice(site, _reader(site), _DEFAULTS)
    return settings


def _reader(site: SiteFolder) -> Callable[[], tuple[str, settings_trail.Values]]:
    path = site.settings_file
    return lambda: (toml_text(path), _without_password(read_settings(path)).model_dump())


def password_in_file(site: SiteFolder) -> bool:
    """Whether `site.toml` itself still holds a camera's password."""
    return bool(secrets_in(read_settings(site.settings_file).camera.source))


def read_settings(path: Path) -> Settings:
    """The settings in one file, as they stand there; see `load_settings`."""
    return _understood(toml_text(path), str(path))


def _understood(text: str, path: str) -> Settings:
    values = parse_toml(text, path)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = [str(part) for part in first["loc"]]
        number = line_of(text, location)
        problem = f"{first['msg'][:1].lower()}{first['msg'][1:]}, got {_shown(first['input'])}"
        if first["type"] == "extra_forbidden":
            problem = "there is no such setting"
        raise WardposeError(
            f"{'.'.join(location)}: {problem}",
            where=f"{path} line {number}", mend=_mend(location, first["type"]),
        ) from error  # fmt: skip


def set_value(site: SiteFolder, section: str, name: str, value: Any) -> Settings:
    """Change one setting in `site.toml`, leaving every other line and comment as the person wrote it, and write down
    who did. A camera's password goes into the file of passwords.

    Raises `WardposeError`, and changes nothing, when the new value is not allowed.
    """
    with _one_at_a_time(site):
        before = load_settings(site)
        if (section, name) == ("camera", "source") and isinstance(value, str):
            value = keep(site.secrets_file, value)
        path = site.settings_file
        if not path.exists():  # a full disk kept it from being made: that is told now
            write_text(path, default_text())
        text = with_value(toml_text(path), section, name, value)
        try:
            settings = _understood(text, str(path))
        except WardposeError as error:
            raise WardposeError(error.what, where=str(path), mend=error.mend) from None
        settings_trail.write_down_change(site, text, before.model_dump(), settings.model_dump())
        return settings


def finish_changing(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """What goes with the row of a change of settings that was cut off."""
    settings_trail.finish_change(site, _reader(site))(site, intent, db)


@contextlib.contextmanager
def _one_at_a_time(site: SiteFolder) -> Iterator[None]:
    """Two who change settings at once do so one after the other, in whatever programs they are."""
    descriptor = os.open(site.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + _PATIENCE_S
        while not _locked(descriptor):
            if time.monotonic() > until:
                raise WardposeError("another program is changing them", where=str(site.settings_file), mend="try again")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _move_password(site: SiteFolder, settings: Settings) -> Settings:
    """The same settings with `***` for the password, which is now kept apart; the file too, where it can be written."""
    path = site.settings_file
    named = _without_password(settings)
    with contextlib.suppress(WardposeError):  # doctor says that it stands there still
        keep(site.secrets_file, settings.camera.source)
        write_text(path, with_value(toml_text(path), "camera", "source", named.camera.source))
    return named


def _without_password(settings: Settings) -> Settings:
    source = redacted(settings.camera.source)
    return settings.model_copy(update={"camera": settings.camera.model_copy(update={"source": source})})


def default_text() -> str:
    """`site.toml` with every default, its meaning and its bounds."""
    sections: dict[str, tuple[str, dict[str, tuple[Any, str]]]] = {}
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        values = {name: (value.default, _meaning(value)) for name, value in model.model_fields.items()}
        sections[section] = (model.__doc__ or "").strip(), values
    return described("wardpose: the settings of this box. Remove a line to get its default back.", sections)


def line_of(text: str, location: list[str]) -> int:
    """The line (from 1) of `text` where `location` (section, field, …) is set; its section's, or 1, when it isn't."""
    section, best = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.split("#")[0].strip()
        if header := re.fullmatch(r"\[+\s*([^\]]+?)\s*\]+", bare):
            section = header[1]
            if location and section == location[0]:
                best = number
        elif match := re.match(r"([\w\-.\"']+(?:\s*\.\s*[\w\-\"']+)*)\s*=", bare):
            key = [part.strip().strip("\"'") for part in match[1].split(".")]
            path = ([section] if section else []) + key
            if path == location[: len(path)] and len(path) >= min(len(location), 1):
                best = number
    return best


def _meaning(field: FieldInfo) -> str:
    limits = {type(item).__name__: item for item in field.metadata}
    low = next((getattr(limits[n], a) for n, a in (("Ge", "ge"), ("Gt", "gt")) if n in limits), None)
    high = next((getattr(limits[n], a) for n, a in (("Le", "le"), ("Lt", "lt")) if n in limits), None)
    bounds = f" ({low} to {high})" if low is not None and high is not None else ""
    return f"{field.title}{bounds}"


def _mend(location: list[str], kind: str) -> str:
    section = Settings.model_fields.get(location[0]) if location else None
    model = section.annotation if section else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return f"the sections are: {', '.join(Settings.model_fields)}"
    if len(location) < 2 or kind == "extra_forbidden":
        return f"[{location[0]}] has: {', '.join(model.model_fields)}"
    return f"give {_meaning(model.model_fields[location[1]])}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_DEFAULTS = Settings().model_dump()
