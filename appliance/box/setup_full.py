"""`wardpose setup`: what a full appliance wants besides the Python environment; the demo and the tests need none."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.environment import has_nvidia_driver
from appliance.models.fetch import missing
from appliance.site.folder import REPOSITORY
from calibration.errors import WardposeError

UDEV_SOURCE = REPOSITORY / "systemd" / "99-wardpose-k4a.rules"
UDEV_TARGET = Path("/etc/udev/rules.d/99-wardpose-k4a.rules")
KINECT_ENVIRONMENT = REPOSITORY / ".venv-kinect"
KINECT_PACKAGES = ("pyk4a-bundle==1.5.0", "numpy<2")


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One thing to install: `commands` run one after the other; `there` tells whether it is done already."""

    name: str
    why: str
    commands: tuple[tuple[str, ...], ...]
    there: Callable[[], bool]
    needs_root: bool = True
    for_kinect: bool = False


def kinect_python() -> Path | None:
    """The interpreter of the Kinect's own environment (its package needs numpy 1), None when it isn't installed."""
    python = KINECT_ENVIRONMENT / "bin" / "python"
    return python if python.exists() and any(KINECT_ENVIRONMENT.glob("lib/python3*/site-packages/pyk4a")) else None


def plan() -> list[SetupStep]:
    """Every step, in order."""
    apt = ("apt-get", "install", "-y", "--no-install-recommends")
    python = str(KINECT_ENVIRONMENT / "bin" / "python")
    return [
        SetupStep(
            "EGL", "drawing on a graphics card, or on Mesa's software one",
            ((*apt, "libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri"),),
            lambda: all(ctypes.util.find_library(name) for name in ("EGL", "GL")),
        ),
        SetupStep(
            "Xvfb", "the Kinect's depth engine wants a display", ((*apt, "xvfb"),), lambda: bool(shutil.which("Xvfb")),
            for_kinect=True,
        ),
        SetupStep(
            "Chromium", "the display page on the box's own screen", ((*apt, "chromium"),),
            lambda: bool(shutil.which("chromium") or shutil.which("chromium-browser")),
        ),
        SetupStep(
            "udev rule", "the Kinect may be opened without root",
            (("install", "-m", "644", str(UDEV_SOURCE), str(UDEV_TARGET)), ("udevadm", "control", "--reload"),
             ("udevadm", "trigger", "--subsystem-match=usb")),
            lambda: UDEV_TARGET.exists() and UDEV_TARGET.read_bytes() == UDEV_SOURCE.read_bytes(),
            for_kinect=True,
        ),
        SetupStep(
            "Kinect environment", "pyk4a needs an old numpy, so it lives apart",
            ((sys.executable, "-m", "venv", "--clear", str(KINECT_ENVIRONMENT)),
             (python, "-m", "pip", "install", "--disable-pip-version-check", *KINECT_PACKAGES)),
            lambda: kinect_python() is not None, needs_root=False, for_kinect=True,
        ),
        SetupStep(
            "models", "detector and pose models trained on photographs",
            ((sys.executable, "-m", "appliance.models.fetch"),), lambda: not missing(), needs_root=False,
        ),
    ]  # fmt: skip


def external_plan(name: str, checkout: Path | None = None) -> list[SetupStep]:
    """The steps that make an external trainer's own environment and note where its authors' code is.

    WardposeError for a name that is not known, and for a folder that is no checkout of that code."""
    from tuning.external.environments import ENVIRONMENTS

    if name not in ENVIRONMENTS:
        raise WardposeError(
            f"no external trainer is called {name!r}", where="wardpose setup",
            mend=f"choose one of: {', '.join(ENVIRONMENTS)}",
        )  # fmt: skip
    known = ENVIRONMENTS[name]
    if known.code is None and checkout is not None:
        raise WardposeError(f"{name} needs no checkout", where="wardpose setup", mend="leave --checkout out")
    pip = (str(known.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--constraint",
           str(REPOSITORY / "constraints.txt"), "--only-binary", ":all:")  # fmt: skip
    local = (str(known.python), "-m", "pip", "--disable-pip-version-check", "install", "--no-deps",
             "--no-build-isolation")  # fmt: skip
    # The registries offer torchvision as a CUDA build only, which does not load beside a CPU's torch.
    whole = has_nvidia_driver() or known.whole_torchvision
    vision = (*pip, "--no-deps", "torchvision==0.28.0") if whole else (
        *local, str(REPOSITORY / "appliance" / "cpu_torchvision")
    )  # fmt: skip
    mark = known.folder / "wardpose-ready"
    steps = [
        SetupStep(
            f"{name} environment", f"{', '.join(known.architectures)}: its packages cannot live beside ours",
            ((sys.executable, "-m", "venv", "--clear", str(known.folder)), (*pip, *known.packages),
             *([(*pip, "--no-deps", *known.bare)] if known.bare else ()), vision,
             (str(known.python), "-c", f"open({str(mark)!r}, 'w').close()")),
            mark.exists, needs_root=False,
        )
    ]  # fmt: skip
    if known.code is not None:
        code = known.checked(checkout)
        note = f"open({str(known.checkout_note)!r}, 'w').write({str(code)!r})"
        steps.append(
            SetupStep(
                f"{name} checkout", f"its authors' code: {code}", ((str(known.python), "-c", note),),
                lambda: known.noted_checkout() == code, needs_root=False,
            )
        )  # fmt: skip
    return steps


def carry_out(steps: Sequence[SetupStep], *, dry_run: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Do what is not done yet; goes on after a step that fails and says at the end what is left.

    Returns `{name, ok, done, detail}` a step. A step that needs root is only described to anybody else.
    """
    results = []
    for step in steps:
        if step.there():
            results.append({"name": step.name, "ok": True, "done": False, "detail": "already there"})
        elif dry_run or (step.needs_root and os.geteuid() != 0):
            commands = "; ".join(" ".join(command) for command in step.commands)
            detail = f"{'would run' if dry_run else 'needs root (sudo ./wardpose setup)'}: {commands}"
            results.append({"name": step.name, "ok": dry_run, "done": False, "detail": detail})
        else:
            say(f"{step.name}: {step.why}")
            try:
                _run(step)
                results.append({"name": step.name, "ok": True, "done": True, "detail": "installed"})
            except WardposeError as error:
                results.append({"name": step.name, "ok": False, "done": False, "detail": str(error)})
        say(f"{step.name}: {results[-1]['detail']}")
    return results


def _run(step: SetupStep) -> None:
    for command in step.commands:
        try:
            ended = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
            )
        except FileNotFoundError:
            raise WardposeError(
                f"{command[0]} is not on this system", where=step.name, mend="install it by this system's own means"
            ) from None
        if ended.returncode:
            lines = [line for line in (ended.stderr or ended.stdout).splitlines() if line.strip()]
            raise WardposeError(
                f"`{' '.join(command[:3])} …` ended with {ended.returncode}: {lines[-1] if lines else 'no reason'}",
                where=step.name,
                mend="mend that, then give the command again",
            )
    if not step.there():
        raise WardposeError(
            "it is still not there", where=step.name, mend="give the command again and read what it says"
        )
