"""A site folder that somebody named: whether it is there, so that a mistyped name makes no site unseen."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.cli.meant import nearest
from calibration.errors import WardposeError

# Commands that only tell of a site that is there, or end something in it.
NEEDS_A_SITE = ("status", "jobs", "kept", "resume")


def require_no_mistake(options: argparse.Namespace) -> None:
    """Refuse a site folder that is not there where a command wants one, and say so where one is made.

    Raises `WardposeError`, with the name that may have been meant.
    """
    if not options.home or options.command == "test":
        return
    from appliance.site.folder import home_path

    root = home_path(options.home)
    if (root / "site.db").exists():
        return
    meant = _sites_beside(root)
    near = f"; did you mean {meant}?" if meant else ""
    if options.command in NEEDS_A_SITE and not root.exists():
        raise WardposeError(
            f"there is no site{near}", where=str(root), mend="name one that is there; the terminal UI makes a new one"
        )
    if root.exists():
        return  # somebody made it: what becomes of it is told where it is opened
    if options.command is None and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        answer = input(f"There is no site in {root}{near or '.'} Make a new one? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            raise WardposeError("no site was made", where=str(root), mend="name the one you mean with --home")
    elif meant:
        raise WardposeError(
            f"there is no site{near}", where=str(root), mend="name one that is there, or make the folder"
        )
    elif sys.stderr is not None and sys.stderr.isatty():  # to a program a line there is a failure
        print(f"wardpose: {root} is a new site", file=sys.stderr, flush=True)


def _sites_beside(root: Path) -> str:
    """A site beside the folder whose name is much like it; empty where there is none."""

    try:
        sites = [path.name for path in root.parent.iterdir() if (path / "site.db").exists()]
    except OSError:
        return ""
    near = nearest(root.name, sites)
    return str(root.parent / near) if near else ""
