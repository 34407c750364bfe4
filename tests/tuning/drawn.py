"""A tiny COCO folder of drawn figures, for tests that need something learnable and nothing more."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from runtime.skeleton import KEYPOINTS, LIMBS

# An upright figure in a unit box, COCO-17 order.
FIGURE = np.array(
    [(.5, .08), (.55, .05), (.45, .05), (.6, .07), (.4, .07), (.75, .25), (.25, .25), (.9, .4), (.1, .4), (.95, .55),
     (.05, .55), (.65, .55), (.35, .55), (.68, .75), (.32, .75), (.7, .97), (.3, .97)]
)  # fmt: skip


def draw_people(
    folder: Path, images: int, *, seed: int = 0, width: int = 160, height: int = 120, people: int = 1
) -> Path:
    """`images/*.jpg` and `annotations.json` under `folder`; one file per picture, each with `people` stick figures."""
    (folder / "images").mkdir(parents=True)
    annotations, pictures = [], []
    for index in range(images):
        rng = np.random.default_rng((seed, index))
        picture = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
        for _ in range(people):
            w, h = rng.uniform(0.25, 0.4) * width, rng.uniform(0.5, 0.8) * height
            x, y = rng.uniform(0, width - w - 1), rng.uniform(0, height - h - 1)
            keypoints = FIGURE * (w, h) + (x, y)
            for a, b in LIMBS:
                cv2.line(picture, *(tuple(int(v) for v in keypoints[k]) for k in (a, b)), (230, 200, 40), 5)
            cv2.circle(picture, tuple(int(v) for v in keypoints[0]), 5, (30, 60, 220), -1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "keypoints": np.c_[keypoints, np.full(17, 2)].ravel().tolist(),
                    "num_keypoints": 17,
                }
            )
        name = f"{index:06d}.jpg"
        cv2.imwrite(str(folder / "images" / name), picture)
        pictures.append({"id": index + 1, "file_name": name, "width": width, "height": height})
    category = {"id": 1, "name": "person", "keypoints": list(KEYPOINTS), "skeleton": []}
    content = {"images": pictures, "annotations": annotations, "categories": [category]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder
