"""The base models as ONNX files: what is measured where no other models are named."""

from __future__ import annotations

from pathlib import Path

from calibration.errors import WardposeError

FOLDER = Path(__file__).resolve().parent.parent / "tuning" / "base_models"
DETECTOR, POSE = "person-detector", "person-pose"


def base_models(folder: Path) -> tuple[Path, Path | None]:
    """Detector and pose model (None where there is none), exported into `folder`.

    Raises WardposeError where there is no base detector.
    """
    from tuning.export import export_onnx
    from tuning.store.card import CARD_FILE

    if not (FOLDER / DETECTOR / CARD_FILE).is_file():
        raise WardposeError("there is no base detector to measure", where=str(FOLDER), mend="make it: wardpose base")

    def exported(name: str) -> Path:
        path = folder / f"{name}.onnx"
        export_onnx(FOLDER / name, path)
        return path

    return exported(DETECTOR), exported(POSE) if (FOLDER / POSE / CARD_FILE).is_file() else None
