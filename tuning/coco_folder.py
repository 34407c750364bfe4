"""Reading a COCO annotation file: people, boxes, keypoints, and the pictures they belong to."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from runtime.capture.photograph import picture_size
from runtime.skeleton import KEYPOINTS
from synth.coco_file import Attributes, Fault, ImageRow, PersonRow, read_coco

_UNLABELLED = (0.0,) * 51
_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Space:
    """Where a picture's people are, in metres, as a synthetic set or a depth camera knows it.

    camera: of the picture's pixels. joints: (P, 17, 3) float64 in the camera's frame (x right, y down, z ahead), NaN
    where the file says nothing. depth: a 16-bit picture in millimetres, registered to the pixels.
    """

    camera: CameraModel
    joints: NDArray[np.float64]
    depth: Path | None


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and its people: row k of every array, and `attributes[k]`, belong to the annotation `ids[k]`.

    id: the image's in the file. ids: (P,) int64, the annotations'; one of a kind in the whole file, so that what a
    model shows on a person is compared by it. boxes: (P, 4) float64 xyxy pixels. keypoints: (P, 17, 3) float64 x, y,
    visibility, all zero where unlabelled. areas: (P,) outlined area in pixels², as keypoint figures want it; ignored:
    (P,) bool, COCO's crowd regions. attributes: what else the file says of each person in a word or a number (posture,
    age, …); about: the same of the picture (split, …). space: None where the file knows no camera.
    """

    id: int
    path: Path
    width: int
    height: int
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    areas: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    attributes: tuple[Attributes, ...]
    about: Attributes
    space: Space | None = None

    def __post_init__(self) -> None:
        people = {len(rows) for rows in (self.boxes, self.keypoints, self.areas, self.ignored, self.attributes)}
        if people != {len(self.ids)}:
            raise ValueError(f"picture {self.id}: {len(self.ids)} annotations, but rows for {sorted(people)} people")

    @property
    def drawn(self) -> bool:
        """Whether synthesis made it, so that nobody in it is real and all of it is labelled: our own sets alone say by
        which look a picture was drawn. That a file knows a camera does not tell: a depth camera's does too."""
        return "look" in self.about

    @property
    def postures(self) -> tuple[str, ...]:
        """(P,) how each person lies, sits or stands, where the file knows it, else empty words."""
        return tuple(str(said.get("posture") or "") for said in self.attributes)


def read_people(annotations: Path, images_dir: Path | None = None, *, keypoints: bool = False) -> list[Picture]:
    """The pictures of a COCO file with their people, in the file's order.

    images_dir: where the pictures lie. Without it `file_name` is taken as relative to the file's folder, then to
    `images/` there. keypoints: whether they are wanted; without, people of another count of them have none.
    WardposeError for what `read_coco` refuses, a picture that is not there, and one of another size than its row says.
    """
    folders = picture_folders(annotations, images_dir)
    pictures, missing = [], []
    found = read_coco(annotations, keypoints=keypoints).pictures
    for image, people in found:
        try:
            path = picture_path(image, folders)
        except Fault as fault:
            raise WardposeError(str(fault), where=str(annotations), mend="write it relative to the file") from None
        if path is None:
            missing.append(image.file_name)
            continue
        if wrong := size_fault(image, path):
            raise WardposeError(str(wrong[0]), where=str(annotations), mend=wrong[1])
        boxes = np.array([person.box for person in people], np.float64).reshape(len(people), 4)
        boxes[:, 2:] += boxes[:, :2]
        pictures.append(
            Picture(
                id=image.number, path=path, width=image.width, height=image.height,
                ids=np.array([person.number for person in people], np.int64), boxes=boxes,
                keypoints=_keypoints(people),
                areas=np.array([person.area for person in people], np.float64),
                ignored=np.array([person.ignored for person in people], bool),
                attributes=tuple(person.attributes for person in people), about=image.about,
                space=_space(annotations, image, people),
            )
        )  # fmt: skip
    if missing:
        raise WardposeError(
            f"{len(missing)} of {len(found)} pictures are missing, first {missing[0]!r}",
            where=str(images_dir or annotations.parent),
            mend="copy the pictures beside the annotations, or give their folder",
        )
    return pictures


