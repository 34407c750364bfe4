"""Finding a plug-in by name. Every protocol of the product has one entry-point group, `wardpose.<kind>`.

Kinds: capture_sources, body_models, pose_sources, renderers, model_families, inference_engines, calibrators; each is
looked up by the commands that use it (tests/appliance/test_plugins.py drives one of each). A site
adds its own by installing a package that declares an entry point in that group.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from calibration.errors import WardposeError


@cache
def _found(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"wardpose.{kind}")}


def plugin_names(kind: str) -> tuple[str, ...]:
    """The registered names of one kind, sorted."""
    return tuple(sorted(_found(kind)))


def is_shipped(kind: str, name: str) -> bool:
    """Whether what is registered as `name` comes with the product itself, and not with a site's own package."""
    package = _found(kind)[name].dist
    return package is not None and package.name == "wardpose"


def load_plugin(kind: str, name: str) -> Any:
    """The object registered as `name`; importing it may import a heavy package."""
    try:
        entry = _found(kind)[name]
    except KeyError:
        known = ", ".join(plugin_names(kind)) or "none"
        raise WardposeError(
            f"no {kind.replace('_', ' ')[:-1]} is called {name!r}", mend=f"choose one of: {known}"
        ) from None
    return entry.load()
