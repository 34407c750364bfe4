"""One tuning in several processes: `python -m tuning.families.together`, started by `together`, is each but the first.

All do the same tuning on the same pictures, each on its share of every batch (`tuning.train.ranks`); the first alone
keeps what comes of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.processes import die_with_parent
from calibration.progress import Progress
from tuning.families.family import StartsProcesses, TuneSettings, family_of, require_tunable, tune
from tuning.store.card import ModelCard, read_card
from tuning.train.ranks import RankFinished, ended_with, taking_part

_REPOSITORY = Path(__file__).resolve().parents[2]


def process_count(settings: TuneSettings) -> int:
    """How many processes train: as asked for, else one for each GPU, else one. WardposeError for more than GPUs."""
    import torch

    gpus = torch.cuda.device_count() if settings.device != "cpu" and torch.cuda.is_available() else 0
    if gpus and (settings.processes or 1) > gpus:
        raise WardposeError(
            f"{settings.processes} processes were asked for, and there are {gpus} GPUs", where="tune",
            mend="ask for no more, or leave --processes out",
        )  # fmt: skip
    return settings.processes or max(gpus, 1)


def tune_together(
    folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None = None, *,
    task: str | None = None,
) -> ModelCard:  # fmt: skip
    """`tuning.families.family.tune` in as many processes as `process_count` says."""
    count = process_count(settings)
    if count > 1 and isinstance(family_of(read_card(folder)), StartsProcesses):
        settings, count = settings.model_copy(update={"processes": count}), 1
    if count == 1:
        return tune(folder, data_dir, out_dir, settings, progress, task=task)
    require_tunable(folder, data_dir, out_dir, task=task, progress=progress)
    with together(count, folder, data_dir, out_dir, settings) as own:
        return family_of(read_card(folder)).tune(folder, data_dir, out_dir, own, progress)


@contextlib.contextmanager
def together(count: int, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings) -> Iterator[TuneSettings]:
    """Have `count` − 1 other processes do this tuning too, and take part as the first; gives the settings for it.

    They end with this one, however it ends.
    """
    import torch

    gpu = settings.device != "cpu" and torch.cuda.is_available()
    threads = settings.threads or max(1, (os.cpu_count() or 1) // count)
    own = settings.model_copy(update={"threads": threads, "processes": count})
    with tempfile.TemporaryDirectory(prefix="wardpose-together-") as place:
        asked = {
            "folder": str(folder.absolute()), "data": str(data_dir.absolute()), "out": str(out_dir.absolute()),
            "settings": own.model_dump(mode="json"), "world": count, "meeting": f"{place}/meeting",
            "device": "cuda" if gpu else "cpu",
        }  # fmt: skip
        command = [sys.executable, "-m", "tuning.families.together"]
        others = [
            subprocess.Popen(
                [*command, json.dumps(asked | {"rank": rank})], cwd=_REPOSITORY, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, preexec_fn=die_with_parent(),
            )
            for rank in range(1, count)
        ]  # fmt: skip
        with ended_with(others), taking_part(0, count, f"{place}/meeting", str(asked["device"])):
            yield own


def main() -> int:
    """Be one of the others; 0 when the training is over."""
    asked = parse_json(sys.argv[1])
    folder, settings = Path(asked["folder"]), TuneSettings.model_validate(asked["settings"])
    with taking_part(int(asked["rank"]), int(asked["world"]), asked["meeting"], asked["device"]):
        try:
            family_of(read_card(folder)).tune(folder, Path(asked["data"]), Path(asked["out"]), settings, None)
        except RankFinished:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
