"""The pictures of the demo: the same frames before and after tuning, and one live moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError


def live_pictures(site: SiteFolder, best: tuple[float, Any, dict[str, Any]] | None) -> list[str]:
    """One moment of the live path twice: over the frame, and as whoever may see no picture sees it."""
    if best is None:
        return []
    from appliance.site import calibrations
    from runtime.bed_view import BedView
    from runtime.display.bed_picture import bed_picture
    from runtime.message import people_of
    from runtime.overlay import draw_skeletons, skeleton_on_neutral
    from runtime.state import LiveState

    _, frame, message = best
    detections, skeletons = people_of(message)
    size = (frame.color.shape[1], frame.color.shape[0])
    age_s = message["finished_at"] - message["captured_at"]
    over = draw_skeletons(frame.color, skeletons, detections, frame.origin)
    estimate = calibrations.current(site)
    bed = bed_picture(BedView(estimate.camera, estimate.camera_from_bed, estimate.bed), *size)
    state = LiveState("live", age_s, frame.origin)
    neutral = skeleton_on_neutral(size, skeletons, state, detections=detections, bed=bed)
    pictures = {"live-overlay.png": over, "live-display.png": neutral}
    return [str(_save(site.pictures / name, picture)) for name, picture in pictures.items()]


def before_and_after(
    site: SiteFolder, before: Mapping[str, str], after: Mapping[str, str], held_out: Path, target: Path, pairs: int = 6
) -> Path:
    """The same held-out frames twice, the models the box began with above the tuned ones; true boxes thin and white.

    before, after: a detector's name by `detect`, a pose model's by `pose` where there is one.
    """
    import cv2
    import numpy as np

    from appliance.models.use import exported
    from runtime.capture.photograph import read_photograph
    from runtime.frames import Frame
    from runtime.overlay import draw_skeletons
    from runtime.pipeline import LivePipeline
    from tuning.coco_folder import read_people

    people = read_people(held_out)
    opened = [
        (label, LivePipeline.open(*(exported(site, models[task]) for task in ("detect", "pose") if task in models)))
        for label, models in (("before", before), ("after", after))
    ]
    columns = []
    for labelled in people[:: max(1, len(people) // pairs)][:pairs]:
        color = read_photograph(labelled.path)
        column = []
        for label, models in opened:
            # As the live path would show a first frame.
            shown = LivePipeline(models.detector, models.pose).process(Frame(color, 0.0, 0, "held out"))
            drawn = np.ascontiguousarray(draw_skeletons(color, shown.skeletons, shown.detections)[..., ::-1])
            for x1, y1, x2, y2 in labelled.boxes.round().astype(int).tolist():
                cv2.rectangle(drawn, (x1, y1), (x2, y2), (255, 255, 255), 1)
            _write(drawn, label, (10, drawn.shape[0] - 12), 0.8, (255, 255, 255))
            column.append(drawn)
        columns.append(np.vstack(column))
    whole = len(columns) - len(columns) % 3
    rows = [np.hstack(columns[i : i + 3]) for i in range(0, whole, 3)] or [np.hstack(columns)]
    return _save(target, np.ascontiguousarray(np.vstack(rows)[..., ::-1]))


def _write(picture: Any, text: str, at: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    """Words with a dark edge, legible on any ground."""
    import cv2

    for shade, thick in (((20, 20, 20), 4), (colour, 2)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, thick, cv2.LINE_AA)


def _save(path: Path, picture: Any) -> Path:
    import cv2

    from calibration.atomic import write_bytes

    ok, data = cv2.imencode(".png", picture[..., ::-1])
    if not ok:
        raise WardposeError("the picture could not be encoded", where=str(path))
    write_bytes(path, data.tobytes())
    return path
