"""A `.pt` file is read by allow-list: its tensors come out, its code never runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibration.errors import WardposeError
from tuning.store.checkpoint import read_checkpoint
from tuning.store.weights import read_safetensors


class _Runs:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def zip_with(path: Path, pickled: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/byteorder", "little")
    return path


def test_a_real_checkpoint_equals_its_safetensors(shared_data: Path) -> None:
    checkpoint = read_checkpoint(shared_data / "weights/person-v5nu.pt")
    expected, _ = read_safetensors(shared_data / "weights/person-v5nu.safetensors")
    assert set(checkpoint.state) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(checkpoint.state[name].astype(value.dtype), value, err_msg=name)
    assert checkpoint.classes == 1 and checkpoint.names == {0: "person"}


@pytest.mark.parametrize(
    "function", [os.system, eval, __import__, getattr], ids=["system", "eval", "import", "getattr"]
)
def test_code_is_refused_by_name_and_never_runs(tmp_path: Path, function: Any) -> None:
    witness = tmp_path / "ran"
    argument = f"touch {witness}" if function is os.system else f"open({str(witness)!r}, 'w')"
    path = zip_with(tmp_path / "evil.pt", pickle.dumps({"model": _Runs(function, argument)}, protocol=2))
    with pytest.raises(WardposeError, match=rf"refused.*{function.__name__}"):
        read_checkpoint(path)
    assert not witness.exists()


def test_a_state_dict_written_by_torch_is_read(tmp_path: Path) -> None:
    state = OrderedDict(a=torch.arange(12.0).reshape(3, 4).T, b=torch.tensor(7), c=torch.ones(2).bfloat16())
    torch.save(state, tmp_path / "state.pt")
    read = read_checkpoint(tmp_path / "state.pt").state
    assert {name: value.tolist() for name, value in read.items()} == {k: v.tolist() for k, v in state.items()}


def test_a_tensor_may_not_reach_outside_its_storage(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name.endswith("data.pkl"):
                # K\x04 is the shape's 4: the tensor now claims 200 numbers of a storage that holds 4.
                place = content.rindex(b"K\x04")
                content = content[:place] + b"K\xc8" + content[place + 2 :]
            bad.writestr(name, content)
    with pytest.raises(WardposeError, match="outside its storage"):
        read_checkpoint(tmp_path / "bad.pt")


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 broken"])
def test_what_is_no_checkpoint_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(WardposeError, match="not a PyTorch checkpoint"):
        read_checkpoint(tmp_path / "file.pt")


def test_a_damaged_pickle_is_called_so(tmp_path: Path) -> None:
    whole = io.BytesIO()
    pickle.dump({"model": [1, 2, 3]}, whole, protocol=2)
    path = zip_with(tmp_path / "cut.pt", whole.getvalue()[:-6])
    with pytest.raises(WardposeError, match="damaged"):
        read_checkpoint(path)
