"""TensorRT's adapter calls what the real bindings have, in version 10 and 11; it runs only where the library is."""

from __future__ import annotations

import ast
from pathlib import Path

from runtime.engines import tensorrt_engine

NAMES = set((Path(__file__).parent / "golden" / "tensorrt_names.txt").read_text().splitlines()[1].split())
THEIRS = {"trt", "builder", "network", "parser", "config", "profile", "picture", "context"}
HELD = {"_trt", "_engine", "_context", "_logger"}


def _called() -> set[str]:
    """The names that the adapter asks of TensorRT's module and objects."""
    called = set()
    for node in ast.walk(ast.parse(Path(tensorrt_engine.__file__).read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        base = node.value
        held = isinstance(base, ast.Attribute) and base.attr in HELD
        theirs = isinstance(base, ast.Name) and base.id in THEIRS
        chained = isinstance(base, ast.Call | ast.Attribute) and node.attr not in ("parent", "stem", "is_file")
        if held or theirs or (chained and any(isinstance(n, ast.Name) and n.id in THEIRS for n in ast.walk(base))):
            called.add(node.attr)
    return called


def test_every_name_that_is_asked_of_tensorrt_is_in_both_versions_bindings() -> None:
    called = _called()
    assert {"STRONGLY_TYPED", "build_serialized_network", "execute_async_v3", "set_tensor_address"} <= called
    assert called <= NAMES, sorted(called - NAMES)


def test_what_version_eleven_dropped_is_not_used() -> None:
    assert not {"FP16", "INT8", "EXPLICIT_BATCH", "platform_has_fast_fp16"} & _called()
