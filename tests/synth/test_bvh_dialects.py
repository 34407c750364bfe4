"""BVH files as makers write them: one motion in every dialect gives the same angles, or is named before any work.

Like the files behind DeepMotionEditing/deep-motion-editing#121 (lengths in the channels), 20tab/bvh-python#9 (spaces in
names), assimp/assimp#499 ("Right knee") and the 3,075 recordings of Bandai-Namco (a root above the hips).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX
from synth.pose.bvh import BvhPoses
from synth.pose.bvh_joints import named_parts
from synth.pose.motion import MotionFrame
from tests.fuzz import broken_bytes

# part, parent, offset from it: a T-pose, y up, facing z, left is +x.
TRUNK = [("hips", "", (0, 0, 0)), ("spine", "hips", (0, 12, 0)), ("chest", "spine", (0, 18, 0)),
         ("neck", "chest", (0, 20, 0)), ("head", "neck", (0, 9, 0))]  # fmt: skip
LIMBS = [("collar", "chest", (4, 14, 0)), ("shoulder", "collar", (13, 0, 0)), ("elbow", "shoulder", (27, 0, 0)),
         ("wrist", "elbow", (24, 0, 0)), ("hip", "hips", (9, -6, 0)), ("knee", "hip", (0, -41, 0)),
         ("ankle", "knee", (0, -39, 0)), ("toe", "ankle", (0, -6, 13))]  # fmt: skip
# What somebody lies like: on the back, the left knee and the right elbow bent; degrees about z, x, y.
TURNS = {"hips": (0, -90, 0), "left knee": (0, 55, 0), "right elbow": (0, 0, 35)}


def bones(turned: Mapping[str, tuple[float, float, float]] | None = None) -> list[tuple[str, str, tuple[float, ...]]]:
    """All bones; turned: another offset for some."""
    found: list[tuple[str, str, tuple[float, ...]]] = list(TRUNK)
    for side, sign in (("left", 1), ("right", -1)):
        for part, parent, (x, y, z) in LIMBS:
            above = parent if parent in ("hips", "chest") else f"{side} {parent}"
            found.append((f"{side} {part}", above, (sign * x, y, z)))
    return [(name, parent, (turned or {}).get(name, offset)) for name, parent, offset in found]


def names(table: str) -> Callable[[str], str]:
    """A maker's names: the word for each part, and `{side}` where the side stands; S, s for its first letter."""
    forms = dict(entry.split("=") for entry in table.split(";"))

    def name(part: str) -> str:
        side, _, rest = part.rpartition(" ")
        form = forms[rest or part].strip()
        return form.format(side=side.capitalize(), low=side, S=side[:1].upper(), s=side[:1])

    return name


MAKERS = {
    "CMU": "hips=Hips;spine=Spine;chest=Spine1;neck=Neck;head=Head;collar={side}Shoulder;shoulder={side}Arm;"
    "elbow={side}ForeArm;wrist={side}Hand;hip={side}UpLeg;knee={side}Leg;ankle={side}Foot;toe={side}ToeBase",
    "spaces": "hips=Pelvis;spine=Lower spine;chest=Upper spine;neck=Neck;head=Head;collar={side} collar;"
    "shoulder={side} shoulder;elbow={side} elbow;wrist={side} wrist;hip={side} hip;knee={side} knee;"
    "ankle={side} ankle;toe={side} toe",
    "Biped": "hips=Bip01 Pelvis;spine=Bip01 Spine;chest=Bip01 Spine1;neck=Bip01 Neck;head=Bip01 Head;"
    "collar=Bip01 {S} Clavicle;shoulder=Bip01 {S} UpperArm;elbow=Bip01 {S} Forearm;wrist=Bip01 {S} Hand;"
    "hip=Bip01 {S} Thigh;knee=Bip01 {S} Calf;ankle=Bip01 {S} Foot;toe=Bip01 {S} Toe0",
    "rig": "hips=DEF-hips;spine=DEF-spine;chest=DEF-chest;neck=DEF-neck;head=DEF-head;collar=DEF-shoulder.{S};"
    "shoulder=DEF-upper_arm.{S};elbow=DEF-forearm.{S};wrist=DEF-hand.{S};hip=DEF-thigh.{S};knee=DEF-shin.{S};"
    "ankle=DEF-foot.{S};toe=DEF-toe.{S}",
    "leg is the thigh": "hips=hips;spine=spine;chest=chest;neck=neck;head=head;collar={low}_collar;"
    "shoulder={low}_arm;elbow={low}_elbow;wrist={low}_wrist;hip={low}_leg;knee={low}_knee;ankle={low}_ankle;"
    "toe={low}_toe",
    "small": "hips=hip;spine=abdomen;chest=chest;neck=neck;head=head;collar={s}Collar;shoulder={s}Shldr;"
    "elbow={s}ForeArm;wrist={s}Hand;hip={s}Thigh;knee={s}Shin;ankle={s}Foot;toe={s}Toe",
}  # fmt: skip


