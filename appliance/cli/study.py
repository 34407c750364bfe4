"""wardpose study: the paper's protocol on this box, and whether it matters what the images show."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.cli.output import Output
from calibration.errors import WardposeError

if TYPE_CHECKING:
    from appliance.models.store import ModelStore
    from tuning.study.plan import Known, Labelled

_WHERE = "wardpose study"
_IMAGES = 800  # of each kind, for targeting


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "study", parents=[common], help="the paper's whole protocol, or whether targeting matters"
    )
    parser.add_argument(
        "what", nargs="?", choices=("protocol", "targeting"), default="protocol",
        help="protocol (default): tables 2-7, figures 8-10 and what the paper left open; targeting: the same number of "
        "images from the right viewpoint, a generic and wrong ones, scored on photographs of yours",
    )  # fmt: skip
    parser.add_argument("--preset", choices=("small", "full"), default="small", help="how much of everything")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where all of it is kept (default: study-PRESET)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with what DIR holds; nothing finished is done again"
    )
    parser.add_argument(
        "--detectors", "--detector", nargs="+", metavar="NAME", help="detectors of this site (default: the one a box "
        "starts with; all with --preset full)",
    )  # fmt: skip
    parser.add_argument("--poses", nargs="*", metavar="NAME", help="pose models (default: the one a box starts with)")
    parser.add_argument(
        "--score", action="append", default=[], metavar="NAME=COCO.json[:IMAGES]", help="a real set to score on as well"
    )
    parser.add_argument(
        "--coco", metavar="COCO.json[:IMAGES]", help="people to turn for the paper's set A: a COCO file or folder"
    )
    parser.add_argument(
        "--backgrounds", type=Path, metavar="DIR", help="photographs of rooms for the sweep of backgrounds"
    )
    parser.add_argument("--count", type=int, help="images of each set (default: the preset's; targeting: 800)")
    parser.add_argument("--orders", type=int, default=3, help="targeting: trainings on each, default 3")
    parser.add_argument(
        "--arm", action="append", default=[], metavar="NAME=SCENARIO", help="targeting: images of this scenario (B, C, "
        "D, base, site or a TOML file) instead of the four of ours; may be repeated",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the images and of the trainings (default 0)")
    parser.add_argument("--threads", type=int, help="for training and scoring (default: one a core)")
    parser.add_argument("--workers", type=int, help="processes that make images (default: one a core)")
    parser.set_defaults(run=study)


def study(options: argparse.Namespace, out: Output) -> int:
    """Carry the study out, then write and show what it came to."""
    from appliance.job_process import give_way
    from appliance.models.store import ModelStore
    from appliance.site.folder import SiteFolder
    from tuning.study.ledger import carry_out
    from tuning.study.report import write_report
    from tuning.study.workshop import Workshop

    _check(options)
    store = ModelStore(SiteFolder.open(options.home))
    plan, models = _planned(options, store)
    folder = options.out or Path("study-targeting" if options.what == "targeting" else f"study-{options.preset}")
    for what, why in plan.left_out.items():
        out.say(f"left out: {what}: {why}")
    give_way(session=False)
    with out.progress("study") as progress:
        work = Workshop(models, options.threads, options.workers)
        done = carry_out(plan, folder, work, resume=options.resume, progress=progress)
        report = write_report(done, folder)
    for table in report.tables:
        out.say(f"\n{table.title}")
        out.table(table.columns, table.rows)
    out.say(f"\nwritten to {folder}: {', '.join(path.name for path in report.files)}")
    out.answer(report.answer())
    return 0


def _check(options: argparse.Namespace) -> None:
    for name in ("count", "orders", "threads", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise WardposeError(f"--{name} must be 1 or more, got {value}", where=_WHERE, mend="leave it out")
    if options.seed < 0:
        raise WardposeError(f"--seed must be 0 or more, got {options.seed}", where=_WHERE, mend="leave it out")
    if options.what == "targeting" and not options.score:
        raise WardposeError(
            "no photographs to score on", where=f"{_WHERE} targeting", mend="give --score NAME=COCO.json"
        )
    if options.backgrounds is not None and not options.backgrounds.is_dir():
        raise WardposeError(
            "is no folder", where=str(options.backgrounds), mend="name a folder of photographs of rooms"
        )


def _planned(options: argparse.Namespace, store: ModelStore) -> tuple[Any, dict[str, Path]]:
    """The plan, and the folders of the models it names."""
    from pydantic import ValidationError

    from tuning.base_options import evaluation_set
    from tuning.study import plan, targets

    scored = {name: _labelled(*where) for name, where in _each_once("--score", map(evaluation_set, options.score))}
    named = options.detectors or _detectors(options, store)
    detectors = [_known(store, name, "detect") for name in dict.fromkeys(named)]
    try:
        if options.what == "targeting":
            if len(detectors) > 1:
                raise WardposeError("targeting is asked of one detector", where=_WHERE, mend="name one")
            arms = dict(_each_once("--arm", [_arm(text, options.home) for text in options.arm])) or targets.arms()
            asked = plan.targeting(detectors[0], scored, arms, options.count or _IMAGES, options.orders, options.seed)
            return asked, {detectors[0].name: store.folder(detectors[0].name)}
        pose = store.start("pose")
        poses = [
            _known(store, name, "pose")
            for name in (([pose] if pose else []) if options.poses is None else options.poses)
        ]
        coco = _labelled(*evaluation_set(f"A={options.coco}")[1]) if options.coco else None
        rooms = str(options.backgrounds.absolute()) if options.backgrounds else None
        box = plan.Box(detectors, poses, coco, rooms, scored)
        return plan.protocol(options.preset, box, options.seed, options.count), {
            known.name: store.folder(known.name) for known in (*detectors, *poses)
        }
    except ValidationError as error:
        first = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise WardposeError(first, where=_WHERE, mend="give the set, arm or model another name") from None


def _detectors(options: argparse.Namespace, store: ModelStore) -> Sequence[str]:
    """Those that were not tuned from another, or of a small study the one a box starts with."""
    if options.preset == "full" and options.what == "protocol":
        return [model.name for model in store.all() if model.task == "detect" and model.parent is None]
    return [store.start("detect")]


def _known(store: ModelStore, name: str, task: str) -> Known:
    from tuning.study.plan import Known

    card = store.card(name)
    if card.task != task:
        wanted = {"detect": "detector", "pose": "pose model"}[task]
        raise WardposeError(f"{name} is no {wanted}", where=_WHERE, mend="see the task in `wardpose models list`")
    return Known(name, card.sha256, max(card.width, card.height))


def _labelled(annotations: Path, images: Path | None) -> Labelled:
    """A COCO file that can be read, with all of its pictures: told now rather than after hours."""
    from calibration.file_digest import sha256_of
    from tuning.coco_folder import read_people
    from tuning.study.plan import Labelled

    if not any(len(picture.ids) for picture in read_people(annotations, images)):
        raise WardposeError("shows nobody", where=str(annotations), mend="give labelled pictures of people")
    return Labelled(str(annotations.absolute()), sha256_of(annotations), str(images.absolute()) if images else None)


def _each_once(option: str, named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """What was given by name; WardposeError where two have one."""
    found = list(named)
    for name, times in Counter(name for name, _ in found).items():
        if times > 1:
            raise WardposeError(f"{option} names {name} {times} times", where=_WHERE, mend="give each another name")
    return found


def _arm(text: str, home: str | None) -> tuple[str, Any]:
    """Name and scenario of an arm. The site's own shows its viewpoint in drawn rooms: a study's pictures are kept
    where no plate's date is looked after."""
    from appliance.site import calibrations
    from appliance.site.folder import SiteFolder
    from synth.scenario import load_scenario

    name, _, spec = text.partition("=")
    if not name or not spec:
        raise WardposeError(f"--arm {text!r} names no scenario", where=_WHERE, mend="write NAME=SCENARIO")
    if spec == "site":
        return name, load_scenario(spec, estimate=calibrations.current(SiteFolder.open(home)))
    return name, load_scenario(spec)
