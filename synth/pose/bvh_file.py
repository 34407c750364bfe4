"""Parsing a BVH recording (Biovision): the hierarchy of joints and the numbers of each frame, as makers write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from calibration.foreign_file import foreign_bytes

_MOST_JOINTS = 2000
_CHANNEL = re.compile(r"([xyz])(rotation|position)", re.I)


@dataclass
class Skeleton:
    """names, parents (−1 at the root), offsets (J, 3) in the file's unit, and each joint's channels.

    channels: of each joint, the order of its rotations such as "ZXY" and the columns they stand in; places: of each
    joint, the columns of its x, y and z, or none; frames (T, C).
    """

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[tuple[str, list[int]]] = field(default_factory=list)
    frames: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    places: list[list[int]] = field(default_factory=list)

    def children(self, joint: int) -> list[int]:
        """The joints that hang from `joint`."""
        return [k for k, parent in enumerate(self.parents) if parent == joint]

    def way_up(self, joint: int) -> list[int]:
        """The joint and those it hangs from, up to the root."""
        chain = [joint]
        while self.parents[chain[-1]] >= 0:
            chain.append(self.parents[chain[-1]])
        return chain

    def rotations(self, index: int) -> NDArray[np.float64]:
        """(J, 3, 3) rotations of all joints in the world, in frame `index`."""
        row = self.frames[index]
        found = np.empty((len(self.names), 3, 3))
        for joint, (order, columns) in enumerate(self.channels):
            own = Rotation.from_euler(order, row[columns], degrees=True).as_matrix() if order else np.eye(3)
            parent = self.parents[joint]
            found[joint] = own if parent < 0 else found[parent] @ own
        return found

    def rest_positions(self) -> NDArray[np.float64]:
        """(J, 3) joints with no rotation. Where the file leaves the bones' lengths 0 and writes them into every frame
        instead, they are the first frame's."""
        offsets = np.array(self.offsets, np.float64)
        inner = [k for k, parent in enumerate(self.parents) if parent >= 0]
        if not np.abs(offsets[inner]).any() and len(self.frames):
            for joint in inner:
                if self.places[joint]:
                    offsets[joint] = self.frames[0][self.places[joint]]
        found = np.zeros((len(self.names), 3))
        for joint, parent in enumerate(self.parents):
            found[joint] = offsets[joint] if parent < 0 else found[parent] + offsets[joint]
        return found


class _Damaged(ValueError):
    """What is wrong, in words."""


@lru_cache(maxsize=16)
def read_bvh(path: Path) -> Skeleton:
    """Parse one file. Raises WardposeError that says what is wrong with it.

    Taken as well: a byte order mark, spaces in names, commas for decimal points or between numbers, no time of a frame.
    """
    try:
        content = foreign_bytes(path)
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path)) from None
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    lines = content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace").splitlines()
    try:
        return _parsed(iter([line.strip() for line in lines if line.strip()]))
    except _Damaged as error:
        raise WardposeError(
            f"is no BVH recording, or a damaged one ({error})", where=str(path), mend="export it anew, or take it out"
        ) from None


def _parsed(lines: Iterator[str]) -> Skeleton:
    if not next(lines, "").upper().startswith("HIERARCHY"):
        raise _Damaged("it does not begin with HIERARCHY")
    skeleton = Skeleton()
    columns = _hierarchy(skeleton, lines)
    skeleton.frames = _frames(lines, columns)
    return skeleton


def _hierarchy(skeleton: Skeleton, lines: Iterator[str]) -> int:
    """Fill in the joints, up to the line MOTION; returns how many numbers a frame has."""
    stack: list[int | None] = []  # the joint of each open brace, None for an end
    opened: int | None = None
    columns = 0
    for line in lines:
        for part in _parts(line):
            word, _, rest = part.partition(" ")
            word, rest = word.upper(), rest.strip()
            if word == "MOTION":
                _require_whole(skeleton, stack)
                return columns
            if word in ("ROOT", "JOINT"):
                parent = next((joint for joint in reversed(stack) if joint is not None), -1)
                if (parent < 0) != (word == "ROOT") or (parent < 0 and skeleton.names):
                    raise _Damaged(f"{part!r} hangs from nothing" if word == "JOINT" else "more than one skeleton")
                opened = _begin(skeleton, rest, parent)
            elif word == "END":
                opened = None
            elif word == "{":
                stack.append(opened)
            elif word == "}":
                if not stack:
                    raise _Damaged("a brace closes that was never opened")
                stack.pop()
            elif word == "OFFSET":
                if stack and (joint := stack[-1]) is not None:
                    skeleton.offsets[joint] = _numbers(rest, 3, f"the offset of {skeleton.names[joint]}")
            elif word == "CHANNELS" and stack and (joint := stack[-1]) is not None:
                columns = _channels(skeleton, joint, rest, columns)
            else:
                raise _Damaged(f"{part[:60]!r} is not understood")
    raise _Damaged("it has no line MOTION")


