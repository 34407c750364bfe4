"""The site folder: the whole state of one box. Copy it and you have copied the box."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from appliance.site.database import Database
from appliance.site.privacy import close_to_others
from calibration.atomic import disk_error
from calibration.disk import is_read_only, trouble_of
from calibration.errors import WardposeError
from calibration.places import named_place
from runtime.capture.secrets import use_file

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED_HOME = Path("/var/lib/wardpose")
FOLDERS = ("calibrations", "plates", "datasets", "models", "engines", "runs", "pictures", "logs")
MEMORY = Path("/dev/shm")
LONGEST_SOCKET_PATH = 100  # the kernel's sun_path holds 108 bytes with its zero


def open_log(path: Path) -> IO[bytes]:
    """A log opened for adding to it, readable by its owner alone whatever the umask, and whoever made it. What can't be
    logged keeps nothing from running: where the disk takes no file, it goes nowhere."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if trouble_of(error, path) is None:
            raise
        return open(os.devnull, "ab")
    with contextlib.suppress(OSError):  # another's file
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def open_lock(path: Path) -> int:
    """A file to hold a lock on (flock), made where it is not there; returns its descriptor. A lock wants no writing, so
    a file on a disk that takes none will do. Raises `WardposeError`."""
    how = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | how, 0o600)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.ENOSPC) or not path.exists():
                raise
            return os.open(path, os.O_RDONLY | how)
    except OSError as error:
        raise disk_error(error, path) from error


def home_path(named: Path | str) -> Path:
    """The place that somebody names as the site folder."""
    return named_place(named)


def default_home() -> Path:
    """$WARDPOSE_HOME, else ./site of a checkout, else where an installed box keeps its state."""
    if named := os.environ.get("WARDPOSE_HOME"):
        return home_path(named)
    in_checkout = (REPOSITORY / ".git").exists() or (REPOSITORY / "pyproject.toml").exists()
    return REPOSITORY / "site" if in_checkout else INSTALLED_HOME


def _listened_in(folder: Path) -> bool:
    """Whether any process has a socket there, as the kernel knows."""
    try:
        sockets = Path("/proc/net/unix").read_bytes()
    except OSError:
        return False
    return b" " + os.fsencode(folder) + b"/" in sockets


@dataclass(frozen=True)
class SiteFolder:
    """Paths and database of one site. Make it with `SiteFolder.open`."""

    root: Path

    @classmethod
    def open(cls, path: Path | str | None = None) -> SiteFolder:
        """The site at `path` (default: `default_home()`), made when absent, readable by its owner alone. One that is
        there is taken as it is (see `appliance.site.closing`)."""
        root = home_path(path) if path else default_home().absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not any(root.iterdir()):  # somebody's home or /tmp named by mistake keeps its rights
                close_to_others(root)
        except OSError as error:
            raise disk_error(error, root) from error
        for name in FOLDERS:
            try:
                (root / name).mkdir(mode=0o700, exist_ok=True)
            except OSError as error:  # a site whose disk is full opens without it
                if trouble_of(error, root) is None or not (root / "site.db").exists():
                    raise disk_error(error, root) from error
        site = cls(root)
        use_file(site.secrets_file)
        _ = site.database  # opened here so that a bad database is told at once
        if site.sockets_place.parent == root:  # made while there is room for it
            with contextlib.suppress(OSError):
                site.sockets_place.mkdir(mode=0o700, exist_ok=True)
        return site

    @cached_property
    def database(self) -> Database:
        return Database(self.root / "site.db")

    @property
    def settings_file(self) -> Path:
        return self.root / "site.toml"

    @property
    def secrets_file(self) -> Path:
        """The cameras' passwords, which stand nowhere else; see `runtime.capture.secrets`."""
        return self.root / "secrets.json"

    @property
    def pins_file(self) -> Path:
        """PINs of those who resume at the bedside page; see `runtime.display.pins`."""
        return self.root / "pins.json"

    @property
    def looking_pins_file(self) -> Path:
        """PINs of those who may only look, at the ward's station."""
        return self.root / "looking-pins.json"

    @property
    def pause_file(self) -> Path:
        """The site is paused while this stands; see `appliance.live.pauses`."""
        return self.root / "pause.json"

    @property
    def calibrations(self) -> Path:
        return self.root / "calibrations"

    @property
    def plates(self) -> Path:
        return self.root / "plates"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def engines(self) -> Path:
        return self.root / "engines"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def key(self) -> str:
        """A short name for this site among others on the box (rings, socket folders)."""
        return hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:10]

    @property
    def sockets_place(self) -> Path:
        """The folder of sockets, there or not: in the site, or a private one when the site's path is too long, or its
        disk read-only; where the disk became so under what runs, its sockets are where they were."""
        folder = self.root / "sockets"
        if is_read_only(self.root) and not _listened_in(folder):
            return MEMORY / f"wardpose-{os.getuid()}-{self.key}"  # no socket can be made on such a disk
        if len(os.fsencode(folder)) + len("/notify-display.sock") > LONGEST_SOCKET_PATH:
            folder = Path(tempfile.gettempdir()) / f"wardpose-{os.getuid()}-{self.key}"
        return folder

    @cached_property
    def sockets(self) -> Path:
        """Where the processes' sockets and locks live; made where it is not there."""
        folder = self.sockets_place
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            owner = folder.lstat()
        except OSError as error:
            raise disk_error(error, folder) from error
        if folder.is_symlink() or owner.st_uid != os.getuid() or owner.st_mode & 0o077:
            raise WardposeError(
                "other users could reach this folder of sockets", where=str(folder),
                mend="remove it, or run as the user who owns the site folder",
            )  # fmt: skip
        return folder

    def relative(self, path: Path) -> str:
        """`path` as stored in the database: relative when it lies inside the site, so that a copied site works."""
        path = path.absolute()
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def resolve(self, stored: str) -> Path:
        """The inverse of `relative`."""
        return self.root / stored
