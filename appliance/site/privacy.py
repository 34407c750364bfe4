"""That nobody but its owner reads a site: the folder 0700, what lies in it 0600, however they came to be.

The folder's own rights keep everybody out; those of the files in it hold where the folder was opened by mistake, or a
file was copied out of it. Pictures and models below their folders are many, and rest on the folder's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OTHERS = 0o077  # what a group and everybody else may do


@dataclass(frozen=True, slots=True)
class Open:
    """Something that others may read or write. foreign: it is another user's, so that only that one, or root, can mend
    it."""

    path: Path
    mode: int
    foreign: bool

    @property
    def ours(self) -> bool:
        """Whether this program can take the rights from others."""
        return bool(self.mode & OTHERS) and (not self.foreign or os.geteuid() == 0)

    def __str__(self) -> str:
        return f"{self.path} is {self.mode:04o}" + (f" and belongs to uid {self.path.lstat().st_uid}" * self.foreign)


def open_to_others(root: Path) -> list[Open]:
    """What of a site others may reach, the folder first."""
    found = []
    for path in _watched(root):
        try:
            about = path.stat() if path == root else path.lstat()
        except OSError:
            continue  # gone meanwhile
        if stat.S_ISLNK(about.st_mode):
            continue
        mode, foreign = stat.S_IMODE(about.st_mode), about.st_uid != os.geteuid()
        if mode & OTHERS or (foreign and path == root):
            found.append(Open(path, mode, foreign))
    return found


def close_to_others(root: Path) -> list[str]:
    """Take from others what they may do; returns what was done, a line each. What isn't ours is left."""
    done = []
    for each in open_to_others(root):
        try:
            os.chmod(each.path, each.mode & ~OTHERS)
        except OSError:
            continue
        if each.mode & OTHERS:
            done.append(f"{each.path}: {each.mode:04o} → {each.mode & ~OTHERS:04o}")
    return done


def _watched(root: Path) -> Iterator[Path]:
    yield root
    for folder in (root, root / "logs"):
        try:
            yield from sorted(folder.iterdir())
        except OSError:
            continue