def _parts(line: str) -> list[str]:
    """A line's statements: braces may stand behind a name."""
    return [part for part in (piece.strip() for piece in re.split(r"([{}])", line)) if part]


def _begin(skeleton: Skeleton, name: str, parent: int) -> int:
    if not name:
        raise _Damaged("a joint without a name")
    if len(skeleton.names) >= _MOST_JOINTS:
        raise _Damaged(f"more than {_MOST_JOINTS} joints")
    skeleton.names.append(name)
    skeleton.parents.append(parent)
    skeleton.offsets.append([])
    skeleton.channels.append(("", []))
    skeleton.places.append([])
    return len(skeleton.names) - 1


def _require_whole(skeleton: Skeleton, stack: list[int | None]) -> None:
    if stack or not skeleton.names:
        raise _Damaged("its hierarchy is cut off" if stack else "it has no joints")
    for name, offset in zip(skeleton.names, skeleton.offsets, strict=True):
        if not offset:
            raise _Damaged(f"{name} has no offset")


def _channels(skeleton: Skeleton, joint: int, rest: str, columns: int) -> int:
    name = skeleton.names[joint]
    count, _, kinds_text = rest.partition(" ")
    kinds = [_CHANNEL.fullmatch(kind) for kind in kinds_text.split()]
    if not count.isascii() or not count.isdigit() or int(count) != len(kinds) or not all(kinds):
        raise _Damaged(f"the channels of {name} are {rest[:80]!r}")
    if skeleton.channels[joint][1] or skeleton.places[joint]:
        raise _Damaged(f"{name} has channels twice")
    turns = [(kind[1].upper(), columns + k) for k, kind in enumerate(kinds) if kind and kind[2].lower() == "rotation"]
    places = {kind[1].lower(): columns + k for k, kind in enumerate(kinds) if kind and kind[2].lower() == "position"}
    order = "".join(axis for axis, _ in turns)
    if len(order) > 3 or any(a == b for a, b in pairwise(order)):
        raise _Damaged(f"the rotations of {name} are about {order}")
    skeleton.channels[joint] = (order, [column for _, column in turns])
    skeleton.places[joint] = [places[axis] for axis in "xyz"] if len(places) == 3 else []
    return columns + len(kinds)


def _frames(lines: Iterator[str], columns: int) -> NDArray[np.float64]:
    """(T, columns) the numbers of every frame."""
    said, rows = None, []
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and key.strip().upper() == "FRAMES":
            said = int(value) if value.strip().isascii() and value.strip().isdigit() else -1
        elif colon and " ".join(key.upper().split()) == "FRAME TIME":
            continue
        else:
            rows.append(line)
    if said is None:
        raise _Damaged("it does not say how many frames it has")
    if not columns or not rows:
        raise _Damaged("it has no frames")
    words = [word for row in rows for word in _split(row)]  # one frame a line, or broken up at will
    if len(words) != said * columns:
        raise _Damaged(f"it says {said} frames of {columns} numbers, and holds {len(words)} numbers")
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        raise _Damaged("its frames hold something that is no number") from None
    if not np.isfinite(values).all():
        raise _Damaged("its frames hold a number that is not finite")
    return values.reshape(said, columns)


def _numbers(text: str, count: int, what: str) -> list[float]:
    try:
        found = [float(word) for word in _split(text)]
    except ValueError:
        raise _Damaged(f"{what} is no number") from None
    if len(found) != count or not np.isfinite(found).all():
        raise _Damaged(f"{what} is not {count} numbers")
    return found


def _split(row: str) -> list[str]:
    """The words of a row of numbers. A comma between digits is a decimal point where the row has no other; else, and
    at a word's end, it separates."""
    if "," not in row:
        return row.split()
    words = row.split()
    if "." not in row and all(re.fullmatch(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?", word) for word in words):
        return [word.replace(",", ".") for word in words]
    return row.replace(",", " ").split()
