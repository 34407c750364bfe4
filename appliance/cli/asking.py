"""How a command changes its site: it asks the service, and starts one for itself where none runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.cli.output import Output

BY_COMMAND = "by command"  # why, where nobody says


def add_reason(parser: argparse.ArgumentParser, default: str = BY_COMMAND) -> None:
    """`--reason`: why this is done."""
    parser.add_argument("--reason", default=default, help=f"why; the audit trail keeps it (default: {default})")


def ask(options: argparse.Namespace, call: str, /, **parameters: Any) -> Any:
    """One call of `appliance.api`, answered; raises `WardposeError` with the service's reason."""
    from appliance.client import ServiceClient
    from appliance.site.folder import SiteFolder

    with ServiceClient.connect(SiteFolder.open(options.home)) as client:
        return client.call(call, **parameters)


def carry_out(
    options: argparse.Namespace, out: Output, stage: str, kind: str, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """One job, waited for under a bar called `stage`; Ctrl-C cancels it. Raises `WardposeError` where it fails."""
    from appliance.client import ServiceClient
    from appliance.site.folder import SiteFolder

    with ServiceClient.connect(SiteFolder.open(options.home)) as client, out.progress(stage) as progress:
        return client.carry_out(kind, parameters, progress)


def exported_model(options: argparse.Namespace, out: Output, name: str) -> Path:
    """The ONNX file of a model of the site; a job exports it first where there is none of its present weights."""
    from appliance.models.store import ModelStore
    from appliance.site.folder import SiteFolder

    store = ModelStore(SiteFolder.open(options.home))
    if (path := store.onnx(name)) is not None:
        return path
    return Path(carry_out(options, out, "exporting", "export", {"model": name})["onnx"])
