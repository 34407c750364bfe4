"""numba, moderngl and pyrender draw the same truth of the same wards; moderngl draws the same bytes every time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.viewpoint import Viewpoint
from synth.labels import Annotation
from synth.render.moderngl_renderer import MOST_LIGHTS, ModernGLRenderer
from synth.render.numba_renderer import NumbaRenderer
from synth.render.pyrender_renderer import PyrenderRenderer
from synth.render.renderer import Light, Renderer, Rendering, Scene
from synth.sample import make_sample
from synth.scenario import load_scenario
from tests.conftest import REPOSITORY
from tests.synth.test_render_numba import CAMERA, lit_scene, plane

# A ward with a patient in and somebody beside the bed, the same from its foot, and a room without a bed.
PICTURES = (("C", 1, 3), ("D", 1, 8), ("base", 1, 4))


@dataclass
class Recording:
    """A renderer that remembers what it was asked to draw and what it drew."""

    renderer: Renderer
    seen: list[tuple[Scene, CameraModel, Rendering]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.renderer.name

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering:
        self.seen.append((scene, camera, self.renderer.render(scene, camera_from_bed, camera)))
        return self.seen[-1][2]


@dataclass(frozen=True)
class Drawn:
    scene: Scene
    rendering: Rendering
    annotations: list[Annotation]


@pytest.fixture(scope="module")
def moderngl() -> ModernGLRenderer:
    try:
        return ModernGLRenderer()
    except WardposeError as error:
        pytest.skip(f"{error.what}; {error.mend}")


@pytest.fixture(scope="module")
def pyrender() -> PyrenderRenderer:
    try:
        return PyrenderRenderer()
    except WardposeError as error:
        pytest.skip(f"{error.what}; {error.mend}")


def draw(renderer: Renderer) -> list[Drawn]:
    """The pictures as this renderer draws them, before the lens and the sensor."""
    recording = Recording(renderer)
    drawn = []
    for scenario, seed, index in PICTURES:
        annotations = make_sample(load_scenario(scenario), seed, index, renderer=recording).annotations
        scene, _, rendering = recording.seen[-1]
        drawn.append(Drawn(scene, rendering, annotations))
    return drawn


@pytest.fixture(scope="module")
def by_numba() -> list[Drawn]:
    return draw(NumbaRenderer())


@pytest.fixture(scope="module")
def by_moderngl(moderngl: ModernGLRenderer) -> list[Drawn]:
    return draw(moderngl)


@pytest.fixture(scope="module")
def by_pyrender(pyrender: PyrenderRenderer) -> list[Drawn]:
    return draw(pyrender)


def pairs(a: list[Drawn], b: list[Drawn]) -> Iterator[tuple[Rendering, Rendering]]:
    for one, other in zip(a, b, strict=True):
        assert one.annotations, "the pictures must show people"
        yield one.rendering, other.rendering


def visibilities(drawn: list[Drawn]) -> list[int]:
    return [v for picture in drawn for person in picture.annotations for v in person["keypoints"][2::3]]


@pytest.mark.parametrize("other", ["by_moderngl", "by_pyrender"])
def test_parts_and_instances_agree_on_all_but_one_pixel_in_ten_thousand(
    other: str, by_numba: list[Drawn], request: pytest.FixtureRequest
) -> None:
    for ours, theirs in pairs(by_numba, request.getfixturevalue(other)):
        assert (ours.part == theirs.part).mean() >= 0.9999
        assert (ours.instance == theirs.instance).mean() >= 0.9999


@pytest.mark.parametrize(("other", "limit_mm"), [("by_moderngl", 0.02), ("by_pyrender", 0.5)])
def test_depth_agrees(other: str, limit_mm: float, by_numba: list[Drawn], request: pytest.FixtureRequest) -> None:
    """pyrender's depth comes out of a 24-bit buffer."""
    for ours, theirs in pairs(by_numba, request.getfixturevalue(other)):
        same = (ours.part == theirs.part) & (ours.part > 0)
        difference_mm = 1e3 * np.abs(ours.depth - theirs.depth)[same]
        assert np.percentile(difference_mm, 99) < limit_mm
        assert ((ours.depth > 0) == (theirs.depth > 0)).mean() > 0.9999


@pytest.mark.parametrize("other", ["by_moderngl", "by_pyrender"])
def test_keypoints_are_seen_alike(other: str, by_numba: list[Drawn], request: pytest.FixtureRequest) -> None:
    ours, theirs = visibilities(by_numba), visibilities(request.getfixturevalue(other))
    assert len(ours) == len(theirs) and len(set(ours)) > 1
    assert np.mean(np.array(ours) == theirs) >= 0.98


def test_moderngl_shades_as_numba_does(by_numba: list[Drawn], by_moderngl: list[Drawn]) -> None:
    """Whoever changes the light in shading.py changes shade.frag with it, and the other way round."""
    for ours, theirs in pairs(by_numba, by_moderngl):
        difference = np.abs(ours.color.astype(int) - theirs.color).max(axis=-1)
        assert difference.mean() < 0.3
        assert (difference > 6).mean() < 0.002


