"""pyrender as a renderer: the cross-check, and the yardstick of the benchmarks.

Physically based shading with a shadow map for every directional light. Slower by far than the other two; its colours
may differ in the last bit from run to run, depth and ids do not. The only module that imports pyrender, and where its
faults are mended.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from synth.render import kernels
from synth.render.mesh import Mesh
from synth.render.renderer import Light, Rendering, Scene, require_pinhole

MOST_LIGHTS = 8
_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_FAR_M = 60.0


def _import_pyrender() -> Any:
    # A display is not to be had on a box; a program that wants another platform says so by this variable.
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    os.environ.setdefault("PYGLET_HEADLESS", "1")  # pyrender imports pyglet for a window we never open
    vars(np)["infty"] = np.inf  # numpy 2 lost the name, pyrender 0.1.45 uses it
    try:
        import pyrender
        import pyrender.renderer
    except ImportError as error:
        raise WardposeError(
            f"pyrender cannot be imported ({error})",
            where="renderer pyrender",
            mend="make the environment anew: remove .venv and start ./wardpose; for libEGL: sudo ./wardpose setup",
        ) from error
    # Four by default, and a fifth light would be dropped without a word.
    pyrender.renderer.MAX_N_LIGHTS = MOST_LIGHTS
    return pyrender


class PyrenderRenderer:
    """Draws through pyrender; one instance belongs to the thread that made it.

    near: metres; nothing closer is drawn. Raises WardposeError, when made, where pyrender or EGL is missing.
    """

    name = "pyrender"

    def __init__(self, near: float = 0.05) -> None:
        self.near = near
        self._pyrender = _import_pyrender()
        try:
            self._target = self._pyrender.OffscreenRenderer(16, 16)
        except Exception as error:  # PyOpenGL raises many kinds
            raise WardposeError(
                f"no EGL device can be opened: {' '.join(str(error).split())}",
                where="renderer pyrender",
                mend="run `sudo ./wardpose setup`, or choose --renderer numba, which needs no OpenGL",
            ) from error

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering:
        """The scene as the undistorted `camera` sees it; where any light casts a shadow, all do.

        Raises ValueError for a camera with distortion and for more than eight lights.
        """
        require_pinhole(camera)
        if len(scene.lights) > MOST_LIGHTS:
            raise ValueError(f"a scene holds at most {MOST_LIGHTS} lights, got {len(scene.lights)}")
        flags = self._pyrender.RenderFlags
        stage, nodes = self._stage(scene, camera_from_bed, camera)
        self._target.viewport_width, self._target.viewport_height = camera.width, camera.height
        shadows = flags.SHADOWS_DIRECTIONAL if any(light.casts_shadow for light in scene.lights) else flags.NONE
        color, _ = self._target.render(stage, flags=shadows)
        # A pass of its own for the truth: the first is smoothed, so its depth is not that of the pixel's centre.
        ids, depth = self._target.render(stage, flags=flags.SEG, seg_node_map=nodes)
        return Rendering(
            np.ascontiguousarray(color[..., :3]),
            np.ascontiguousarray(depth, np.float32),
            np.ascontiguousarray(ids[..., 1]),
            np.ascontiguousarray(ids[..., 0]),
        )

    def _stage(
        self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel
    ) -> tuple[Any, dict[Any, tuple[int, int, int]]]:
        """pyrender's scene, and for each of its nodes the part, the instance and nothing, as a colour."""
        bed_from_camera = np.linalg.inv(np.asarray(camera_from_bed, np.float64))
        ambient = (np.array(scene.sky) + scene.ground) / 2
        stage = self._pyrender.Scene(bg_color=[0.0, 0.0, 0.0, 1.0], ambient_light=ambient)
        nodes = {}
        for part, mesh in enumerate(scene.meshes, 1):
            if len(mesh.triangles):
                nodes[stage.add(self._mesh(mesh, bed_from_camera[:3, 3]))] = (part, mesh.instance, 0)
        # pyrender counts from the picture's corner, we from the first pixel's centre.
        eye = self._pyrender.IntrinsicsCamera(
            camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5, znear=self.near, zfar=_FAR_M
        )
        stage.add(eye, pose=bed_from_camera @ _OPENGL_FROM_OPENCV)
        for light in scene.lights:
            shining, pose = self._light(light)
            stage.add(shining, pose=pose)
        return stage, nodes

    def _mesh(self, mesh: Mesh, eye: NDArray[np.float64]) -> Any:
        """A mesh belongs to one context in pyrender, so it is made for each picture."""
        # The passes for ids and for shadows hide every back, whatever the material says: a sheet gets two fronts.
        triangles = mesh.triangles if mesh.single_sided else np.concatenate([mesh.triangles, mesh.triangles[:, ::-1]])
        material = self._pyrender.MetallicRoughnessMaterial(
            metallicFactor=0.0,
            roughnessFactor=1.0 - 0.8 * mesh.gloss,
            baseColorTexture=None
            if mesh.texture is None
            else self._pyrender.Texture(source=mesh.texture[::-1], source_channels="RGB"),
        )
        primitive = self._pyrender.Primitive(
            positions=mesh.vertices, normals=_normals(mesh, eye), texcoord_0=mesh.uv,
            color_0=mesh.colors, indices=triangles, material=material, mode=4,
        )  # fmt: skip
        return self._pyrender.Mesh([primitive])

    def _light(self, light: Light) -> tuple[Any, Any]:
        """A light, and the pose that lets it shine from `toward`: down its own −z."""
        toward = np.asarray(light.toward, np.float64) / np.linalg.norm(light.toward)
        across = np.cross([0.0, 1.0, 0.0] if abs(toward[1]) < 0.9 else [1.0, 0.0, 0.0], toward)
        across /= np.linalg.norm(across)
        pose = np.eye(4)
        pose[:3, :3] = np.column_stack([across, np.cross(toward, across), toward])
        brightness = max(max(light.color), 1e-9)
        # pyrender divides what a surface sends back by π, as radiometry does; our lights are in units without it.
        shining = self._pyrender.DirectionalLight(
            color=np.asarray(light.color) / brightness, intensity=np.pi * brightness
        )
        return shining, pose


def _normals(mesh: Mesh, eye: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unit vertex normals (V, 3), turned toward the eye: pyrender lights a sheet's back as if it were its front."""
    normals = np.zeros((len(mesh.vertices), 3), np.float32)
    kernels.accumulate_normals(mesh.vertices, mesh.triangles, normals, np.empty((len(mesh.triangles), 3), np.float32))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20
    away = np.einsum("ij,ij->i", normals, eye - mesh.vertices) < 0
    normals[away] *= -1
    return normals
