"""Files made to hang their readers or to fill the memory, given to everything of the box that reads such files: each is
refused in one line, in bounded time and memory, and leaves nothing."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.faults.small_site import a_plate
from benchmarks import hostile_files
from calibration.errors import WardposeError

MOST_GIB = 5.0  # of memory in a child that imports

Reader = Callable[[Path], object]


def run(work: Path) -> Iterator[dict[str, Any]]:
    """One row a kind of file."""
    yield _imported("checkpoints", [*hostile_files.checkpoints(work), hostile_files.endless_checkpoint(work)], work)
    graphs = [*hostile_files.graphs(work), hostile_files.endless_graph(work), hostile_files.growing_graph(work)]
    yield _imported("graphs", [*graphs, hostile_files.described_graph(work)], work)
    yield tried("hostile documents read", documents(work / "documents"))
    yield tried("pictures of a gigapixel read", pictures(work / "pictures"))


def _imported(kind: str, paths: list[Path], work: Path) -> dict[str, Any]:
    from tuning.families.family import ImportWish
    from tuning.import_process import import_confined

    models = work / "models"
    row = tried(
        f"hostile {kind} imported",
        {path.name: lambda path=path: import_confined(path, models, ImportWish("hostile")) for path in paths},  # type: ignore[misc]
    )
    if models.exists() and any(models.iterdir()):
        row["lost"] += 1
        row["notes"].append("something of it was left")
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    row["lost"] += most > MOST_GIB
    row["notes"].append(f"at most {most:.1f} GiB in the largest child so far")
    return row


def tried(fault: str, deeds: Mapping[str, Callable[[], object]]) -> dict[str, Any]:
    """The row of these deeds, by what each reads: all must be refused."""
    row: dict[str, Any] = {"fault": fault, "tried": 0, "lost": 0, "shown_s": 0.0, "notes": []}
    for name, deed in deeds.items():
        row["tried"] += 1
        began = time.monotonic()
        try:
            deed()
            row["lost"] += 1
            row["notes"].append(f"{name}: was taken")
        except WardposeError as error:
            row["notes"].append(f"{name}: {error.what}")
        except Exception as error:
            row["lost"] += 1
            row["notes"].append(f"{name}: a defect: {type(error).__name__}: {str(error)[:100]}")
        row["shown_s"] = round(max(row["shown_s"], time.monotonic() - began), 2)
    return row


def documents(folder: Path) -> dict[str, Callable[[], object]]:
    """Every reader of JSON and TOML that somebody else wrote, with what has no end."""
    from appliance.site.settings import read_settings
    from calibration.files import load_estimate
    from calibration.lens_file import read_lens
    from calibration.plate import load_plate
    from synth.coco_file import read_coco
    from synth.dataset import read_spec
    from synth.scenario import load_scenario
    from tuning.store.card import read_card
    from tuning.store.foreign import read_foreign

    made = hostile_files.documents(folder)
    tables: list[Reader] = [read_settings, lambda path: load_scenario(str(path))]
    readers: dict[str, list[Reader]] = {
        "labels.json": [read_coco], "dataset/dataset.json": [lambda path: read_spec(path.parent)],
        "model/model.json": [lambda path: read_card(path.parent)], "estimate.json": [load_estimate],
        "plate/plate.json": [lambda path: load_plate(path.parent)], "lens.json": [lambda path: read_lens(path, (4, 3))],
        "header.safetensors": [read_foreign], "long-header.safetensors": [read_foreign],
        "pipe.json": [read_coco, load_estimate, lambda path: read_lens(path, (4, 3))], "endless.json": [read_coco],
    }  # fmt: skip
    return {
        f"{name} ({number})": lambda read=read, path=path: read(path)  # type: ignore[misc]
        for name, path in made.items()
        for number, read in enumerate(readers.get(name, tables), start=1)
    }


def pictures(folder: Path) -> dict[str, Callable[[], object]]:
    """Where the box decodes pictures that somebody else made: one of 32,000 × 32,000 pixels in each."""
    from calibration.plate import load_plate, save_plate
    from runtime.capture.photograph import picture_size, read_photograph
    from synth.contact_sheet import contact_sheet
    from synth.ward.photographs import read
    from tuning.coco_folder import read_people
    from tuning.data_check import check_data

    folder.mkdir(parents=True)
    path = hostile_files.huge_picture(folder / "huge.png", whole=True)
    plate = folder / "plate"
    save_plate(a_plate(20), plate)
    for name in ("color.png", "depth.png"):
        if (plate / name).exists():
            shutil.copyfile(path, plate / name)
    labels = hostile_files.labels_of(folder / "set", path)

    def checked() -> None:
        if faults := check_data(labels).faults:
            raise WardposeError(str(faults[0]))

    return {
        "a photograph": lambda: read_photograph(path), "a picture's size": lambda: picture_size(path),
        "a background": lambda: read(str(path)), "a plate": lambda: load_plate(plate),
        "a data set that is checked": checked,
        "a data set that is looked at": lambda: contact_sheet(labels.parent, folder / "sheet.png", 4),
        "a picture that is evaluated": lambda: [read_photograph(each.path) for each in read_people(labels)],
    }  # fmt: skip
