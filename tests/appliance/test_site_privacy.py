"""Nobody but its owner reads a site, however it came to be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.box.doctor import examine
from appliance.cli.main import main
from appliance.site import audit
from appliance.site.folder import REPOSITORY, SiteFolder, open_log
from appliance.site.privacy import open_to_others
from appliance.site.settings import load_settings


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    """The worst umask a shell can have."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def use(site: SiteFolder) -> None:
    load_settings(site)
    audit.record(site, "x")
    open_log(site.logs / "capture.log").close()


def assert_private(site: SiteFolder) -> None:
    assert mode(site.root) == 0o700
    for name in ("site.db", "site.toml", "audit.head", "logs/capture.log"):
        assert mode(site.root / name) == 0o600, name
    with site.database.transaction(immediate=True) as db:  # its companions are there while somebody writes
        db.execute("INSERT INTO noted VALUES ('a', 'b')")
        for name in ("site.db-wal", "site.db-shm"):
            assert mode(site.root / name) == 0o600, name
    assert open_to_others(site.root) == []


def test_a_new_site_is_private_under_any_umask(tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / "site")
    use(site)
    assert_private(site)


def test_a_folder_made_by_hand_is_closed_when_it_becomes_a_site(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir(mode=0o755)
    site = SiteFolder.open(tmp_path / "site")
    use(site)
    assert_private(site)


def test_a_site_whose_files_were_opened_or_copied_is_closed_when_it_is_used(tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / "site")
    use(site)
    for path in (site.root, *site.root.iterdir(), *site.logs.iterdir()):
        path.chmod(0o777 if path.is_dir() else 0o666)
    again = SiteFolder.open(site.root)
    use(again)
    assert_private(again)


def test_a_folder_that_is_something_else_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir(mode=0o755)
    (tmp_path / "letters" / "to-anna.txt").touch()
    SiteFolder.open(tmp_path / "letters")
    assert mode(tmp_path / "letters") == 0o755
    assert mode(tmp_path / "letters" / "site.db") == 0o600


def test_the_doctor_tells_what_is_open_and_mends_it_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = SiteFolder.open(tmp_path / "site")
    use(site)
    site.root.chmod(0o755)
    (site.root / "site.db").chmod(0o644)
    (site.logs / "capture.log").chmod(0o664)
    main(["doctor", "--home", str(site.root)])
    said = capsys.readouterr().out
    assert "MISSING site folder is private" in said and "site.db is 0644" in said and "doctor --mend" in said
    assert mode(site.root) == 0o755  # looking changes nothing
    main(["doctor", "--mend", "--home", str(site.root)])
    said = capsys.readouterr().out
    assert f"mended {site.root}: 0755 → 0700" in said
    assert f"mended {site.root / 'site.db'}: 0644 → 0600" in said
    assert "ok      site folder is private" in said
    assert_private(site)
    assert audit.rows(site)[0].what == "site.close"
    main(["doctor", "--mend", "--home", str(site.root)])
    assert "nothing to mend" in capsys.readouterr().out


def test_a_link_is_not_followed_to_somebody_elses_file(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch(mode=0o666)
    site = SiteFolder.open(tmp_path / "site")
    (site.root / "link").symlink_to(tmp_path / "theirs")
    SiteFolder.open(site.root)
    assert mode(tmp_path / "theirs") == 0o666


def test_every_file_a_command_leaves_is_private(tmp_path: Path) -> None:
    home = tmp_path / "site"
    for words in (["status"], ["camera", "probe", "--seconds", "0.1", str(tmp_path)], ["audit"]):
        subprocess.run([sys.executable, "-m", "appliance", *words, "--home", str(home)], cwd=REPOSITORY, check=False)
    assert [path for path in home.rglob("*") if not path.is_symlink() and mode(path) & 0o077] == []


def test_the_doctor_tells_of_a_broken_trail(tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / "site")
    audit.record(site, "x")
    check = {check.name: check for check in examine(site).checks}["audit trail"]
    assert check.ok and "1 rows" in check.detail
    with site.database.transaction(immediate=True) as db:
        db.execute("INSERT INTO audit (at, who, what, subject, reason) VALUES ('', '', '', '', '')")
    assert not {check.name: check for check in examine(site).checks}["audit trail"].ok
