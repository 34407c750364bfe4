"""The renderer for a graphics card, or for Mesa's software one: OpenGL 4.3 through EGL, with no display.

Pictures are drawn deferred: triangle numbers first (a visibility buffer, Burns and Hunt 2013), then each pixel's
triangle is looked up and shaded once. Light and material are the numba renderer's, formula by formula, so a data set
looks the same from either. The only module that imports moderngl.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from synth.render.layout import CREASE_COSINE, TO_LINEAR, Geometry, interpolated, lay_out, pack_textures
from synth.render.renderer import Light, Rendering, Scene, require_pinhole
from synth.render.shadows import ShadowFrame, shadow_casters, shadow_frame

MOST_LIGHTS = 8  # as in shade.frag
_EMPTY = np.zeros(4, np.float32)


@cache
def _shader(name: str) -> str:
    text = (files("synth.render") / "shaders" / name).read_text(encoding="utf-8")
    return text if "#include" not in text else text.replace('#include "geometry.glsl"', _shader("geometry.glsl"))


def _open_context() -> Any:
    try:
        import moderngl
    except ImportError as error:
        raise WardposeError(
            f"the package moderngl cannot be imported ({error})",
            where="renderer moderngl",
            mend="make the environment anew: remove .venv and start ./wardpose",
        ) from error
    try:
        # The libraries by their versioned names: without them glcontext looks for the development packages' links.
        where: dict[str, Any] = {"backend": "egl", "libgl": "libGL.so.1", "libegl": "libEGL.so.1"}
        return moderngl.create_context(standalone=True, require=430, **where)
    except Exception as error:  # glcontext raises bare Exceptions
        raise WardposeError(
            f"OpenGL 4.3 through EGL is not to be had: {' '.join(str(error).split())}",
            where="renderer moderngl",
            mend="run `sudo ./wardpose setup`, or choose --renderer numba, which needs no OpenGL",
        ) from error


class ModernGLRenderer:
    """Draws through OpenGL; one instance belongs to the thread that made it.

    The fields are `NumbaRenderer`'s. Raises WardposeError, when made, where moderngl or an OpenGL driver is missing.
    """

    name = "moderngl"

    def __init__(
        self, shadow_size: int = 768, antialias: bool = True, occlusion: float = 1.1, near: float = 0.05
    ) -> None:
        self.shadow_size, self.antialias, self.occlusion, self.near = shadow_size, antialias, occlusion, near
        self._gl = _open_context()
        self._gl.gc_mode = "auto"
        self._programs = {
            name: self._gl.program(vertex_shader=_shader(f"{vertex}.vert"), fragment_shader=_shader(f"{name}.frag"))
            for name, vertex in (
                ("raster", "raster"), ("shadow", "shadow"), ("depth", "screen"), ("occlusion", "screen"),
                ("smooth", "screen"), ("shade", "screen"),
            )
        }  # fmt: skip
        self._curve = self._gl.buffer(TO_LINEAR.tobytes())

    @property
    def driver(self) -> str:
        """What draws, such as "llvmpipe (LLVM 15.0.6, 256 bits)"."""
        return str(self._gl.info["GL_RENDERER"])

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering:
        """The scene as the undistorted `camera` sees it.

        Raises ValueError for a camera with distortion and for more than eight lights.
        """
        require_pinhole(camera)
        if len(scene.lights) > MOST_LIGHTS:
            raise ValueError(f"a scene holds at most {MOST_LIGHTS} lights, got {len(scene.lights)}")
        geometry = lay_out(scene.meshes, camera_from_bed)
        with self._gl:
            return self._draw(scene, geometry, camera_from_bed, camera)

    def _draw(
        self, scene: Scene, geometry: Geometry, camera_from_bed: NDArray[np.float64], camera: CameraModel
    ) -> Rendering:
        gl, size = self._gl, (camera.width, camera.height)
        points = gl.buffer(np.ascontiguousarray(geometry.camera_points, np.float32).tobytes() or _EMPTY.tobytes())
        vertices, faces = interpolated(scene.meshes, geometry)
        geometry, faces = _without_backs(geometry, faces)
        corners = gl.buffer(geometry.triangles.tobytes() or _EMPTY.tobytes())
        buffers = self._storage(scene, geometry, points, vertices, faces)  # kept alive until the pictures are read
        gl.enable_only(gl.DEPTH_TEST)
        hits = self._hits(points, corners, len(geometry.triangles), camera)
        fine = hits
        if self.antialias:
            fine = self._hits(points, corners, len(geometry.triangles), camera.resized(2 * size[0], 2 * size[1]))
        bed_from_camera = np.linalg.inv(np.asarray(camera_from_bed, np.float64))
        lights = sorted(scene.lights, key=lambda light: not light.casts_shadow)
        casting = [light for light in lights if light.casts_shadow]
        shadows = self._shadows(scene, geometry, points, casting, bed_from_camera)

        gl.enable_only(gl.NOTHING)
        depth, ids = gl.texture(size, 1, dtype="f4"), gl.texture(size, 2, dtype="u1")
        hits.use(0)
        self._screen("depth", (depth, ids), hits=0, focal=(camera.fx, camera.fy), centre=(camera.cx, camera.cy))
        openness = self._openness(depth, camera)
        color = gl.texture(size, 4, dtype="f1")
        openness.use(2)
        fine.use(1)
        hits.use(0)
        for k, (texture, _) in enumerate(shadows):
            texture.use(3 + k)
        self._screen(
            "shade", (color,), hits=0, fine_hits=1, openness=2, antialias=self.antialias, crease_cosine=CREASE_COSINE,
            focal=(camera.fx, camera.fy), centre=(camera.cx, camera.cy), size=size, sky=scene.sky, ground=scene.ground,
            **_light_uniforms(lights, [frame for _, frame in shadows], bed_from_camera),
        )  # fmt: skip
        height, width = camera.height, camera.width
        part, instance = np.frombuffer(ids.read(alignment=1), np.uint8).reshape(height, width, 2).transpose(2, 0, 1)
        rendering = Rendering(
            np.ascontiguousarray(np.frombuffer(color.read(), np.uint8).reshape(height, width, 4)[..., :3]),
            np.frombuffer(depth.read(), np.float32).reshape(height, width).copy(),
            instance.copy(),
            part.copy(),
        )
        del buffers
        return rendering

    def _hits(self, points: Any, corners: Any, count: int, camera: CameraModel) -> Any:
        """A texture with the number of the nearest triangle at every pixel's centre, −1 where nothing is."""
        size = (camera.width, camera.height)
        hits = self._gl.texture(size, 1, dtype="f4")
        hits.filter = (self._gl.NEAREST, self._gl.NEAREST)
        target = self._gl.framebuffer([hits], self._gl.depth_renderbuffer(size))
        target.clear(red=-1, depth=1.0)
        if count:
            target.use()
            program = self._programs["raster"]
            _set(program, focal=(camera.fx, camera.fy), centre=(camera.cx, camera.cy), size=size, near=self.near)
            self._gl.vertex_array(program, [(points, "3f", "point")], index_buffer=corners).render(
                self._gl.TRIANGLES, vertices=3 * count
            )
        return hits

    def _storage(
        self, scene: Scene, geometry: Geometry, points: Any, vertices: NDArray[np.float32], faces: NDArray[np.float32]
    ) -> list[Any]:
        """The buffers the shaders read, bound to the places shade.frag names."""
        texels, table = pack_textures(scene.meshes)
        levels = np.zeros((*table.shape[:2], 4), np.int32)
        levels[..., :3] = table
        meshes = np.zeros((max(1, len(scene.meshes)), 4), np.int32)
        meshes[:, 0], meshes[:, 1] = geometry.instance_of, table[:, 0, 0]
        meshes[:, 3] = geometry.gloss.view(np.int32)
        meshes[:, 2] = np.arange(len(meshes)) * table.shape[1] + 1  # the row of each mesh's first level
        triangles = np.column_stack([geometry.triangles, geometry.mesh_of]).astype(np.int32)
        made = [
            self._gl.buffer(a.tobytes() or _EMPTY.tobytes())
            for a in (triangles, meshes, vertices, levels, texels, faces)
        ]
        buffers = [points, *made[:5], self._curve, made[5]]
        for place, buffer in enumerate(buffers):
            buffer.bind_to_storage_buffer(place)
        return buffers

    def _screen(self, name: str, textures: Sequence[Any], **uniforms: Any) -> None:
        """Run a fragment program once for every pixel of `textures`."""
        self._gl.framebuffer(list(textures)).use()
        program = self._programs[name]
        _set(program, **uniforms)
        self._gl.vertex_array(program, []).render(self._gl.TRIANGLES, vertices=3)

    def _openness(self, depth: Any, camera: CameraModel) -> Any:
        """Ambient openness 0…1, a texture of half the picture's size."""
        gl = self._gl
        if self.occlusion <= 0 or min(camera.width, camera.height) < 16:
            return gl.texture((1, 1), 1, np.ones(1, np.float32).tobytes(), dtype="f4")
        half = ((camera.width + 1) // 2, (camera.height + 1) // 2)
        raw, openness = gl.texture(half, 1, dtype="f4"), gl.texture(half, 1, dtype="f4")
        openness.repeat_x = openness.repeat_y = False
        depth.use(0)
        self._screen(
            "occlusion", (raw,), depths=0, focal=camera.fx / 2, radius=0.25, strength=self.occlusion, half_size=half
        )
        raw.use(1)
        self._screen("smooth", (openness,), depths=0, raw=1, half_size=half)
        return openness

    def _shadows(
        self, scene: Scene, geometry: Geometry, points: Any, lights: Sequence[Light],
        bed_from_camera: NDArray[np.float64],
    ) -> list[tuple[Any, ShadowFrame]]:  # fmt: skip
        """A depth texture and its frame for each light."""
        gl, casters = self._gl, shadow_casters(scene.meshes) if lights else []
        if not casters:
            return []
        triangles = gl.buffer(geometry.triangles[np.isin(geometry.mesh_of, casters)].tobytes())
        corners = np.concatenate([scene.meshes[i].vertices for i in casters])
        maps = []
        for light in lights:
            frame = shadow_frame(light, corners, self.shadow_size)
            texture = gl.depth_texture((frame.texels, frame.texels))
            texture.compare_func = "<="
            texture.repeat_x = texture.repeat_y = False
            target = gl.framebuffer(depth_attachment=texture)
            target.clear(depth=1.0)
            target.use()
            program = self._programs["shadow"]
            _set(
                program,
                map_from_camera=_columns(frame.map_from_bed @ bed_from_camera),
                texels=frame.texels,
                heights=frame.heights,
            )
            gl.vertex_array(program, [(points, "3f", "point")], index_buffer=triangles).render(gl.TRIANGLES)
            maps.append((texture, frame))
        return maps


def _without_backs(geometry: Geometry, faces: NDArray[np.float32]) -> tuple[Geometry, NDArray[np.float32]]:
    """Less the triangles, and their normals, of single-sided meshes that turn their back on the camera."""
    if not geometry.single_sided.any():
        return geometry, faces
    chosen = np.flatnonzero(geometry.single_sided[geometry.mesh_of])
    a, b, c = geometry.camera_points[geometry.triangles[chosen].T]
    kept = np.ones(len(geometry.triangles), bool)
    kept[chosen[np.einsum("ij,ij->i", a, np.cross(b, c)) > 0]] = False
    return replace(geometry, triangles=geometry.triangles[kept], mesh_of=geometry.mesh_of[kept]), faces[kept]


def _columns(matrix: NDArray[np.float64]) -> tuple[float, ...]:
    """A (3, 4) matrix as GL's (4, 4), column by column."""
    return tuple(np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]]).T.ravel())


