"""Whether the pinned packages can be had for every Python that wardpose runs on; nothing is downloaded but what
describes them. One line for each Python; where no registry answers it says so and passes: that is no fault of the pins.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from appliance.environment import NEWEST_PYTHON, OLDEST_PYTHON, plan  # noqa: E402


def resolve(minor: int, packages: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    command = (
        sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
        "--only-binary", ":all:",
        "--python-version", f"3.{minor}", "--python-platform", "x86_64-manylinux_2_28",
        "--constraint", str(ROOT / "constraints.txt"), *options, "-",
    )  # fmt: skip
    return subprocess.run(command, input="\n".join(packages), capture_output=True, text=True, check=False)


def main() -> int:
    asked = {step.name: step.commands[0] for step in plan(ROOT) if step.name in {"torch", "packages", "trainers"}}
    names = {step: command[command.index(":all:") + 1 :] for step, command in asked.items()}
    failed = False
    for minor in range(OLDEST_PYTHON[1], NEWEST_PYTHON[1] + 1):
        whole = resolve(minor, [*names["torch"], *names["packages"]])
        bare = resolve(minor, [n for n in names["trainers"] if n != "--no-deps"], "--no-deps")
        said = whole.stderr + bare.stderr
        if whole.returncode == bare.returncode == 0:
            print(f"Python 3.{minor}: {len((whole.stdout + bare.stdout).splitlines())} packages can be had")
        elif "Failed to fetch" in said:
            print(f"Python 3.{minor}: no registry answered, so the packages were not looked for")
        else:
            print(f"Python 3.{minor}: {said.strip()}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
