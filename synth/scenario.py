"""What a data set shows: from where, which people, how covered. One model, a few named ones, or a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.toml_file import parse_toml, toml_text
from synth.casting import Casting
from synth.ranges import Ranges

# The factory intrinsics of an Azure Kinect's colour camera at 1280×720: what a site has until it knows its own.
KINECT_COLOR = CameraModel(
    1280, 720, 611.795, 611.927, 639.304, 365.853,
    (0.33012, -2.48940, -0.000162, -0.000129, 1.45367, 0.20891, -2.30292, 1.37513),
)  # fmt: skip


class Part(Ranges):
    """A share of a scenario's pictures in which some ranges differ: those that are set. The others are the scenario's.

    elsewhere: seen from the ranges through a drawn lens, not through the scenario's camera nor from its place.
    """

    share: float = Field(title="Share of the scenario's pictures", ge=0, le=1)
    elsewhere: bool = Field(default=False, title="Neither the calibration nor the camera nor the plates count")

    @model_serializer(mode="wrap")
    def _what_is_set(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {field: value for field, value in serialise(self).items() if field in self.model_fields_set}

    @property
    def changes(self) -> dict[str, Any]:
        """The ranges that are this part's own."""
        return {field: getattr(self, field) for field in self.model_fields_set & set(Ranges.model_fields)}