def scenes_of(pictures: Sequence[Picture]) -> dict[int, Hashable]:
    """The scene each person was seen in, by annotation id: pictures of one scene show the same people in the same
    poses. Where the file does not say, every picture is a scene of its own."""
    return {
        person: picture.about.get("scene", f"picture {picture.id}")
        for picture in pictures
        for person in picture.ids.tolist()
    }


def _space(annotations: Path, image: ImageRow, people: Sequence[PersonRow]) -> Space | None:
    """What our own data sets say of space: camera, pose, joints; None where any of it is missing or does not hold."""
    try:
        camera = CameraModel.from_dict(image.said["camera"])
        camera_from_bed = np.array(image.said["camera_from_bed"], np.float64)
    except (KeyError, TypeError, ValueError):
        return None
    if camera_from_bed.shape != (4, 4) or (camera.width, camera.height) != (image.width, image.height):
        return None
    joints = np.full((len(people), len(KEYPOINTS), 3), np.nan)
    for row, person in enumerate(people):
        with contextlib.suppress(TypeError, ValueError):
            said = np.array(person.said.get("joints3d"), np.float64)
            if said.shape == joints.shape[1:]:
                joints[row] = said @ camera_from_bed[:3, :3].T + camera_from_bed[:3, 3]
    depth = image.said.get("depth_file")
    path = annotations.parent / depth if isinstance(depth, str) and ".." not in Path(depth).parts else None
    return Space(camera, joints, path if path is not None and path.is_file() else None)


def _keypoints(people: Sequence[PersonRow]) -> NDArray[np.float64]:
    """(P, 17, 3)."""
    return np.array([person.keypoints or _UNLABELLED for person in people], np.float64).reshape(len(people), 17, 3)


def picture_folders(annotations: Path, images_dir: Path | None = None) -> list[Path]:
    """Where the pictures of a COCO file are looked for, the likeliest first."""
    return [images_dir, images_dir.parent] if images_dir else [annotations.parent / "images", annotations.parent]


def picture_path(image: ImageRow, folders: list[Path]) -> Path | None:
    """Where the picture lies, None where nowhere; a name written on Windows is that of the same place here.

    Raises Fault for a name that leads out of the folders.
    """
    spelled = (image.file_name, image.file_name.replace("\\", "/"))
    for relative in map(Path, spelled):
        if relative.is_absolute() or ".." in relative.parts:
            raise Fault("images", image.row, "file_name", f"{image.file_name!r} leads out of the folder")
        for folder in folders:
            if (folder / relative).is_file():
                return folder / relative
    return None


def size_fault(image: ImageRow, path: Path) -> tuple[Fault, str] | None:
    """The fault, and how to mend it, where the labels cannot be those of the picture's pixels as they are looked at:
    upright. Raises WardposeError where it is no picture."""
    size = picture_size(path)
    says = (image.width, image.height)
    upright = f"is {size.width}×{size.height}, the file says {image.width}×{image.height}"
    mend = "save the picture upright, without the tag, and label it as it is then"
    if size.orientation in _SWAPPED and (size.height, size.width) == says != (size.width, size.height):
        what = f"{upright}: it was labelled as it is stored, before its EXIF tag turns it"
    elif (size.width, size.height) != says:
        what, mend = upright, "put the picture back that was labelled, or label this one"
    elif size.orientation != 1 and (size.orientation not in _SWAPPED or size.width == size.height):
        what = "its EXIF tag turns it, and it cannot be told whether it was labelled before or after that"
    else:
        return None
    return Fault("images", image.row, "width, height", f"{path.name} {what}"), mend
