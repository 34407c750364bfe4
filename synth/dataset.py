"""A folder of synthetic pictures with labels.

    images/NNNNNN.jpg    the pictures
    labels/NNNNNN.txt    YOLO's view of their labels; data.yaml beside them names the folders for its trainers
    depth/, infrared/    16-bit PNG of each picture, where the scenario asks for them
    records/NNNNNN.json  everything known about one picture; written last, so its presence means the picture is done
    annotations.json     COCO's view, put together from the records when all are there
    dataset.json         the specification, and the versions it was made with

Picture i depends on the specification and i alone. Some pictures in a row show one scene (its number stands in the
record): the same people in the same poses from another side, in another room, light and colours. A run that was killed
goes on with `resume` and ends with the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from calibration import bounds
from calibration.atomic import disk_error, write_bytes
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.processes import end_with_parent
from calibration.progress import Progress
from calibration.viewpoint import Viewpoint
from synth.labels import CATEGORY, yolo_lines
from synth.scenario import Scenario
from synth.sensor import encode_jpeg, encode_png

if TYPE_CHECKING:
    from synth.sample import Sample, StageClock

FORMAT_VERSION = 2
# Without a path, YOLO trainers take the folders as relative to this file.
_DATA_YAML = b"train: images\nval: images\nnames:\n  0: person\n"

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class DatasetSpec(BaseModel):
    """What a data set is made from; together with a picture's number it decides every byte of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario = Field(title="Scenario (a name such as C, or all of its fields)")
    count: int = Field(title="Number of pictures", ge=bounds.IMAGES.least, le=bounds.IMAGES.most)
    seed: int = Field(default=0, title="Seed", ge=bounds.SEED.least, le=bounds.SEED.most)
    renderer: str = Field(default="numba", title="Renderer")
    segmentation: bool = Field(default=True, title="Write each person's outline")


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """images: pictures in the folder. seconds: spent by this run. made: pictures this run made."""

    images: int
    seconds: float
    out: Path
    seed: int
    made: int
    people: int


@runtime_checkable
class HoldsOutFrames(Protocol):
    """A camera that gives labelled frames of its own which no training has seen; see `runtime.capture.abilities`."""

    def held_out_spec(self, count: int) -> DatasetSpec:
        """The data set of `count` such frames."""
        ...


def generate_sample(spec: DatasetSpec, index: int, *, clock: StageClock | None = None) -> Sample:
    """Picture `index` of the data set `spec`; a pure function of the two."""
    from synth.sample import make_sample

    return make_sample(
        spec.scenario, spec.seed, index, renderer=spec.renderer, segmentation=spec.segmentation, clock=clock
    )


def make_dataset(
    spec: DatasetSpec, out: Path, *, resume: bool = False, workers: int | PictureWorkers | None = None,
    progress: Progress | None = None,
) -> DatasetSummary:  # fmt: skip
    """Make the pictures of `spec` in the folder `out`.

    resume: go on with a folder of the same specification (or a shorter one). workers: processes, default one a core;
    1 works in this process; or those that make other data sets too. progress: called with (done, total, note) after
    each picture; an exception it raises, or Ctrl-C, ends the run with every finished picture kept.
    Raises WardposeError where `out` holds something else, can't be written (a full disk), or a worker dies; then, too,
    finished pictures are kept for `resume`.
    """
    from synth.backdrop import check_backdrops

    begin = time.monotonic()
    out = Path(out)
    check_backdrops(spec.scenario)
    if spec.renderer != "numba":  # the others may lack a package or a driver: say so before any work
        from synth.sample import open_renderer

        open_renderer(spec.renderer)
    try:
        _prepare(spec, out, resume)
        waiting = [index for index in range(spec.count) if not is_done(out, index)]
        done = spec.count - len(waiting)
        if progress:
            progress(done, spec.count, "resuming" if done else "starting")
        own = workers if isinstance(workers, PictureWorkers) else PictureWorkers(workers)
        with nullcontext(own) if own is workers else own, closing(own.make(spec, out, waiting)) as work:
            for _ in work:
                done += 1
                if progress:
                    progress(done, spec.count, "pictures")
        people = _put_together(spec, out)
    except OSError as error:
        raise disk_error(error, error.filename or out) from error
    return DatasetSummary(spec.count, time.monotonic() - begin, out, spec.seed, len(waiting), people)