class Scenario(Ranges):
    """What a data set shows. Its pictures are drawn from its own ranges, and some from its parts'.

    The camera is, in this order: `calibration`'s, with its viewpoint drawn from its posterior; else `camera`'s
    intrinsics at a viewpoint from the ranges; else a lens with a drawn field of view at such a viewpoint.
    """

    name: str = Field(title="Name", min_length=1, max_length=80)
    width: int = Field(default=640, title="Picture width (px)", ge=64, le=4096)
    height: int = Field(default=360, title="Picture height (px)", ge=64, le=4096)

    calibration: dict[str, Any] | None = Field(default=None, title="Calibration of the site")
    posterior_scale: float = Field(default=1.0, title="Spread of the viewpoint over the calibration's own", ge=0, le=20)
    camera: dict[str, Any] | None = Field(default=None, title="Fixed intrinsics")

    look_seed: int | None = Field(default=None, title="Seed of one fixed room (none: every picture its own)", ge=0)
    views_per_scene: int = Field(
        default=4, title="Pictures of the same people in the same poses, each in a room, light and colours of its own",
        ge=1, le=16,
    )  # fmt: skip

    body: str = Field(default="anny", title="Body model")
    body_file: str | None = Field(default=None, title="File of the body model (smplx: the site's own SMPLX_*.npz)")
    pose_source: str = Field(default="clinical", title="Source of patients' poses: clinical, amass, bvh")
    pose_folder: str | None = Field(default=None, title="Folder of motion recordings (pose sources amass and bvh)")
    pose_bank: str | None = Field(default=None, title="File of settled poses made by `wardpose poses` (clinical)")

    plates: tuple[str, ...] = Field(default=(), title="Folders of plates of the empty bed", max_length=64)
    backgrounds: str = Field(default="", title="Folder of photographs to put people into")

    depth: bool = Field(default=False, title="Write depth, registered to the picture (16 bit, mm)")
    depth_noise: bool = Field(default=True, title="Depth with a Kinect's noise, holes and range (no: exact)")
    infrared: bool = Field(default=False, title="Write what the depth camera sees in its infrared light (16 bit)")

    parts: dict[str, Part] = Field(
        default_factory=dict, title="Shares of the pictures with ranges of their own", max_length=16
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        return NAMED[values].model_dump() if isinstance(values, str) and values in NAMED else values

    @field_validator("plates", mode="before")
    @classmethod
    def _one_plate(cls, plates: Any) -> Any:
        return (plates,) if isinstance(plates, str) else plates

    @field_validator("parts")
    @classmethod
    def _shares(cls, parts: dict[str, Part]) -> dict[str, Part]:
        total = sum(part.share for part in parts.values())
        if total > 1 + 1e-9:
            raise ValueError(f"their shares must not come to more than 1, got {total:.3g}")
        return parts

    def part_at(self, pick: float) -> Scenario:
        """The scenario without parts that `pick` (0…1, drawn uniformly for each scene) falls on."""
        without: dict[str, Any] = {"parts": {}}
        for _, part in sorted(self.parts.items()):  # a file of settings keeps no order
            if pick < part.share:
                away = {"calibration": None, "camera": None, "plates": ()} if part.elsewhere else {}
                return self.model_copy(update=without | away | part.changes)
            pick -= part.share
        return self.model_copy(update=without) if self.parts else self

    def having(self, **changes: Any) -> Scenario:
        """The scenario with these fields changed, in all of its pictures: its parts' own ranges give way."""
        return Scenario(**self.fields_having(changes))

    def fields_having(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of `having`, not yet validated."""
        fields = self.model_dump()
        for part in fields["parts"].values():
            for field in set(part) & set(changes) & set(Ranges.model_fields):
                del part[field]
        return fields | dict(changes)

    @model_validator(mode="after")
    def _sources(self) -> Scenario:
        if self.pose_folder is not None and self.pose_source == "clinical":
            raise ValueError('pose_folder goes with pose_source = "amass" or "bvh"')
        if self.pose_bank is not None and self.pose_source != "clinical":
            raise ValueError('pose_bank goes with pose_source = "clinical"')
        return self

    @property
    def casting(self) -> Casting:
        """Where this scenario's bodies and poses come from."""
        return Casting(self.body, self.body_file, self.pose_source, self.pose_folder or self.pose_bank)

    @model_validator(mode="after")
    def _cameras(self) -> Scenario:
        for field, read in (("calibration", CalibrationEstimate.from_dict), ("camera", CameraModel.from_dict)):
            values = getattr(self, field)
            if values is not None:
                try:
                    read(values)
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(
                        f"{field}: {error!r}" if isinstance(error, KeyError) else f"{field}: {error}"
                    ) from None
        return self


_FILES = ("body_file", "pose_folder", "pose_bank", "backgrounds", "plates")

# Two kinds of pictures that a detector of people learns most from: somebody near and alone, mostly on the floor; and
# people on their feet, in groups, farther off and lower down, among them rooms with nobody. Drawn from the same ranges,
# one half would spoil the other.
_FALLEN: dict[str, Any] = {
    "open_room_share": 0.7, "fallen_share": 0.7, "floor_share": 0.0, "nobody_share": 0.0,
    "bystander_weights": (0.85, 0.15), "azimuth_deg": (-180.0, 180.0), "elevation_deg": (8.0, 65.0),
    "open_elevation_deg": (5.0, 60.0), "distance_m": (1.2, 3.6), "roll_deg": (-10.0, 10.0),
    "look_at_spread_m": (0.25, 0.2, 0.1), "horizontal_fov_deg": (35.0, 80.0),
}  # fmt: skip
_PEOPLE: dict[str, Any] = _FALLEN | {
    "open_room_share": 0.6, "fallen_share": 0.15, "floor_share": 0.1, "nobody_share": 0.2,
    "bystander_weights": (0.45, 0.28, 0.17, 0.1), "elevation_deg": (5.0, 60.0), "open_elevation_deg": (-5.0, 40.0),
    "distance_m": (1.2, 6.0), "look_at_spread_m": (0.45, 0.35, 0.2), "horizontal_fov_deg": (40.0, 85.0),
}  # fmt: skip
# A detector tuned on people in bed alone forgets what somebody on the floor looks like, and takes an empty bed for
# a person. So a bed's pictures show its patient fallen beside it too, nobody, and the two kinds above.
_BESIDE_A_BED: dict[str, Any] = {
    "floor_share": 0.2, "nobody_share": 0.1,
    "parts": {
        "fallen": Part(share=0.22, elsewhere=True, **_FALLEN),
        "people": Part(share=0.18, elsewhere=True, **_PEOPLE),
    },
}  # fmt: skip

_WARD: dict[str, Any] = {
    "camera": KINECT_COLOR.to_dict(), "elevation_deg": (12.0, 50.0), "distance_m": (1.8, 3.6), **_BESIDE_A_BED,
}  # fmt: skip

NAMED: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        # The paper's synthetic sets; its range of distances isn't public.
        Scenario(name="B", azimuth_deg=(55.0, 125.0), **_WARD),
        Scenario(name="C", azimuth_deg=(15.0, 35.0), **_WARD),
        Scenario(name="D", azimuth_deg=(0.0, 0.0), **_WARD),
        # For base models: many viewpoints, many lenses, people anywhere, in bed, on their feet and on the floor.
        Scenario(
            name="base", patient_share=0.9, blanket_share=0.5, infant_share=0.04, views_per_scene=2, **_FALLEN,
            parts={"people": Part(share=0.45, **_PEOPLE)},
        ),
    )
}  # fmt: skip


