"""The site folder: private, atomic, versioned."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.site import audit
from appliance.site.database import MIGRATIONS
from appliance.site.folder import LONGEST_SOCKET_PATH, SiteFolder, default_home
from calibration.atomic import atomic_file, disk_error, write_bytes
from calibration.errors import WardposeError


def test_the_folder_is_its_owners_alone(site: SiteFolder) -> None:
    for folder in (site.root, site.models, site.calibrations, site.sockets):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_environment_names_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WARDPOSE_HOME", str(tmp_path / "elsewhere"))
    assert default_home() == tmp_path / "elsewhere"


def test_paths_inside_are_stored_relative_so_that_a_copied_site_works(site: SiteFolder, tmp_path: Path) -> None:
    assert site.relative(site.models / "a") == "models/a"
    assert site.resolve("models/a") == site.models / "a"
    assert site.resolve(site.relative(tmp_path / "b")) == tmp_path / "b"


def test_sockets_fit_the_kernels_limit_however_deep_the_site_lies(tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / ("deep" * 20) / "site")
    assert len(os.fsencode(site.sockets / "notify-display.sock")) <= LONGEST_SOCKET_PATH
    site.sockets.rmdir()


def test_a_file_used_as_home_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WardposeError, match="file"):
        SiteFolder.open(tmp_path / "file")


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=2000))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "atomic"
    write_bytes(path, content)
    assert path.read_bytes() == content


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), atomic_file(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_bytes(path, b"old")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom calibration.atomic import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half')\n    stream.flush()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    assert path.read_bytes() == b"old"


def test_a_full_disk_says_what_to_do() -> None:
    error = disk_error(OSError(28, os.strerror(28)), "somewhere")
    assert "no space left on device" in str(error) and "free some space" in str(error)


def test_a_full_disk_in_the_midst_of_a_write(tmp_path: Path) -> None:
    path = tmp_path / "big"
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom calibration.atomic import write_bytes\n"
        "from calibration.errors import WardposeError\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n    write_bytes(Path(sys.argv[1]), bytes(50_000))\nexcept WardposeError as e:\n    sys.exit(str(e))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True)
    assert ended.returncode == 1 and "file too large" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_newer_database_is_refused(site: SiteFolder) -> None:
    with sqlite3.connect(site.root / "site.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(WardposeError, match="newer wardpose"):
        SiteFolder.open(site.root)


def test_a_damaged_database_is_told_in_one_line(site: SiteFolder) -> None:
    for name in ("site.db-wal", "site.db-shm"):
        (site.root / name).unlink(missing_ok=True)
    (site.root / "site.db").write_bytes(b"not a database" * 100)
    with pytest.raises(WardposeError, match=r"site\.db.*backup"):
        SiteFolder.open(site.root)


def test_a_transaction_that_raises_changes_nothing(site: SiteFolder) -> None:
    with pytest.raises(RuntimeError), site.database.transaction() as db:
        db.execute("INSERT INTO audit (at, who, what, subject, reason) VALUES ('', '', '', '', '')")
        raise RuntimeError
    assert audit.rows(site) == []


def test_the_audit_trail_only_grows(site: SiteFolder) -> None:
    audit.record(site, "model.promote", "person-detector", "better")
    audit.record(site, "live.start", "simulated")
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'nobody'"):
        with pytest.raises(WardposeError, match="append-only"), site.database.transaction() as db:
            db.execute(statement)
    assert [(row.what, row.reason) for row in audit.rows(site)] == [("live.start", ""), ("model.promote", "better")]