def bvh(
    maker: str = "CMU", *, root: str = "", places: bool = False, lengths: bool = True, z_up: bool = False,
    turned: Mapping[str, tuple[float, float, float]] | None = None,
) -> str:  # fmt: skip
    """The motion's text. root: a joint above the hips; places: six channels a joint; lengths: whether offsets hold
    them; z_up: another world; turned: other offsets of some bones."""
    called, rows = names(MAKERS[maker]), bones(turned)
    lines, numbers = ["HIERARCHY"], []

    def axes(x: float, y: float, z: float) -> tuple[float, float, float]:
        return (x, -z, y) if z_up else (x, y, z)

    def write(part: str, offset: tuple[float, ...], inner: bool) -> None:
        kind = "JOINT" if inner or (root and part == "hips") else "ROOT"
        with_place = places or part == "hips"
        shown = axes(*offset) if lengths else (0, 0, 0)  # type: ignore[arg-type]
        lines.extend([f"{kind} {called(part)}", "{", "OFFSET " + " ".join(f"{value:.4f}" for value in shown)])
        orders = "Zrotation Xrotation Yrotation" if not z_up else "Yrotation Xrotation Zrotation"
        lines.append(f"CHANNELS {6 if with_place else 3} {'Xposition Yposition Zposition ' * with_place}{orders}")
        z, x, y = TURNS.get(part, (0, 0, 0))
        numbers.extend([*(axes(*offset) if with_place else ()), *((-z, x, y) if z_up else (z, x, y))])  # type: ignore[arg-type]
        below = [row for row in rows if row[1] == part]
        for name, _, each in below:
            write(name, each, inner=True)
        if not below:
            lines.extend(["End Site", "{", "OFFSET 0.0 0.0 4.0", "}"])
        lines.append("}")

    if root:
        lines.extend([f"ROOT {root}", "{", "OFFSET 0.0 0.0 0.0", "CHANNELS 3 Zrotation Xrotation Yrotation"])
        numbers.extend([0, 0, 0])
    write("hips", (0, 95, 0), inner=False)
    lines.extend(["}"] if root else [])
    return "\n".join([*lines, "MOTION", "Frames: 1", "Frame Time: 0.0333", " ".join(f"{n:.4f}" for n in numbers)])


def told(folder: Path, content: str | bytes) -> MotionFrame:
    """What the product makes of the file, after its check."""
    path = folder / f"{abs(hash(content))}.bvh"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        BvhPoses.check(folder)
        return BvhPoses.read_frame(path, 0)
    finally:
        path.unlink()


def assert_same(frame: MotionFrame, control: MotionFrame) -> None:
    np.testing.assert_allclose(frame.joints, control.joints, atol=2e-3)
    np.testing.assert_allclose(frame.root, control.root, atol=2e-3)


def degrees(frame: MotionFrame, joint: str) -> float:
    return float(np.degrees(np.linalg.norm(frame.joints[JOINT_INDEX[joint]])))


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> MotionFrame:
    return told(tmp_path_factory.mktemp("control"), bvh())


def test_the_motion_is_what_it_was_written_as(control: MotionFrame) -> None:
    """SMPL-X's straight legs stand 4 degrees apart from the file's, so that a knee differs by a few."""
    assert degrees(control, "left_knee") == pytest.approx(55, abs=5) and degrees(control, "right_knee") < 5
    assert degrees(control, "right_elbow") == pytest.approx(35, abs=0.1) and degrees(control, "left_elbow") < 0.1
    assert degrees(control, "spine1") < 0.1 and abs(control.root[2, 1]) < 1e-3  # the trunk lies