def site_scenario(estimate: CalibrationEstimate, *, width: int = 640, **changes: Any) -> Scenario:
    """The scenario of one bedside: its camera, its bed, its viewpoint with the calibration's uncertainty.

    `width` sets the size of the pictures, of the same shape as the camera's. `changes` replace other fields, in all
    of its pictures. Raises WardposeError where nobody has confirmed head and foot, since half of all mistakes are that
    one.
    """
    if not estimate.confirmed:
        raise WardposeError(
            "nobody has confirmed which end of the bed is the head", where="calibration", mend="confirm the calibration"
        )
    bed, camera = estimate.bed, estimate.camera
    fields: dict[str, Any] = {
        "name": "site", "calibration": estimate.to_dict(), "width": width,
        "height": round(width * camera.height / camera.width), "bed_length_m": bed.length, "bed_width_m": bed.width,
        "bed_height_m": (bed.height, bed.height), "bystander_weights": (0.65, 0.35), "views_per_scene": 2,
        **_BESIDE_A_BED,
    }  # fmt: skip
    return Scenario(**fields).having(**changes)


def _beside(path: Path, named: Any) -> Any:
    if not isinstance(named, str):
        return named
    try:
        return str((path.parent / Path(named).expanduser()).absolute())
    except RuntimeError:  # nobody has that home
        return str((path.parent / named).absolute())


def _told(error: ValidationError, spec: str) -> WardposeError:
    """The first mistake that was found in a scenario's file."""
    first = error.errors()[0]
    where = f"{spec}, {'.'.join(str(part) for part in first['loc']) or 'scenario'}"
    if first["type"] == "extra_forbidden":
        of, known = ("part", Part) if first["loc"][0] == "parts" else ("scenario", Scenario)
        nearest = get_close_matches(str(first["loc"][-1]), known.model_fields, n=1)
        mend = f"did you mean {nearest[0]}?" if nearest else "take it out; README.md names the fields"
        return WardposeError(f"no field of a {of} has this name", where=where, mend=mend)
    if first["type"] == "missing" and first["loc"][-1] == "share":
        return WardposeError("must be given", where=where, mend="say which share of the pictures it is: share = 0.3")
    if first["type"] == "tuple_type" and first["loc"][-1] == "plates":
        return WardposeError(
            f"must be a list of folders, got {first['input']!r}", where=where, mend='such as ["room1"]'
        )
    if first["type"] in ("tuple_type", "missing"):
        return WardposeError(f"must be numbers in brackets, got {first['input']!r}", where=where, mend="such as [1, 2]")
    what = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return WardposeError(what if "got" in what else f"{what}, got {first['input']!r}", where=where)


def load_scenario(spec: str, *, estimate: CalibrationEstimate | None = None, plates: tuple[str, ...] = ()) -> Scenario:
    """The scenario that `spec` names: `B`, `C`, `D`, `base`, `site` (with its `estimate` and `plates`) or a TOML file.

    A file may begin with `like = "C"` to change only some fields of a named one, in all of its pictures, and have
    `[parts.NAME]` tables. Raises WardposeError with the file and the field of a mistake.
    """
    if spec == "site":
        if estimate is None:
            raise WardposeError(
                "the scenario `site` needs a calibration", mend="calibrate first: wardpose calibrate tags"
            )
        return site_scenario(estimate, plates=plates)
    if spec in NAMED:
        return NAMED[spec]
    path = Path(spec)
    if path.suffix != ".toml":
        raise WardposeError(
            f"no scenario is called {spec!r}", mend=f"choose one of: site, {', '.join(NAMED)}, or a .toml file"
        )
    values = parse_toml(toml_text(path), spec)
    like = values.pop("like", None)
    if like is not None:
        if not isinstance(like, str) or like not in NAMED:
            problem = f"no scenario is called {like!r}" if isinstance(like, str) else f"must be one name, got {like!r}"
            raise WardposeError(problem, where=f"{spec}, like", mend=f"choose one of: {', '.join(NAMED)}")
        values = NAMED[like].fields_having({"name": path.stem} | values)
    for field in _FILES:  # beside the scenario's own file, wherever it is read from
        named = values.get(field)
        if isinstance(named, list):
            values[field] = [_beside(path, each) for each in named]
        elif named:
            values[field] = _beside(path, named)
    try:
        scenario = Scenario(**({"name": path.stem} | values))
    except ValidationError as error:
        raise _told(error, spec) from None
    for field, check in (
        ("body_file" if scenario.body_file else "body", scenario.casting.check_body),
        ("pose_folder" if scenario.pose_folder else "pose_bank" if scenario.pose_bank else "pose_source",
         scenario.casting.check_poses),
    ):  # fmt: skip
        try:
            check()
        except WardposeError as error:
            raise WardposeError(str(error), where=f"{spec}, {field}") from None
    return scenario
