"""From trained weights to the one file the runtime opens: an ONNX model that is checked against the trained one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from runtime.detect import letterbox
from runtime.engines.engine import probe_batch
from runtime.model_info import METADATA_KEY, ModelInfo
from runtime.skeleton import KEYPOINTS
from tuning.families.family import Reference, SlowReference, family_of, nobody_asked
from tuning.store.card import read_card

# Simplifying widens weights that are kept in half precision: of more than this, no file could hold them.
_SLIMMED_BYTES = 2**30 - 1
_SEEN = 0.05  # score from which a box is looked at


class ExportReport(BaseModel):
    """How far the ONNX model is from the trained one. Errors are the largest over every number of every input."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(title="ONNX file")
    sha256: str = Field(title="SHA-256 of the ONNX file")
    layout: str = Field(title="Output layout")
    width: int = Field(title="Input width (px)")
    height: int = Field(title="Input height (px)")
    pictures: int = Field(title="Pictures compared", ge=0)
    inputs: str = Field(title="What was compared on")
    max_error: float = Field(title="Largest error, of the output's own range")
    max_score_error: float | None = Field(default=None, title="Largest error of a detection score")
    max_box_error_px: float | None = Field(default=None, title="Largest error of a box (px), scores of 0.05 and above")
    tolerance: float = Field(title="Allowed error, of the output's own range")
    compared: bool = Field(default=True, title="Whether the trained model could be asked at all")


def export_onnx(
    card_dir: Path,
    out: Path,
    *,
    width: int | None = None,
    height: int | None = None,
    pictures: Sequence[Path] = (),
    tolerance: float = 1e-3,
    progress: Progress | None = None,
) -> ExportReport:
    """Write the model of `card_dir` as the ONNX file `out`, after it was held against the trained model.

    width, height: input size in pixels, default the card's; detectors take any multiples of 32. pictures: files the
    two are compared on; without any, a fixed drawn picture. tolerance: largest difference of any output number, as a
    part of that output's range. Raises WardposeError when the export differs by more; `out` is then not written.
    """
    card = read_card(card_dir)
    family = family_of(card)
    width, height = width or card.width, height or card.height
    info = family.describe(card, width, height)
    if progress:
        progress(0, 2, "writing ONNX")
    with tempfile.TemporaryDirectory(prefix="wardpose-export-") as folder:
        draft = Path(folder) / "model.onnx"
        reference = family.export(card_dir, card, draft, width, height)
        as_it_came = reference in (None, nobody_asked) or isinstance(reference, SlowReference)
        _finish(draft, info, slim=not as_it_came and draft.stat().st_size < _SLIMMED_BYTES)
        if progress:
            progress(1, 2, "comparing with the trained model")
        report = _compare(reference, draft, info, list(pictures), tolerance)
        write_bytes(out, draft.read_bytes())
    if progress:
        progress(2, 2, f"largest difference {report.max_error:.1e}" if report.compared else "its own trainer wrote it")
    return report.model_copy(update={"path": str(out), "sha256": sha256_of(out)})


