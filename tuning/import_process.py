"""Taking a foreign model in, in a process of its own: `python -m tuning.import_process`, started by `import_confined`.

Whatever the file makes of the libraries that read it, crash, never end or fill the memory, ends with that process, and
leaves nothing behind.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from calibration.atomic import whole_folder
from calibration.confinement import confined, run_confined
from calibration.json_text import parse_json
from tuning.families.family import ImportWish
from tuning.import_model import require_importable, take_in, weights_of
from tuning.store.card import ModelCard, read_card, verify_weights
from tuning.store.foreign import read_foreign

_MEND = "check where the file comes from; ask for the weights as .safetensors or .onnx"


def import_confined(path: Path, models_dir: Path, wish: ImportWish, *, licence: str = "unknown") -> ModelCard:
    """`tuning.import_model.import_model`, confined; an ONNX model is run once besides, since its first run shows what
    no look at its graph does."""
    target = models_dir / wish.name
    require_importable(path, target, wish)
    with whole_folder(target) as workplace:
        if not weights_of(path).is_file():
            read_foreign(path)  # says what is missing
        asked = json.dumps({"path": str(path.absolute()), "workplace": str(workplace), "licence": licence,
                            "wish": asdict(wish)})  # fmt: skip
        size = weights_of(path).stat().st_size
        run_confined("tuning.import_process", [asked], where=str(path), size=size, mend=_MEND)
        card = read_card(workplace)
        verify_weights(workplace, card)
    return card


def _main() -> None:
    asked = parse_json(sys.argv[1])
    path, workplace = Path(asked["path"]), Path(asked["workplace"])
    card = take_in(path, workplace, ImportWish(**asked["wish"]), licence=asked["licence"])
    if card.format == "onnx":
        from runtime.engines.trial import run_once

        run_once((workplace / card.weights).read_bytes(), str(path))


if __name__ == "__main__":
    sys.exit(confined(_main))