def read_spec(folder: Path) -> DatasetSpec:
    """The specification a data set was made from; WardposeError where the folder holds none."""
    path = Path(folder) / "dataset.json"
    try:
        content = parse_json(path.read_bytes())
        if content["format"] != FORMAT_VERSION:
            raise WardposeError(
                f"data set format {content['format']} is not {FORMAT_VERSION}", where=str(path), mend="make it again"
            )
        return DatasetSpec.model_validate(content["spec"])
    except FileNotFoundError:
        raise WardposeError(
            "holds no data set", where=str(folder), mend="give a folder made by wardpose synth"
        ) from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise WardposeError(f"is damaged: {error}", where=str(path), mend="make the data set again") from None


def is_done(out: Path, index: int) -> bool:
    """Whether picture `index` is there with all its files; the record is written last."""
    image, label, record = _paths(out, index)
    return record.is_file() and image.is_file() and label.is_file()


def _paths(out: Path, index: int) -> tuple[Path, Path, Path]:
    return (
        out / "images" / f"{index:06d}.jpg",
        out / "labels" / f"{index:06d}.txt",
        out / "records" / f"{index:06d}.json",
    )


def _prepare(spec: DatasetSpec, out: Path, resume: bool) -> None:
    """Make the folders and the specification, or check that the ones there are ours to go on with."""
    described = out / "dataset.json"
    if described.exists():
        there = read_spec(out)
        if not resume:
            raise WardposeError(
                "already holds a data set", where=str(out), mend="go on with --resume, or give another folder"
            )
        # As written, not as read: a field that an older version did not know would be filled in with a default.
        written = parse_json(described.read_bytes())["spec"]
        if written | {"count": spec.count} != parse_json(spec.model_dump_json()):
            raise WardposeError(
                "holds a data set with other settings", where=str(out), mend="give another folder, or the same settings"
            )
        if there.count > spec.count:
            raise WardposeError(
                f"holds a data set of {there.count} pictures, more than {spec.count}",
                where=str(out),
                mend=f"ask for at least {there.count}",
            )
    elif out.is_dir() and any(out.iterdir()):
        raise WardposeError("is not empty and holds no data set", where=str(out), mend="give an empty or new folder")
    elif out.exists() and not out.is_dir():
        raise WardposeError("is a file", where=str(out), mend="give a folder")
    asked = [kind for kind in ("depth", "infrared") if getattr(spec.scenario, kind)]
    for folder in ("images", "labels", "records", *asked):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for left in (out / folder).glob(".*.part"):  # of a run that was killed while writing
            left.unlink(missing_ok=True)
    content = {"format": FORMAT_VERSION, "spec": spec.model_dump(mode="json"), "versions": _versions()}
    if described.exists():
        content["versions"] = parse_json(described.read_bytes())["versions"]
    write_bytes(described, _json(content))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("wardpose", "numpy", "numba", "moderngl", "pyrender", "opencv-python-headless", "anny"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"


class PictureWorkers:
    """Processes that make pictures, of one data set after another; as a context they end with it.

    A process takes seconds to start and to compile in, so that small data sets had better share them. count: processes,
    default one a core; 1 works in this process. None is started before there is work for it.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def make(self, spec: DatasetSpec, out: Path, indices: list[int]) -> Generator[int, None, None]:
        """Make these pictures, yielding each number when its files are on disk."""
        workers = min(self.count, len(indices))
        if workers <= 1:
            for index in indices:
                yield make_one(spec, out, index)
            return
        running: set[Future[list[int]]] = set()
        with _environment(_ONE_THREAD):
            self._pool = pool = self._pool or ProcessPoolExecutor(
                self.count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
            )
            try:
                # Pictures of one scene go to one worker, which makes their people once.
                per_scene = spec.scenario.views_per_scene
                coming = (list(scene) for _, scene in groupby(indices, lambda index: index // per_scene))
                for _, scene in zip(range(2 * workers), coming, strict=False):
                    running.add(pool.submit(_make_scene, spec, out, scene))
                while running:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield from future.result()
                        following = next(coming, None)
                        if following is not None:
                            running.add(pool.submit(_make_scene, spec, out, following))
            except BrokenProcessPool:
                raise WardposeError(
                    "a worker process died, perhaps for lack of memory",
                    where=str(out),
                    mend="go on with --resume and fewer workers",
                ) from None
            finally:
                if running:  # cut short: nobody waits for pictures that take seconds and are made again when it goes on
                    for process in list((pool._processes or {}).values()):
                        process.kill()
                    self.__exit__()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that processes started meanwhile inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin_worker() -> None:
    """Set up a worker process: an end when the parent ends, Ctrl-C left to the parent, and one thread."""
    end_with_parent()  # one killed by SIGKILL can't tell its pool: its workers would wait for ever
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)


def _make_scene(spec: DatasetSpec, out: Path, indices: list[int]) -> list[int]:
    return [make_one(spec, out, index) for index in indices]


def make_one(spec: DatasetSpec, out: Path, index: int) -> int:
    """Make and write picture `index`; its record last."""
    sample = generate_sample(spec, index)
    image, label, record = _paths(out, index)
    height, width = sample.color.shape[:2]
    write_bytes(image, encode_jpeg(sample.color, sample.exposure.jpeg_quality))
    write_bytes(label, yolo_lines(sample.annotations, width, height).encode())
    view = Viewpoint.from_transform(sample.camera_from_bed)
    described: dict[str, Any] = {
        "id": index + 1,
        "file_name": image.name,
        "width": width,
        "height": height,
        "camera": sample.camera.to_dict(),
        "camera_from_bed": sample.camera_from_bed.tolist(),
        "azimuth_deg": round(view.azimuth_deg, 2),
        "elevation_deg": round(view.elevation_deg, 2),
        "in_ward": sample.plan.in_ward,
        "scene": sample.scene,
        "bed": sample.plan.bed.to_dict(),
        "look": hashlib.sha256(repr(sample.look).encode()).hexdigest()[:16],
    }
    for kind, plane in (("depth", sample.depth), ("infrared", sample.infrared)):
        if plane is not None:
            written = out / kind / f"{index:06d}.png"
            write_bytes(written, encode_png(plane))
            described[f"{kind}_file"] = f"{kind}/{written.name}"
    write_bytes(record, _json({"image": described, "annotations": sample.annotations}))
    return index


def _put_together(spec: DatasetSpec, out: Path) -> int:
    """Write annotations.json from the records; returns the number of people."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(spec.count):
        path = _paths(out, index)[2]
        try:
            record = parse_json(path.read_bytes())
        except ValueError:
            path.unlink()
            raise WardposeError("is damaged and was removed", where=str(path), mend="go on with --resume") from None
        images.append(record["image"])
        for annotation in record["annotations"]:
            annotations.append({"id": len(annotations) + 1, "image_id": record["image"]["id"], **annotation})
    content = {
        "info": {"description": f"wardpose synthetic images, scenario {spec.scenario.name}, seed {spec.seed}"},
        "licenses": [], "categories": [CATEGORY], "images": images, "annotations": annotations,
    }  # fmt: skip
    write_bytes(out / "data.yaml", _DATA_YAML)
    write_bytes(out / "annotations.json", json.dumps(content, ensure_ascii=False).encode() + b"\n")
    return len(annotations)
