"""What the box clears away by itself: recordings and plates whose time is up, training images that
show such plates, what went with a calibration, and what killed work left behind. `python -m appliance.housekeeping`.

The service does it every few minutes; a box under systemd has a timer for it.
"""

from __future__ import annotations

import argparse
import sys

from appliance import cut_off, program
from appliance.bedside import calibration_pages, plates, recordings
from appliance.jobs import datasets, leftovers
from appliance.live import pauses, reserve
from appliance.site import calibrations, closing
from appliance.site.folder import SiteFolder


def tidy(site: SiteFolder) -> list[str]:
    """Clear away what has expired; returns what couldn't be, a line each."""
    reserve.keep(site)
    for told in cut_off.settle(site):
        sys.stderr.write(f"{told}\n")
    problems = recordings.delete_expired(site) + plates.delete_expired(site)
    problems += datasets.delete_composed(site)  # after the plates they show
    problems += calibrations.forget_references(site) + calibration_pages.delete_old_pages(site)
    freed, stuck = leftovers.clear(site)
    for told in freed:
        sys.stderr.write(f"{told}\n")
    return problems + stuck


def main(arguments: list[str] | None = None) -> int:
    """Tidy one site once; returns 1 where something is left that should be gone."""
    parser = argparse.ArgumentParser(prog="appliance.housekeeping", description=__doc__)
    parser.add_argument("--home")
    program.prepare()
    home = parser.parse_args(arguments).home
    closing.close_and_tell(home)
    pauses.catch_up(home)
    left = tidy(SiteFolder.open(home))
    for problem in left:
        sys.stderr.write(f"{problem}\n")
    return 1 if left else 0


if __name__ == "__main__":
    program.exit_with(main)