def test_pyrender_puts_light_and_colour_where_numba_does(by_numba: list[Drawn], by_pyrender: list[Drawn]) -> None:
    """Its shading model is another, so only the pattern is compared, over blocks of 8 pixels."""
    for ours, theirs in pairs(by_numba, by_pyrender):
        height, width = (side // 8 * 8 for side in ours.part.shape)
        blocks = [
            image.color[:height, :width].reshape(height // 8, 8, width // 8, 8, 3).mean((1, 3)).ravel()
            for image in (ours, theirs)
        ]
        assert np.corrcoef(*blocks)[0, 1] > 0.8


def test_pyrender_lets_all_five_lights_shine(pyrender: PyrenderRenderer) -> None:
    directions = ((0.5, 0.0, 1.0), (-0.5, 0.0, 1.0), (0.0, 0.5, 1.0), (0.0, -0.5, 1.0), (0.0, 0.0, 1.0))
    view = Viewpoint(0, 80, 3.0).camera_from_bed
    levels = []
    for count in (4, 5):
        lights = tuple(Light(toward, (0.15, 0.15, 0.15), True) for toward in directions[:count])
        scene = Scene((plane(0.0, 2.0),), lights, sky=(0.0, 0.0, 0.0), ground=(0.0, 0.0, 0.0))
        levels.append((pyrender.render(scene, view, CAMERA).color[32, 48, 0] / 255.0) ** 2.2)
    assert levels[1] > 1.15 * levels[0]


def test_more_lights_than_there_are_places_are_refused(moderngl: ModernGLRenderer) -> None:
    light = Light((0.0, 0.0, 1.0), (0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="at most 8 lights"):
        moderngl.render(Scene((plane(0.0, 1.0),), (light,) * (MOST_LIGHTS + 1)), np.eye(4), CAMERA)


def test_an_empty_scene_is_black_and_endless(moderngl: ModernGLRenderer, pyrender: PyrenderRenderer) -> None:
    for renderer in (NumbaRenderer(), moderngl, pyrender):
        drawn = renderer.render(Scene((), ()), np.eye(4), CAMERA)
        assert not drawn.depth.any() and not drawn.part.any() and not drawn.color.any()


def test_a_room_is_seen_through_the_back_of_its_wall(moderngl: ModernGLRenderer, pyrender: PyrenderRenderer) -> None:
    """Single-sided: from under the floor one looks through it, from above onto it; a sheet shows from both sides."""
    floor = plane(0.0, 2.0)
    wall = type(floor)(floor.vertices, floor.triangles, floor.colors, single_sided=True)
    above, below = Viewpoint(0, 60, 2.0).camera_from_bed, Viewpoint(0, -60, 2.0).camera_from_bed
    for renderer in (NumbaRenderer(), moderngl, pyrender):
        assert renderer.render(Scene((wall,), ()), above, CAMERA).part.any()
        assert not renderer.render(Scene((wall,), ()), below, CAMERA).part.any()
        assert renderer.render(Scene((floor,), ()), below, CAMERA).part.any()


def digest() -> str:
    rendering = ModernGLRenderer().render(lit_scene(), Viewpoint(30, 25, 2.5).camera_from_bed, CAMERA)
    parts = (rendering.color, rendering.depth, rendering.instance, rendering.part)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.usefixtures("moderngl")
def test_another_process_draws_the_same_bytes_with_any_number_of_threads() -> None:
    code = "from tests.synth.test_renderers_agree import digest; print(digest())"
    for threads in ("0", "3"):
        other = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ | {"LP_NUM_THREADS": threads},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert other.stdout.strip() == digest()


@pytest.mark.parametrize("renderer", [ModernGLRenderer, PyrenderRenderer])
def test_a_missing_package_is_named_with_what_mends_it(renderer: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, renderer.name, None)  # as Python marks a module that cannot be imported
    with pytest.raises(WardposeError) as refused:
        renderer()
    assert renderer.name in refused.value.what and refused.value.mend


@pytest.mark.usefixtures("moderngl", "pyrender")
@pytest.mark.parametrize("kind", ["moderngl", "pyrender"])
def test_a_missing_driver_is_one_line_with_what_mends_it(kind: str) -> None:
    cls = {"moderngl": "ModernGLRenderer", "pyrender": "PyrenderRenderer"}[kind]
    code = (
        f"from synth.render.{kind}_renderer import {cls} as R\n"
        "from calibration.errors import WardposeError\n"
        "try: R()\n"
        "except WardposeError as error: print(error.where, '|', error.what.count(chr(10)), '|', error.mend)"
    )
    without_driver = {"__EGL_VENDOR_LIBRARY_FILENAMES": "", "__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ | without_driver, capture_output=True, text=True
    )
    assert found.stdout.startswith(f"renderer {kind} | 0 |"), found.stderr
    assert "wardpose setup" in found.stdout
