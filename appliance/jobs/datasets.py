"""The site's data sets: what each is made from, where it lies and what it is called.

A data set is named after what it shows and after its specification, so that another calibration, other plates or a
newer wardpose begin a new one, and one that was cut off goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.bedside import plates
from appliance.site import calibrations, intents
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration import bounds
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress

if TYPE_CHECKING:
    from synth.dataset import DatasetSpec, PictureWorkers

HELD_OUT = "held-out"
HELD_OUT_IMAGES = 100
HELD_OUT_SEED = 2_000_000_011  # far from any seed a person would train with
KINDS = ("depth", "infrared")
_NEXT_SEED, _MOST_DRAWS = 1_000_003, 1000  # from one fresh held-out set to the next


def training_set(site: SiteFolder, parameters: Mapping[str, Any]) -> tuple[DatasetSpec, Path]:
    """What `wardpose synth` makes, and the folder it has unless another is asked for.

    parameters: scenario (`site`, a name or a TOML file), count, seed, renderer, depth, infrared; the site's settings
    stand in for what is missing. Raises `WardposeError` for a scenario that does not hold, and where `site` is wanted
    and nobody has confirmed a calibration.
    """
    from synth.dataset import DatasetSpec
    from synth.scenario import load_scenario

    settings = load_settings(site).synthesis
    name = str(parameters.get("scenario") or "site")
    count, seed = (
        settings.count if parameters.get("count") is None else int(parameters["count"]),
        settings.seed if parameters.get("seed") is None else int(parameters["seed"]),
    )
    if not bounds.IMAGES.hold(count) or not bounds.SEED.hold(seed):
        raise WardposeError(
            f"{count} images with seed {seed} can't be made", where="synth",
            mend=f"give --count {bounds.IMAGES} and --seed {bounds.SEED}",
        )  # fmt: skip
    if name == "site":
        row = calibrations.current_row(site)
        scenario = load_scenario(name, estimate=calibrations.current(site), plates=plates.usable(site))
        label = f"site{row.id if row else ''}"
    else:
        scenario = load_scenario(name)
        label = scenario.name
    asked = [kind for kind in KINDS if parameters.get(kind)]
    spec = DatasetSpec(
        scenario=scenario.model_copy(update=dict.fromkeys(asked, True)),
        count=count,
        seed=seed,
        renderer=str(parameters.get("renderer") or "numba"),
    )
    return spec, _folder(site, f"{label}-{count}-seed{seed}", spec)


def held_out(
    site: SiteFolder, progress: Progress, *, count: int = HELD_OUT_IMAGES, source: str | None = None,
    fresh: bool = False,
) -> Path:  # fmt: skip
    """The annotations of simulated pictures of this site that no training has seen, made once and kept.

    From a camera (`source`, or the site's) that holds out frames they are such frames; with any other they show the
    calibrated viewpoint. fresh: others than those there are, in whose place they come.
    """
    from runtime.capture.source import ability_of, parse_spec
    from synth.dataset import DatasetSpec, HoldsOutFrames
    from synth.scenario import site_scenario

    source = source or load_settings(site).camera.source
    if (able := ability_of(source, HoldsOutFrames)) is not None:
        return _made(site, parse_spec(source)[0], able.held_out_spec(count), progress, fresh=fresh)
    row = calibrations.current_row(site)
    scenario = site_scenario(calibrations.current(site))
    spec = DatasetSpec(scenario=scenario, count=count, seed=HELD_OUT_SEED)
    return _made(site, f"site{row.id if row else ''}", spec, progress, fresh=fresh)


def guard_sets(site: SiteFolder, progress: Progress, floor: Path | None = None) -> dict[str, Path]:
    """The annotations of the sets on which no model may get worse, by name: simulated, made once and kept.

    floor: labelled people on the floor to take instead of simulated ones. The bed is the site's own where it has been
    calibrated.
    """
    from synth.dataset import PictureWorkers
    from synth.scenario import site_scenario
    from tuning.gate.guards import FLOOR, guard_specs

    calibrated = calibrations.current_row(site) is not None
    found = {}
    with PictureWorkers() as workers:
        for name, spec in guard_specs(site_scenario(calibrations.current(site)) if calibrated else None).items():
            if name == FLOOR and floor is not None:
                found[name] = floor
            else:
                found[name] = _made(site, spec.scenario.name, spec, progress, workers=workers)
    return found


def plates_set(site: SiteFolder, place: Path) -> tuple[Path, Path] | None:
    """A COCO file, written into `place`, of the plates that may be used now, in which nobody is; and the folder of its
    pictures. None where there are none."""
    from calibration.plate import PICTURE
    from runtime.capture.photograph import picture_size

    if not (usable := plates.usable(site)):
        return None
    images = []
    for number, folder in enumerate(map(Path, usable), 1):
        size = picture_size(folder / PICTURE)
        name = f"{folder.name}/{PICTURE}"
        images.append({"id": number, "file_name": name, "width": size.width, "height": size.height})
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    file = place / "plates.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file, site.plates


def newest_held_out(site: SiteFolder) -> Path | None:
    """The annotations of the held-out pictures that were made last; None where there are none."""
    found = site.datasets.glob(f"{HELD_OUT}*/annotations.json")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def newest(site: SiteFolder) -> Path:
    """The folder of the data set that was made last; raises `WardposeError` when there is none."""
    for row in listed(site):
        return Path(row["folder"])
    raise WardposeError("this site has no data set", mend="make one first: wardpose synth")


def listed(site: SiteFolder) -> list[dict[str, Any]]:
    """The data sets of this site, the newest first."""
    with site.database.transaction() as db:
        rows = db.execute("SELECT * FROM datasets ORDER BY id DESC").fetchall()
    return [dict(row) | {"folder": str(site.resolve(str(row["folder"])))} for row in rows]


def remove(site: SiteFolder, name: str, reason: str = "") -> None:
    """Delete a data set of this site, by its folder's name, with the sheets that show it; raises `WardposeError`."""
    folder = next((each for each in site.datasets.iterdir() if each.name == name and each.is_dir()), None)
    if folder is None:
        raise WardposeError(f"no data set is called {name!r}", mend="see the screen 4 Retarget")

    def delete() -> None:
        # The list of pictures first: without it the folder is no data set, whatever a power cut leaves of it.
        (folder / "annotations.json").unlink(missing_ok=True)
        for path in (site.pictures / name, folder):
            if path.exists():
                shutil.rmtree(path)

    gone = [site.pictures / name, folder]
    intents.delete(site, "dataset.remove", name, reason, gone, carry_out=delete, finisher=finish_deleting)


def finish_deleting(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The row of a data set whose folder was deleted goes too."""
    db.executemany("DELETE FROM datasets WHERE folder = ?", [(folder,) for folder in intent.deletes])


@contextlib.contextmanager
def making(site: SiteFolder, folder: Path, spec: DatasetSpec) -> Iterator[None]:
    """The block makes that data set, whose folder is taken from now on; it is listed when the block has ended, in place
    of an earlier one in the same folder."""
    told = f"{spec.count} images, seed {spec.seed}"
    made = folder / "annotations.json"  # written last
    with intents.intend(
        site, "dataset.make", site.relative(folder), told, made=made, finishers={"dataset.make": finish_making}
    ) as deed:
        yield
        with deed.commit() as db:
            _enlist(db, deed.intent.subject, spec)


def finish_making(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The row of a data set whose pictures are all there."""
    from synth.dataset import read_spec

    _enlist(db, intent.subject, read_spec(site.resolve(intent.subject)))


def _enlist(db: sqlite3.Connection, stored: str, spec: DatasetSpec) -> None:
    db.execute("DELETE FROM datasets WHERE folder = ?", (stored,))
    db.execute(
        "INSERT INTO datasets (made_at, folder, scenario, images, seed) VALUES (?, ?, ?, ?, ?)",
        (now(), stored, spec.scenario.name, spec.count, spec.seed),
    )


def delete_composed(site: SiteFolder) -> list[str]:
    """Delete the data sets over plates of which one has ended, and the sheets that show them; returns what couldn't be
    deleted. While a job is under way nothing is taken from it: the next time will do."""
    from appliance.jobs.store import ACTIVE, JobStore

    if JobStore(site).all(1, states=ACTIVE):
        return []
    problems = []
    for described in sorted(site.datasets.glob("*/dataset.json")):
        folder = described.parent
        try:
            used = parse_json(described.read_text())["spec"]["scenario"]["plates"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # none of ours
        # By their names as well: a copied site names the plates where they lay before.
        if all(Path(plate).is_dir() or (site.plates / Path(plate).name).is_dir() for plate in used):
            continue
        gone = [site.pictures / folder.name, folder]
        why = "a plate that it shows has ended"
        try:
            with contextlib.suppress(intents.Gone):
                intents.delete(site, "dataset.delete", folder.name, why, gone, finisher=finish_deleting)
        except WardposeError as error:
            problems.append(str(error))
    return problems


def _folder(site: SiteFolder, label: str, spec: DatasetSpec) -> Path:
    return site.datasets / f"{label}-{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:6]}"


def _made(
    site: SiteFolder, label: str, spec: DatasetSpec, progress: Progress, *, fresh: bool = False,
    workers: PictureWorkers | None = None,
) -> Path:  # fmt: skip
    """The annotations of a held-out set; those of its name that were made to another specification go.

    fresh: with another seed than the one there; whose seed is that of the last fresh one stays.
    """
    from synth.dataset import make_dataset

    drawn = _draws(site, label, spec)
    if fresh or drawn:
        number = drawn + 1 if fresh else drawn
        spec = spec.model_copy(update={"seed": (spec.seed + number * _NEXT_SEED) % (bounds.SEED.most + 1)})
    out = _folder(site, f"{HELD_OUT}-{label}", spec)
    make_dataset(spec, out, resume=True, workers=workers, progress=progress)
    for other in site.datasets.glob(f"{HELD_OUT}-{label}-*"):
        if other != out:
            with contextlib.suppress(intents.Gone):
                intents.delete(site, "dataset.delete", site.relative(other), f"{out.name} takes its place", [other])
    return out / "annotations.json"


def _draws(site: SiteFolder, label: str, spec: DatasetSpec) -> int:
    """How often this held-out set has been drawn afresh: told by the seed of the one that is there."""
    for described in site.datasets.glob(f"{HELD_OUT}-{label}-*/dataset.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            seed = int(parse_json(described.read_bytes())["spec"]["seed"])
            times, rest = divmod((seed - spec.seed) % (bounds.SEED.most + 1), _NEXT_SEED)
            if rest == 0 and times < _MOST_DRAWS:
                return times
    return 0