DIALECTS: dict[str, Callable[[], str | bytes]] = {
    **{maker: (lambda maker=maker: bvh(maker)) for maker in MAKERS},  # type: ignore[misc]
    "a root above the hips": lambda: bvh(root="joint_Root"),
    "a root above the hips, six channels": lambda: bvh("spaces", root="Reference", places=True),
    "lengths in the channels": lambda: bvh(places=True, lengths=False),
    "z up": lambda: bvh(z_up=True),
    "byte order mark": lambda: b"\xef\xbb\xbf" + bvh().encode(),
    "two bytes a letter": lambda: bvh().encode("utf-16"),
    "line ends of Windows": lambda: bvh().replace("\n", "\r\n"),
    "decimal commas": lambda: "\n".join(
        line.replace(".", ",") if line[:1] in "-0123456789O" else line for line in bvh().splitlines()
    ),
    "commas between numbers": lambda: "\n".join(
        line.replace(" ", ", ") if line[:1] in "-0123456789" else line for line in bvh().splitlines()
    ),
    "no time of a frame": lambda: bvh().replace("Frame Time: 0.0333\n", ""),
    "braces behind names": lambda: bvh().replace("\n{", " {"),
    "a namespace": lambda: bvh().replace("JOINT ", "JOINT mixamorig9:").replace("ROOT ", "ROOT mixamorig9:"),
    "small keywords": lambda: bvh().replace("rotation", "Rotation").replace("Frames:", "frames :"),
    "arms that hang at rest": lambda: bvh(
        turned={"left elbow": (0, -27, 0), "left wrist": (0, -24, 0), "right elbow": (0, -27, 0),
                "right wrist": (0, -24, 0)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_angles(tmp_path: Path, control: MotionFrame, dialect: str) -> None:
    frame = told(tmp_path, DIALECTS[dialect]())
    if dialect == "arms that hang at rest":  # what was a T-pose's elbow is another's: the trunk and legs are the same
        for joint in ("left_knee", "right_knee", "left_hip", "spine1", "left_ankle"):
            assert degrees(frame, joint) == pytest.approx(degrees(control, joint), abs=0.5)
        assert degrees(frame, "left_shoulder") == pytest.approx(90, abs=1)
        return
    assert_same(frame, control)


def test_each_joint_has_an_order_of_rotations_and_a_number_of_channels_of_its_own(
    tmp_path: Path, control: MotionFrame
) -> None:
    """As in Nehon/bvhretarget PR#5 (orders that differ within a file) and Anytop2025/Anytop#9 (3 and 6 channels): about
    one axis at a time every order says the same, and places of inner joints move nothing."""
    lines = bvh().splitlines()
    at = lines.index("CHANNELS 3 Zrotation Xrotation Yrotation", lines.index("JOINT LeftLeg"))
    lines[at] = "CHANNELS 6 Xposition Yposition Zposition Yrotation Xrotation Zrotation"
    *head, row = lines
    numbers = row.split()
    before = (
        sum(int(line.split()[1]) for line in lines[: at + 1] if line.startswith("CHANNELS")) - 6
    )  # the numbers of the joints written before it
    z, x, y = numbers[before : before + 3]
    numbers[before : before + 3] = ["0", "-41", "0", y, x, z]
    assert_same(told(tmp_path, "\n".join([*head, " ".join(numbers)])), control)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bvh(lengths=False), "rest pose cannot be read: its trunk stands along no axis"),
        (bvh(turned={"left ankle": (0, 0, 0)}), "no length between left knee and ankle"),
        (bvh(turned={"left hip": (0, -6, 0), "right hip": (0, -6, 0)}), "its hips are in one place"),
        (bvh(turned={"spine": (0, 9, 9), "chest": (0, 13, 13)}), "its trunk stands along no axis"),
        (bvh().replace("LeftForeArm", "Tentacle"), "left elbow"),
        (bvh().replace("Frames: 1", "Frames: 3"), r"says 3 frames of \d+ numbers, and holds"),
        (bvh().replace("Zrotation Xrotation Yrotation", "Zrotation Zrotation Yrotation", 1), "rotations of Hips"),
        (bvh()[:-20], "and holds"),
        (bvh()[:900], "no line MOTION"),
        (bvh().replace(" 95.0000", " nan", 1), "not 3 numbers|not finite"),
    ],
)
def test_what_tells_nothing_is_named_before_any_work(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(WardposeError, match=says) as caught:
        told(tmp_path, content)
    assert "\n" not in str(caught.value) and ".bvh" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Right knee", ("right", "knee")), ("Bip01 L UpperArm", ("left", "upperarm")), ("lShldr", ("left", "shldr")),
        ("mixamorig9:LeftForeArm", ("left", "forearm")), ("DEF-shin.R", ("right", "shin")),
        ("LowerLeg_L", ("left", "lowerleg")), ("leftforearm", ("left", "forearm")), ("Head", (None, "head")),
        ("Bip01_R_Calf", ("right", "calf")), ("Hips", (None, "hips")), ("LThigh", ("left", "thigh")),
    ],
)  # fmt: skip
def test_a_name_says_its_side_and_part(name: str, parts: tuple[str | None, str]) -> None:
    assert named_parts(name) == parts


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=broken_bytes(bvh().encode()), swap=st.booleans())
def test_a_damaged_recording_is_a_pose_or_one_line(tmp_path: Path, content: bytes, swap: bool) -> None:
    if swap:  # lines in another order
        lines = content.splitlines()
        content = b"\n".join(lines[len(lines) // 3 :] + lines[: len(lines) // 3])
    try:
        frame = told(tmp_path, content)
    except WardposeError:
        return
    assert np.isfinite(frame.joints).all() and np.allclose(frame.root @ frame.root.T, np.eye(3), atol=1e-6)
