"""Every fault of a data set in one list, before a training finds the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from synth.coco_file import CocoFile, Fault, ImageRow, PersonRow, examine_coco
from tuning.coco_folder import picture_folders, picture_path, size_fault

ANNOTATIONS = "annotations.json"
_ROUNDING_PX = 1.0  # by which a box or a joint may leave its picture


class DataFault(BaseModel):
    """One thing that is wrong. list, row (from 1) and field: of the COCO file `file`; empty and None where it is none
    of its rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    what: str
    list: str = ""
    row: int | None = None
    field: str = ""

    def __str__(self) -> str:
        place = f"{self.list} row {self.row}, {self.field}: " if self.row is not None else ""
        return f"{self.file}: {place}{self.what}"


class DataReport(BaseModel):
    """What a data set holds, what is wrong with it, and what somebody should know though nothing is wrong."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(title="COCO file")
    images: int = Field(default=0, title="Pictures whose rows hold")
    people: int = Field(default=0, title="People whose rows hold, crowds left out")
    with_keypoints: int = Field(default=0, title="Of them with labelled joints")
    faults: list[DataFault] = Field(default_factory=list, title="Faults")
    notes: list[str] = Field(default_factory=list, title="Worth knowing")

    @property
    def ok(self) -> bool:
        return not self.faults


def annotations_of(place: Path) -> Path:
    """The COCO file of a data set: `place` itself, or `annotations.json` in it."""
    return place if place.suffix.lower() == ".json" and not place.is_dir() else place / ANNOTATIONS


def check_data(
    place: Path, images_dir: Path | None = None, *, task: str | None = None, progress: Progress | None = None
) -> DataReport:
    """Look at every row and every pixel of the data set `place` (a folder, or a COCO file).

    task: `detect` or `pose`, what it is to train; without, keypoints are looked at where there are some. Nothing is
    raised for what is wrong with the set.
    """
    file = annotations_of(place)
    report = DataReport(file=str(file))
    try:
        found, faults = examine_coco(file, keypoints=task != "detect")
    except WardposeError as error:
        report.faults.append(DataFault(file=str(file), what=error.what))
        return report
    report.faults += [_told(file, fault) for fault in faults]
    people = [person for _, group in found.pictures for person in group]
    counted = [person for person in people if not person.ignored]
    report.images, report.people = len(found.pictures), len(counted)
    report.with_keypoints = sum(bool(_labelled(person)) for person in counted)
    report.faults += [DataFault(file=str(file), what=what) for what in _lacking(report, people, task)]
    report.faults += _of_pictures(file, [image for image, _ in found.pictures], images_dir, report, progress)
    report.notes += _notes(found, report, task)
    return report


def require_sound(place: Path, *, task: str | None = None, progress: Progress | None = None) -> None:
    """Raise WardposeError with the first fault of a data set, and how many there are; nothing is trained on such."""
    report = check_data(place, task=task, progress=progress)
    if report.faults:
        more = f" ({len(report.faults)} faults)" if len(report.faults) > 1 else ""
        first = report.faults[0]
        raise WardposeError(
            f"{str(first).removeprefix(f'{first.file}: ')}{more}", where=first.file,
            mend=f"see all of them: wardpose data check {place}",
        )  # fmt: skip


def _told(file: Path, fault: Fault) -> DataFault:
    return DataFault(file=str(file), list=fault.list, row=fault.row, field=fault.field, what=fault.what)


def _lacking(report: DataReport, people: Sequence[PersonRow], task: str | None) -> list[str]:
    """What a whole set lacks to be trained on; silent where its rows are wrong, which may be why."""
    if report.faults:
        return []
    if not report.images:
        return ["the COCO file lists no pictures"]
    if not report.people:
        return [
            "has crowds alone, nobody to learn from" if people else f"nobody is in any of its {report.images} pictures"
        ]
    if task == "pose" and not report.with_keypoints:
        return ["no person has keypoints, so that a pose model has nothing to learn from"]
    return []


def _of_pictures(
    file: Path, images: Sequence[ImageRow], images_dir: Path | None, report: DataReport, progress: Progress | None
) -> list[DataFault]:
    """Pictures that are missing, cut off, no pictures or of another size than their rows say."""
    folders = picture_folders(file, images_dir)
    faults: list[DataFault] = []
    seen: dict[str, ImageRow] = {}
    twice: list[str] = []
    for index, image in enumerate(images):
        if progress:
            progress(index, len(images), "looking at the pictures")
        try:
            path = picture_path(image, folders)
            if path is None:
                raise Fault("images", image.row, "file_name", f"the picture {image.file_name!r} is missing")
            if wrong := size_fault(image, path):
                raise wrong[0]
            read_photograph(path)
        except Fault as fault:
            faults.append(_told(file, fault))
        except WardposeError as error:
            faults.append(
                DataFault(file=str(file), list="images", row=image.row, field="file_name",
                          what=f"{image.file_name!r}: {error.what}")
            )  # fmt: skip
        else:
            first = seen.setdefault(sha256_of(path), image)
            if first is not image:
                twice.append(f"{image.file_name!r} shows what {first.file_name!r} shows")
    if twice:
        report.notes.append(f"{len(twice)} pictures are there more than once, byte by byte: first {twice[0]}")
    return faults


def _notes(found: CocoFile, report: DataReport, task: str | None) -> list[str]:
    notes = []
    leaving = [
        person.row
        for image, group in found.pictures
        for person in group
        if not person.ignored and _leaves(person.box, image)
    ]
    if leaving:
        notes.append(
            f"{len(leaving)} boxes reach beyond their pictures, first annotations row {leaving[0]}: a detector learns "
            "visible extents"
        )
    far = [
        person.row
        for image, group in found.pictures
        for person in group
        if any(v == 2 and not _within(x, y, image) for x, y, v in _labelled(person))
    ]
    if far:
        notes.append(f"{len(far)} people have a visible joint beyond their pictures, first annotations row {far[0]}")
    if report.people and report.images > 1 and all(group for _, group in found.pictures):
        notes.append("every picture shows somebody: a detector sees no empty bed in it")
    if report.people and not report.with_keypoints and task is None:
        notes.append("no person has keypoints: it can train a detector, no pose model")
    return notes


def _labelled(person: PersonRow) -> list[tuple[float, float, float]]:
    """x, y, visibility of the labelled joints."""
    values = person.keypoints or ()
    return [joint for joint in zip(values[::3], values[1::3], values[2::3], strict=True) if joint[2] > 0]


def _leaves(box: tuple[float, float, float, float], image: ImageRow) -> bool:
    x, y, width, height = box
    return not (_within(x, y, image) and _within(x + width, y + height, image))


def _within(x: float, y: float, image: ImageRow) -> bool:
    return -_ROUNDING_PX <= x <= image.width + _ROUNDING_PX and -_ROUNDING_PX <= y <= image.height + _ROUNDING_PX
