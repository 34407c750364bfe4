"""Which joints of a recording's skeleton are SMPL-X's: told by names as makers give them, and by the hierarchy."""

from __future__ import annotations

import re
from collections.abc import Sequence

from synth.pose.bvh_file import Skeleton

# A joint is named after itself or after the bone that begins at it. "leg" is the shin's joint for CMU and Mixamo, and
# the thigh's for others, who then have a knee.
_WORDS: dict[str, tuple[str, ...]] = {
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm", "armlower", "radius"),
    "knee": ("knee", "shin", "calf", "lowerleg", "lowleg", "leglower", "tibia", "leg"),
    "wrist": ("wrist", "hand"),
    "ankle": ("ankle", "foot"),
    "foot": ("toe", "toebase", "toes", "toe0", "ball", "football"),
}
_SIDES = {"left": "left", "l": "left", "lft": "left", "right": "right", "r": "right", "rgt": "right"}
# What exporters put before every name.
_PREFIX = re.compile(
    r"^(mixamorig\d*|bip\d*|valvebiped|def|org|mch|character\d*|rig|joint|bone|jnt)(?=[\s_.\-]|\d*$)", re.I
)


def named_parts(name: str) -> tuple[str | None, str]:
    """The side (left, right, None) and the part that a joint's name says: `Bip01 L UpperArm` is left, upperarm."""
    plain = name.rpartition(":")[2].strip()
    plain = _PREFIX.sub("", plain) or plain
    words = [
        word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", re.sub(r"[^A-Za-z0-9]+", " ", plain))
    ]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    part = "".join(word for word in words if word not in _SIDES)
    if len(set(sides)) == 1:
        return sides[0], part
    whole = "".join(words)  # all in small letters, with nothing between
    for start in ("left", "right", "l", "r"):
        rest = whole.removeprefix(start)
        if rest != whole and any(rest in known for known in _WORDS.values()):
            return _SIDES[start], rest
        rest = whole.removesuffix(start)
        if len(start) > 1 and rest != whole:
            return _SIDES[start], rest
    return None, whole


def joint_map(skeleton: Skeleton) -> dict[str, int]:
    """Which joint of the file stands for each of SMPL-X's, "pelvis" among them.

    The pelvis is where the legs meet, however many roots hang above it. ValueError names a joint that is not found.
    """
    parts = [named_parts(name) for name in skeleton.names]
    found: dict[str, int] = {}
    for side in ("left", "right"):
        for middle, upper, lower in (("elbow", "shoulder", "wrist"), ("knee", "hip", "ankle")):
            joint = _called(parts, side, _WORDS[middle])
            if joint is None or skeleton.parents[joint] < 0:
                raise ValueError(f"{side} {middle}")
            found |= {f"{side}_{middle}": joint, f"{side}_{upper}": skeleton.parents[joint]}
            end = _below(skeleton, parts, joint, _WORDS[lower])
            if end is not None:
                found[f"{side}_{lower}"] = end
        if (ankle := found.get(f"{side}_ankle")) is not None:
            toe = _below(skeleton, parts, ankle, _WORDS["foot"])
            if toe is not None:
                found[f"{side}_foot"] = toe
    if len({found[name] for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")}) < 4:
        raise ValueError("left hip or shoulder, apart from the right one")
    legs = skeleton.way_up(skeleton.parents[found["left_hip"]]) if skeleton.parents[found["left_hip"]] >= 0 else []
    right = set(skeleton.way_up(found["right_hip"]))
    pelvis = next((joint for joint in legs if joint in right), None)
    if pelvis is None:
        raise ValueError("pelvis, where the legs meet")
    found["pelvis"] = pelvis
    _trunk(skeleton, parts, found)
    return found


def _trunk(skeleton: Skeleton, parts: Sequence[tuple[str | None, str]], found: dict[str, int]) -> None:
    """Add collars, spine, neck and head."""
    above = set(skeleton.way_up(found["pelvis"]))
    up = {side: skeleton.way_up(found[f"{side}_shoulder"])[1:] for side in ("left", "right")}
    spine = [joint for joint in up["left"] if joint in up["right"] and joint not in above][::-1]
    for side in ("left", "right"):
        if up[side] and up[side][0] not in (*spine, *above):
            found[f"{side}_collar"] = up[side][0]
    if spine:
        found |= {"spine1": spine[0], "spine3": spine[-1]}
        if len(spine) > 2:
            found["spine2"] = spine[len(spine) // 2]
    for name in ("neck", "head"):
        joint = next((k for k, (side, part) in enumerate(parts) if side is None and part.rstrip("01") == name), None)
        if joint is not None:
            found[name] = joint


def _called(parts: Sequence[tuple[str | None, str]], side: str, words: Sequence[str]) -> int | None:
    """The joint of that side with the first of the words that one has."""
    for word in words:
        for joint, named in enumerate(parts):
            if named == (side, word):
                return joint
    return None


def _below(skeleton: Skeleton, parts: Sequence[tuple[str | None, str]], joint: int, words: Sequence[str]) -> int | None:
    """The joint under `joint` with one of the words, which may hang from one that only twists; else its first child."""
    children = skeleton.children(joint)
    farther = [below for child in children for below in skeleton.children(child)]
    for candidate in (*children, *farther):
        if parts[candidate][1] in words:
            return candidate
    return children[0] if children else None
