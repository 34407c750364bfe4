"""The models that this site runs live, as ONNX files."""

from __future__ import annotations

from pathlib import Path


def models_in_use(folder: Path) -> tuple[Path, Path | None]:
    """Detector and pose model (None where there is none). What isn't exported yet is exported into `folder`.

    Raises WardposeError where the site has no detector.
    """
    from appliance.live import plan
    from appliance.models import ModelStore
    from appliance.site_folder import SiteFolder
    from tuning.export import export_onnx

    site = SiteFolder.open(None)
    store, chosen = ModelStore(site), plan(site, source="simulated")

    def ready(name: str) -> Path:
        there = store.onnx(name)
        if there is None:
            there = folder / f"{name}.onnx"
            export_onnx(store.folder(name), there)
        return there

    return ready(chosen.detector), None if chosen.pose is None else ready(chosen.pose)
