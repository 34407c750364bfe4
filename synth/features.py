"""How alike two sets of pictures are to a network: features, and their first two principal components or a t-SNE map.

After the paper's figure 9 (VGG16 features of 200 pictures a set); here the features are a detector's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detect import letterbox
from runtime.model_info import METADATA_KEY, ModelInfo

_PERPLEXITY = 30.0


def picture_features(detector: Path, pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, C): means and spreads over RGB pictures (H, W, 3) of what every layer of an ONNX network's trunk answers.

    Early layers see colours and edges, late ones shapes: how pictures look, rather than where the people are. A network
    that says nothing of how it is fed, such as the VGG16 of the paper, is given ImageNet's colours.
    Raises WardposeError where the file is no ONNX model that convolves a picture.
    """
    from runtime.engines.onnx_engine import OnnxEngine

    with tempfile.TemporaryDirectory(prefix="wardpose-features-") as folder:
        opened = Path(folder) / "opened.onnx"
        layers, info = _open_up(detector, opened)
        engine = OnnxEngine(opened, info=info)
    found = []
    for color in pictures:
        maps = [answer[0] for answer in engine.run(letterbox(color, engine.info)[0])[-layers:]]
        found.append(np.concatenate([statistic for map in maps for statistic in (map.mean((1, 2)), map.std((1, 2)))]))
    return np.stack(found)


def _open_up(detector: Path, out: Path) -> tuple[int, ModelInfo | None]:
    """Write the same model with its trunk's convolutions as further outputs; returns how many, and how the model is fed
    where it does not say so itself.

    The trunk ends where the channels are most; further on a detector knows where people are, and little else.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(detector))
    except (OSError, DecodeError, ValueError) as error:
        raise WardposeError(f"not an ONNX file ({type(error).__name__})", where=str(detector)) from None
    sizes = {tensor.name: int(tensor.dims[0]) for tensor in model.graph.initializer if len(tensor.dims) == 4}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    channels = [sizes.get(node.input[1], 0) for node in convolutions]
    if not channels:
        raise WardposeError("has no convolutions", where=str(detector), mend="name a detector")
    trunk = convolutions[: channels.index(max(channels)) + 1]
    for node in trunk:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(node.output[0]))
    onnx.save(model, str(out))
    sidecar = detector.with_name(detector.name + ".json")  # a foreign model's description lies beside it
    if sidecar.is_file():
        out.with_name(out.name + ".json").write_bytes(sidecar.read_bytes())
    said = sidecar.is_file() or any(entry.key == METADATA_KEY for entry in model.metadata_props)
    return len(trunk), None if said else _as_imagenet(detector.stem, model)


def _as_imagenet(name: str, model: Any) -> ModelInfo:
    """Fed as the classifiers of ImageNet are: 224 pixels a side where the file leaves it open."""
    sides = [dim.dim_value or 224 for dim in model.graph.input[0].type.tensor_type.shape.dim[2:4]]
    height, width = sides if len(sides) == 2 else (224, 224)
    return ModelInfo(
        name=name[:120], task="detect", layout="yolo", width=width, height=height, mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
    )  # fmt: skip


def principal_components(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) the standardised features on their first two principal components, and (2,) their shares of variance."""
    spread = features.std(0)
    scaled = (features - features.mean(0))[:, spread > 1e-9] / spread[spread > 1e-9]
    u, s, _ = np.linalg.svd(scaled.astype(np.float64), full_matrices=False)
    return u[:, :2] * s[:2], s[:2] ** 2 / (s**2).sum()


def neighbour_map(features: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """(N, 2) by t-SNE (van der Maaten and Hinton 2008): what is near in features is near on the map."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise WardposeError("scikit-learn is not installed", mend="pip install scikit-learn") from error
    spread = features.std(0)
    scaled = (features - features.mean(0)) / np.where(spread > 1e-9, spread, 1.0)
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    options: dict[str, Any] = {"init": "pca", "random_state": seed, "perplexity": perplexity}
    return np.asarray(TSNE(2, **options).fit_transform(scaled.astype(np.float64)), dtype=np.float64)
