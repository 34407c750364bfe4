"""Model files and pictures made to hang or to fill the memory of whoever reads them.

None of them executes anything, and each is small.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEEP = b"[" * 200_000
_HUGE_SIDE = 32_000
_RECORD = b"cultralytics.nn.tasks\nDetectionModel\n)R"
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
_FLOATS = b"ctorch\nFloatStorage\n"


def checkpoints(folder: Path) -> dict[Path, str]:
    """`.pt` files by what their refusal says."""
    made: dict[Path, str] = {}

    def make(name: str, pickled: bytes, said: str, *, storage: bytes = bytes(4), packed: bool = False) -> None:
        path = folder / f"{name}.pt"
        kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("model/data.pkl", b"\x80\x02" + pickled + b".")
            archive.writestr("model/byteorder", "little")
            archive.writestr("model/data/0", storage)
        made[path] = said

    make("description-that-branches", _record({"yaml": _doubled(60)}), "holds no tensors")
    make("modules-that-branch", _branching_modules(40), "nested too deeply, or too often")
    make("step-of-nought", _tensor(1, (1 << 30,), (0,)), "larger than its storage")
    a_view = _list_of(_tensor(1 << 20, (1 << 20,), (1,)), 4096)
    make("tensors-without-end", a_view, "more tensors than", storage=bytes(4 << 20), packed=True)
    packed = _tensor(1 << 24, (1 << 24,), (1,))
    make("packed-storage", packed, "more tensors than", storage=bytes(64 << 20), packed=True)
    make("table-of-gigabytes", b"}r\xff\xff\xff\x7f", "a table with next to nothing in it")
    make("array-of-gigabytes", b"\x96" + struct.pack("<Q", 1 << 35), "expected 34359738368 bytes")
    path = folder / "byte-order-that-grows.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}.")
        archive.writestr("model/byteorder", bytes(64 << 20))
    made[path] = "big-endian"
    return made


def endless_checkpoint(folder: Path) -> Path:
    """A pickle whose reading itself never ends: the hash of a tuple of tuples, each of which stands in it twice."""
    path = folder / "endless.pt"
    nested = b"K\x01\x85q\x000" + b"".join(
        b"h" + bytes([k]) + b"h" + bytes([k]) + b"\x86q" + bytes([k + 1]) + b"0" for k in range(60)
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + nested + b"}h\x3cK\x01s.")
    return path


def graphs(folder: Path) -> dict[Path, str]:
    """ONNX files by what their refusal says, of those that are refused without being run."""
    import onnx
    from onnx import TensorProto, helper

    elsewhere = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 3, 64, 96])
    elsewhere.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "/etc/passwd"), ("offset", "0"), ("length", "73728")):
        elsewhere.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    constant = helper.make_node("Constant", [], ["w"], value=elsewhere)
    branch = helper.make_graph([constant], "branch", [], [_value("w")])
    chosen = helper.make_node("If", ["yes"], ["w2"], then_branch=branch, else_branch=branch)
    made = {
        _write(folder / "constant-elsewhere.onnx", [constant, helper.make_node("Add", ["images", "w"], ["output"])]),
        _write(
            folder / "branch-elsewhere.onnx", [chosen, helper.make_node("Add", ["images", "w2"], ["output"])],
            [helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
        ),
    }  # fmt: skip
    return dict.fromkeys(made, "its weights lie in other files")


def endless_graph(folder: Path) -> Path:
    """A loop as long as 64 bits count, with the output of a YOLOX of 80 classes."""
    from onnx import TensorProto, helper

    answer = [1, 126, 85]
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Sin", ["x"], ["y"])], "body",
        [helper.make_tensor_value_info("k", TensorProto.INT64, []),
         helper.make_tensor_value_info("on", TensorProto.BOOL, []), _value("x", answer)],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), _value("y", answer)],
    )  # fmt: skip
    given = [
        helper.make_tensor("times", TensorProto.INT64, [], [2**62]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        helper.make_tensor("shape", TensorProto.INT64, [3], answer),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["begin"]),
        helper.make_node("Loop", ["times", "yes", "begin"], ["output"], body=body),
    ]
    return _write(folder / "endless.onnx", nodes, given, answer)


def growing_graph(folder: Path) -> Path:
    """A few hundred bytes that ask for 16 GiB when they are run first."""
    from onnx import TensorProto, helper

    everywhere = {"axes": [0, 1, 2, 3], "keepdims": 1}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], **everywhere),
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Mul", ["shape", "times"], ["larger"]),
        helper.make_node("Expand", ["mean", "larger"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["most"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Expand", ["most", "shape_of_answer"], ["output"]),
    ]
    answer = [1, 126, 85]  # of a YOLOX of 80 classes
    given = [
        helper.make_tensor("times", TensorProto.INT64, [4], [64, 16, 16, 16]),
        helper.make_tensor("shape_of_answer", TensorProto.INT64, [3], answer),
    ]
    return _write(folder / "growing.onnx", nodes, given, answer)


def described_graph(folder: Path) -> Path:
    """An ONNX whose own description is brackets without end."""
    import onnx

    path = growing_graph(folder)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"wardpose": DEEP.decode(), "names": "{0:" * 50_000})
    deep = folder / "described.onnx"
    deep.write_bytes(model.SerializeToString())
    return deep


def documents(folder: Path) -> dict[str, Path]:
    """JSON and TOML of brackets, tables and parts of keys without end, and what has no end at all, by what it is."""
    content = {
        "labels.json": DEEP, "dataset/dataset.json": DEEP, "model/model.json": DEEP, "estimate.json": DEEP,
        "plate/plate.json": DEEP, "lens.json": DEEP, "header.safetensors": struct.pack("<Q", len(DEEP)) + DEEP,
        "long-header.safetensors": struct.pack("<Q", 1 << 60) + DEEP, "brackets.toml": b"a = " + DEEP,
        "tables.toml": b"a = " + b"{b = " * 50_000, "keys.toml": b"[" + b"a." * 50_000 + b"b]\n",
        "key.toml": b"a." * 50_000 + b"b = 1\n",
    }  # fmt: skip
    made = {}
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        made[name] = path
    for name in ("pipe.json", "pipe.toml"):
        os.mkfifo(folder / name)
        made[name] = folder / name
    (folder / "endless.json").symlink_to("/dev/zero")
    return made | {"endless.json": folder / "endless.json"}


def huge_picture(path: Path, *, whole: bool = False) -> Path:
    """A PNG of 32,000 × 32,000 grey pixels: a gigabyte of zeros in four megabytes; its first rows alone, or `whole`."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + _HUGE_SIDE)
    data = b"".join(packer.compress(row) for _ in range(_HUGE_SIDE if whole else 4)) + packer.flush()
    head = struct.pack(">IIBBBBB", _HUGE_SIDE, _HUGE_SIDE, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def labels_of(folder: Path, picture: Path) -> Path:
    """The annotations of a data set of that one picture, which lies in `folder` too."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / picture.name).symlink_to(picture)
    image = {"id": 1, "file_name": picture.name, "width": _HUGE_SIDE, "height": _HUGE_SIDE}
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 100, 100], "area": 10_000, "iscrowd": 0}
    labels = {"images": [image], "annotations": [person], "categories": [{"id": 1, "name": "person"}]}
    path = folder / "annotations.json"
    path.write_text(json.dumps(labels))
    return path


def _write(path: Path, nodes: Sequence[Any], given: Sequence[Any] = (), answer: Sequence[int] = (1, 3, 64, 96)) -> Path:
    from onnx import helper

    graph = helper.make_graph(list(nodes), "hostile", [_value("images")], [_value("output", answer)], list(given))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def _value(name: str, shape: Sequence[int] = (1, 3, 64, 96)) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _plain(value: object) -> bytes:
    """The operations that build plain values, without the beginning and the end of a pickle."""
    return pickle.dumps(value, 2)[2:-1]


def _record(attributes: dict[str, object]) -> bytes:
    return _RECORD + _plain(attributes) + b"b"


def _doubled(times: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(times):
        value = [value, value]
    return value


def _branching_modules(depth: int) -> bytes:
    """A module of two modules that are the same one of two modules that are …"""
    node = _RECORD + b"q\x00"
    for k in range(depth):
        below = b"h" + bytes([k])
        children = b"}(X\x01\x00\x00\x00a" + below + b"X\x01\x00\x00\x00b" + below + b"u"
        node += b"0" + _RECORD + b"}X\x08\x00\x00\x00_modules" + children + b"sbq" + bytes([k + 1])
    return node


def _tensor(numbers: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    kind = b"(X\x07\x00\x00\x00storage" + _FLOATS
    storage = kind + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + _plain(numbers) + b"tQ"
    return _REBUILD + b"(" + storage + _plain(0) + _plain(size) + _plain(stride) + b"\x89}tR"


def _list_of(value: bytes, times: int) -> bytes:
    return b"](" + value * times + b"e"
