"""Nobody but its owner reads a site, however it came to be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance import housekeeping
from appliance.box.doctor import examine
from appliance.cli.main import main
from appliance.jobs.runner import Turn
from appliance.live.addresses import service_socket
from appliance.site import audit, closing
from appliance.site.folder import REPOSITORY, SiteFolder, open_log
from appliance.site.privacy import open_to_others
from appliance.site.settings import load_settings
from tests.appliance.test_service import wait_for


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
    closing.close_and_tell(site.root)
    again = SiteFolder.open(site.root)
    use(again)
    assert_private(again)


def opened(site: SiteFolder) -> SiteFolder:
    """The site, as a careless copy leaves it."""
    use(site)
    site.root.chmod(0o755)
    (site.root / "site.db").chmod(0o644)
    return site


def closed_rows(site: SiteFolder) -> list[str]:
    return [row.reason for row in audit.rows(site) if row.what == "site.close"]


@pytest.mark.parametrize("program", ["a command", "housekeeping", "the job runner", "the service"])
def test_whatever_program_finds_a_site_open_says_once_that_it_closes_it_and_leaves_one_row(
    program: str, site: SiteFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    opened(site)
    if program == "a command":
        assert main(["kept", "--home", str(site.root)]) == 0
    elif program != "housekeeping":
        module, runs = {
            "the job runner": ("appliance.job_runner", lambda: Turn.is_taken(site)),
            "the service": ("appliance.service", service_socket(site).exists),
        }[program]
        running = subprocess.Popen([sys.executable, "-m", module, "--home", str(site.root)], cwd=REPOSITORY)
        wait_for(runs)
        running.terminate()
        assert running.wait(60) == 0
    for _ in range(2):
        assert housekeeping.main(["--home", str(site.root)]) == 0
    said = capfd.readouterr().err
    assert said.count(f"closed to others: {site.root}: 0755 → 0700\n") == 1
    assert said.count(f"closed to others: {site.root / 'site.db'}: 0644 → 0600\n") == 1
    (row,) = closed_rows(site)
    assert f"{site.root}: 0755 → 0700" in row
    assert_private(site)


def test_looking_changes_nothing_and_a_site_is_opened_as_it_is(site: SiteFolder) -> None:
    opened(site)
    assert audit.rows(SiteFolder.open(site.root))[0].what == "x"
    assert mode(site.root) == 0o755 and not closed_rows(site)


def test_a_site_whose_database_is_damaged_is_closed_too(site: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    opened(site)
    (site.root / "site.db").write_bytes(b"damaged" * 1000)
    assert main(["pause", "--home", str(site.root)]) == 0
    assert "0755 → 0700" in capsys.readouterr().err and mode(site.root) == 0o700


def test_of_two_programs_that_find_it_open_at_once_one_has_the_row(site: SiteFolder) -> None:
    opened(site)
    ready = threading.Barrier(2)

    def close() -> list[str]:
        ready.wait()
        return closing.close_to_others(site)

    with ThreadPoolExecutor(2) as programs:
        done = [told for each in [programs.submit(close) for _ in range(2)] for told in each.result()]
    assert {line.split(": ")[1] for line in done} == {"0755 → 0700", "0644 → 0600"}
    assert 1 <= len(closed_rows(site)) <= 2 and all(closed_rows(site)) and open_to_others(site.root) == []


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
    closing.close_and_tell(site.root)
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
