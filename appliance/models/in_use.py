"""Which models run on this site, in the same words on every screen and in every command."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.models.store import BUILT_IN_DETECTOR, STARTS_WITH, ModelStore
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.errors import WardposeError

KINDS = {"detect": "detector", "pose": "pose model"}
NO_SKELETON = "none: no skeleton is drawn, people are boxes"


@dataclass(frozen=True, slots=True)
class InUse:
    """The model of one task. name: empty where there is none. ok: it runs, and has learnt from photographs; else
    `broken` where it can't run, or what runs is a makeshift."""

    task: str
    name: str
    text: str
    ok: bool
    broken: bool
    tuned: bool

    @property
    def kind(self) -> str:
        return KINDS[self.task]


def models_in_use(site: SiteFolder) -> dict[str, str]:
    """The model's name for `detect` and `pose`: what site.toml asks for, else the promoted one, else what the box
    starts with; empty where there is none. Raises `WardposeError` for settings that are wrong."""
    settings, store = load_settings(site).live, ModelStore(site)
    return {"detect": settings.detector or store.live("detect"), "pose": settings.pose or store.live("pose")}


def told_in_use(site: SiteFolder) -> list[InUse]:
    """Detector and pose model in words; settings that are wrong are left to whoever tells of them."""
    store = ModelStore(site)
    try:
        names = models_in_use(site)
    except WardposeError:
        names = {task: store.live(task) for task in KINDS}
    return [_told(store, task, name) for task, name in names.items()]


def _told(store: ModelStore, task: str, name: str) -> InUse:
    if not name:
        return InUse(task, "", NO_SKELETON if task == "pose" else "none: nobody is found", False, False, False)
    try:
        card = store.card(name)
        if card.task != task:
            raise WardposeError(f"{name} is no {KINDS[task]}", mend="correct [live] in site.toml")
    except WardposeError as error:
        return InUse(task, name, str(error), False, True, False)
    makeshift = name == BUILT_IN_DETECTOR
    if card.parent:
        about = f"tuned from {card.parent}"
    elif makeshift:
        about = "trained on synthetic images only"
    else:
        about = "trained on photographs" if name in STARTS_WITH[task] else card.family or card.architecture
    text = f"{name} ({about}, {card.width}×{card.height})"
    return InUse(task, name, text, not makeshift, False, card.parent is not None)