def _finish(path: Path, info: ModelInfo, *, slim: bool) -> None:
    """Write the description into the file, and let the format's own checker look at it. slim: simplify the graph, as a
    traced one wants; a graph that was trained as it is stays as it is."""
    # onnxslim imports onnxruntime, whose telemetry must be off before that.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnx

    model = onnx.load(str(path))
    if slim:
        import onnxslim

        model = onnxslim.slim(model)
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, info.model_dump_json()
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _compare(
    reference: Reference | None, onnx_file: Path, info: ModelInfo, pictures: list[Path], tolerance: float
) -> ExportReport:
    from runtime.engines.onnx_engine import OnnxEngine

    engine = OnnxEngine(onnx_file)
    batches = [probe_batch(info), *(_read(path, info) for path in pictures)]
    if isinstance(reference, SlowReference):
        reference.ask(np.concatenate(batches))
    worst, score_error, box_error = 0.0, 0.0, 0.0
    for batch in batches:
        actual = engine.run(batch)
        if not all(np.isfinite(answer).all() for answer in actual):
            raise WardposeError("the export's answer is not finite", where=info.name, mend="tune the model again")
        expected = actual if reference is None or reference is nobody_asked else reference(batch)
        if [a.shape for a in actual] != [e.shape for e in expected]:
            raise WardposeError(
                f"the export answers {[a.shape for a in actual]}, the model {[e.shape for e in expected]}"
            )
        if info.layout == "detr":
            settled = [settled_rows(truth, answer) for answer, truth in zip(actual, expected, strict=True)]
            expected, actual = [truth for truth, _ in settled], [answer for _, answer in settled]
        for answer, truth in zip(_parts(actual, info), _parts(expected, info), strict=True):
            # A detr's numbers are parts of the picture and probabilities: their range is 1, whatever it found.
            span = 1.0 if info.layout == "detr" else max(float(np.ptp(truth)), 1e-6)
            difference = float(np.abs(answer - truth).max())
            worst = max(worst, difference / span if np.isfinite(difference) else np.inf)
        if info.layout == "yolo":
            likely = expected[0][:, 4:].max(1) >= _SEEN
            score_error = max(score_error, float(np.abs(actual[0][:, 4:] - expected[0][:, 4:]).max()))
            if likely.any():
                differences = np.abs(actual[0][:, :4] - expected[0][:, :4]).max(1)[likely]
                box_error = max(box_error, float(differences.max()))
    if not worst <= tolerance:
        raise WardposeError(
            f"the export differs from the trained model by {worst:.2%} of the output's range, allowed {tolerance:.2%}",
            where=info.name,
            mend="tune the model again; if that does not help, report it with this line",
        )
    detector = info.layout == "yolo"
    return ExportReport(
        path=str(onnx_file),
        sha256="",
        layout=info.layout,
        width=info.width,
        height=info.height,
        pictures=len(pictures),
        inputs="pictures" if pictures else "a drawn picture",
        max_error=worst,
        max_score_error=score_error if detector else None,
        max_box_error_px=box_error if detector else None,
        tolerance=tolerance,
        compared=reference is not nobody_asked,
    )


def settled_rows(
    truth: NDArray[np.float32], answer: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The rows of two answers (1, M, 4 + classes) that are to be alike: those of `answer`, each once, in the order of
    those of `truth` that they are nearest to.

    Which of two candidates that score alike comes first no runtime promises, nor which is chosen last: so the worst of
    a hundred rows is left out where nobody would ever see it, its scores being low in both.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    _, order = linear_sum_assignment(cdist(truth[0], answer[0], "chebyshev"))
    ordered = answer[:, order]
    apart = np.abs(ordered - truth).max(-1)[0]
    unseen = np.maximum(ordered, truth)[0, :, 4:].max(-1) < _SEEN
    worst = np.argsort(np.where(unseen, apart, -1.0))[len(apart) - len(apart) // 100 :]
    kept = np.ones(len(apart), bool)
    kept[worst] = ~unseen[worst]
    return truth[:, kept], ordered[:, kept]


def _parts(outputs: list[NDArray[np.float32]], info: ModelInfo) -> list[NDArray[np.float32]]:
    """Outputs of one unit each: beside boxes in hundreds of pixels, a wrong score would pass for a small error."""
    if info.layout == "detr":
        return [outputs[0][..., :4], outputs[0][..., 4:]]
    if info.layout not in ("yolo", "yolo-pose"):
        return outputs
    answer, scores_end = outputs[0], 4 + info.classes
    parts = [answer[:, :4], answer[:, 4:scores_end]]
    if info.layout == "yolo-pose":
        keypoints = answer[:, scores_end:].reshape(len(answer), len(KEYPOINTS), 3, -1)
        parts += [keypoints[:, :, :2], keypoints[:, :, 2]]
    return parts


def _read(path: Path, info: ModelInfo) -> NDArray[np.float32]:
    batch, _ = letterbox(read_photograph(path), info)
    return batch
