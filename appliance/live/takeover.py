"""A model that has just gone live, taken over by the live path that runs: between two frames, without a start."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import Any

from appliance.live import running, wish
from appliance.live.addresses import result_socket
from appliance.live.plan import LivePlan, model_file
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError

_STAGES = {"detect": "detector", "pose": "pose"}


def follow(site: SiteFolder, task: str, was: str) -> bool:
    """Let a running live path go over from the model `was` to the one that is live for its task now.

    Returns whether it was told to: not where nothing runs, nor where it runs another model, that somebody asked for by
    name. It goes on with what it has where it can't be told; that is said on standard error.
    """
    now = ModelStore(site).live(task)
    if now == was:
        return False
    recalled = wish.recall(site)
    if recalled is not None and _model(asdict(recalled), task) == was:
        wish.remember(site, replace(recalled, **{_STAGES[task]: now}))  # type: ignore[arg-type]
    path = running.look(site)
    plan = running.plan_of(site, path) or {}
    if not path.runs or _model(plan, task) not in (was, now):
        return False
    try:
        tell(site, LivePlan("", str(plan.get("detector")), plan.get("pose")), task, now)
    except WardposeError as error:
        sys.stderr.write(f"the live picture goes on with {was}: {error}\n")
        return False
    return True


def tell(site: SiteFolder, runs: LivePlan, task: str, model: str) -> None:
    """Tell the live process to use `model` for its task beside the other of `runs`; raises WardposeError where it can't
    be told."""
    from runtime.bus import ResultClient

    wanted = replace(runs, **{_STAGES[task]: model})  # type: ignore[arg-type]
    detector, pose = model_file(site, wanted.detector), model_file(site, wanted.pose) if wanted.pose else None
    with ResultClient(result_socket(site)) as client:
        client.command("use", detector=str(detector), pose=str(pose) if pose else None)


def _model(plan: dict[str, Any], task: str) -> str:
    return str(plan.get(_STAGES[task]) or "")
