"""A file's digest is that of its whole content, and takes no room for it."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.file_digest import sha256_of


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), before=st.binary(max_size=40))
def test_it_is_the_sha256_of_what_stands_before_and_the_content(tmp_path: Path, content: bytes, before: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file", before) == hashlib.sha256(before + content).hexdigest()


def test_a_large_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    with (tmp_path / "model").open("wb") as file:
        file.truncate(32 << 20)
    tracemalloc.start()
    try:
        sha256_of(tmp_path / "model")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 << 20
