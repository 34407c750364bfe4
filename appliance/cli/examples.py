"""What each command's help shows besides its options: a line or two that can be typed as they stand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

EXAMPLES = {
    "demo": ("wardpose demo",),
    "doctor": ("wardpose doctor", "wardpose doctor --mend"),
    "setup": ("wardpose setup --dry-run", "wardpose setup --kinect"),
    "kept": ("wardpose kept",),
    "status": ("wardpose status", "wardpose status --json"),
    "jobs": ("wardpose jobs", "wardpose jobs show 3", "wardpose jobs pause 3", "wardpose jobs resume"),
    "audit": ("wardpose audit", "wardpose audit --json > audit.json"),
    "roles": ("wardpose roles", "wardpose roles assign anna nurse --pin"),
    "display": ("wardpose display", "wardpose display --address"),
    "station": ("wardpose station certificate --name bed12.ward.local", "wardpose station on --reason 'night watch'"),
    "camera": ("wardpose camera list", "wardpose camera probe simulated"),
    "calibrate": ("wardpose calibrate tags", "wardpose calibrate confirm"),
    "plates": ("wardpose plates list",),
    "skeletons": ("wardpose skeletons list", "wardpose skeletons export night --to bids --out night"),
    "backgrounds": ("wardpose backgrounds rooms", "wardpose backgrounds rooms --model rtdetr"),
    "data": ("wardpose data check images", "wardpose data turn coco --out turned"),
    "synth": ("wardpose synth --count 400", "wardpose synth --scenario C --count 100 --seed 7 --out images"),
    "poses": ("wardpose poses --count 2100 --seed 7 --out bank.npz",),
    "preview": ("wardpose preview images",),
    "tune": ("wardpose tune --epochs 2", "wardpose tune --task pose"),
    "evaluate": ("wardpose evaluate --data labels.json --keypoints",),
    "export": ("wardpose export --model nanodet --engine onnx",),
    "promote": ("wardpose promote nanodet-tuned",),
    "rollback": ("wardpose rollback --reason 'it misses people on the floor'",),
    "base": ("wardpose base detector --minutes 30",),
    "models": ("wardpose models list", "wardpose models fetch"),
    "engines": ("wardpose engines", "wardpose engines --measure"),
    "run": ("wardpose run", "wardpose run --source simulated --headless --seconds 10"),
    "pause": ("wardpose pause --reason 'bathing the patient'",),
    "resume": ("wardpose resume",),
    "stop": ("wardpose stop",),
    "bench": ("wardpose bench infer",),
    "study": ("wardpose study", "wardpose study --preset full --out full --resume"),
    "test": ("wardpose test", "wardpose test tests/calibration -k tags"),
}


def show(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Put the examples behind the help of those commands."""
    for name, lines in EXAMPLES.items():
        if (parser := commands.get(name)) is not None:
            parser.epilog = "\n".join(("examples:", *(f"  {line}" for line in lines)))
            parser.formatter_class = argparse.RawDescriptionHelpFormatter
