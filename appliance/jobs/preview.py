"""Looking at a data set before training on it: a contact sheet, and a data card beside a target's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.models.store import ModelStore
from appliance.models.use import exported, require_task
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    from synth.labelled_set import LabelledSet

FEATURE_PICTURES = 200  # of each set, as in the paper's figure 9


def preview(
    site: SiteFolder, place: Path, *, target: Path | None = None, out: Path | None = None, count: int = 24,
    detector: str | None = None, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Write `sheet.png`, `distributions.png`, `features.png`, `card.json` and `card.html` into the folder `out`.

    place, target: data set folders or COCO files. detector: whose features tell how alike the pictures are.
    """
    from synth.card import write_card
    from synth.card_plots import plot_distributions
    from synth.contact_sheet import contact_sheet
    from synth.labelled_set import read_labelled_set

    if count < 1:
        raise WardposeError("--count must be 1 or more", where="preview", mend="leave it out for 24")
    sets = [read_labelled_set(path) for path in (place, target) if path is not None]
    chosen = detector or ModelStore(site).live("detect")
    require_task(site, chosen, "detect")
    folder = out or site.pictures / sets[0].name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WardposeError(
            f"cannot be made: {error.strerror}", where=str(folder), mend="give another folder"
        ) from None
    progress(0, 4, "contact sheet")
    pictures = {"Pictures with their labels": contact_sheet(place, folder / "sheet.png", count)}
    progress(1, 4, "distributions")
    pictures["Distributions"] = plot_distributions(sets, folder / "distributions.png")
    progress(2, 4, "features")
    pictures["How alike the pictures are to a detector"] = _features(
        sets, exported(site, chosen), folder / "features.png"
    )
    progress(3, 4, "card")
    card = write_card(sets[0], folder, pictures, sets[1] if target is not None else None)
    progress(4, 4, "card")
    return {
        "card": str(folder / "card.html"),
        "pictures": [str(path) for path in pictures.values()],
        "images": card["set"]["images"],
        "people": card["set"]["people"],
    }


def _features(sets: list[LabelledSet], onnx: Path, out: Path) -> Path:
    import numpy as np

    from synth.card_plots import plot_features
    from synth.features import neighbour_map, picture_features, principal_components

    shown = [(found, image) for found in sets for image in found.spread(FEATURE_PICTURES)]
    groups = np.array([sets.index(found) for found, _ in shown])
    features = picture_features(onnx, (found.picture(image) for found, image in shown))
    components, shares = principal_components(features)
    names = [found.name for found in sets]
    return plot_features(names, groups, components, shares, neighbour_map(features), out)
