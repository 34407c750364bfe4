"""The yardstick of `wardpose bench synth`: the same wards drawn as one would with pyrender, and nothing clever.

Each picture is a scene of its own, lit by the paper's five directional lights, each with its shadow map; a second pass
tells the people apart. Composing, labels, sensor and JPEG are those of the product, so finished pictures are compared.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.plugins import load_plugin
from synth.dataset import DatasetSpec
from synth.render.renderer import Renderer, Rendering, Scene
from synth.sample import make_sample
from synth.sensor import encode_jpeg
from synth.ward.lights import make_lighting

LIGHTS = 5


class FiveShadowMaps:
    """pyrender, with the paper's lights in place of the scene's, every one of them casting shadows."""

    name = "pyrender"

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._rng = np.random.default_rng(0)

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering:
        lighting = make_lighting(self._rng, "paper")
        lights = tuple(replace(light, casts_shadow=True) for light in lighting.lights)
        if len(lights) != LIGHTS:
            raise RuntimeError(f"the paper has {LIGHTS} lights, the preset {len(lights)}")
        lit = replace(scene, lights=lights, sky=lighting.sky, ground=lighting.ground)
        return self._renderer.render(lit, camera_from_bed, camera)


def seconds_a_picture(spec: DatasetSpec, count: int) -> float:
    """Processor seconds of a finished picture, over `count` pictures after one to warm up.

    Raises WardposeError where pyrender or EGL is missing.
    """
    renderer = FiveShadowMaps(load_plugin("renderers", "pyrender")())
    alone = spec.scenario.model_copy(update={"views_per_scene": 1})  # no picture profits from the one before
    begin = time.process_time()
    for index in range(count + 1):
        if index == 1:
            begin = time.process_time()
        sample = make_sample(alone, spec.seed, index, renderer=renderer)
        encode_jpeg(sample.color, sample.exposure.jpeg_quality)
    return (time.process_time() - begin) / count