def _set(program: Any, **uniforms: Any) -> None:
    """Set the uniforms the driver kept: it drops those of no effect."""
    for name, value in uniforms.items():
        if name not in program:
            continue
        if isinstance(value, bytes):
            program[name].write(value)
        else:
            program[name] = value


def _light_uniforms(
    lights: Sequence[Light], frames: Sequence[ShadowFrame], bed_from_camera: NDArray[np.float64]
) -> dict[str, Any]:
    """The lights as shade.frag's arrays, filled up to their fixed length."""

    def filled(rows: ArrayLike, shape: tuple[int, ...]) -> bytes:
        table = np.zeros((MOST_LIGHTS, *shape), np.float32)
        given = np.asarray(rows, np.float32).reshape(-1, *shape)
        table[: len(given)] = given
        return table.tobytes()

    toward = np.array([light.toward for light in lights], np.float64).reshape(-1, 3)
    toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
    return {
        "light_count": len(lights),
        "shadow_count": len(frames),
        "toward": filled(toward, (3,)),
        "light_color": filled([light.color for light in lights], (3,)),
        "map_from_camera": filled([_columns(frame.map_from_bed @ bed_from_camera) for frame in frames], (16,)),
        "map_from_bed": filled([frame.map_from_bed[:, :3].T for frame in frames], (9,)),
        "shadow_step": filled([frame.step for frame in frames], (2,)),
        "map_heights": filled([frame.heights for frame in frames], (2,)),
        "map_texels": filled([frame.texels for frame in frames], ()),
        "bed_from_camera": tuple(bed_from_camera[:3, :3].T.ravel()),
        "shadow": [3 + k for k in range(MOST_LIGHTS)],
    }
