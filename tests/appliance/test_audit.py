"""The audit trail: who did what, and that a row that is missing, changed or moved shows."""

from __future__ import annotations

import csv
import io
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cli.main import main
from appliance.client import ServiceClient
from appliance.site import audit, people
from appliance.site.database import MIGRATIONS
from appliance.site.folder import REPOSITORY, SiteFolder
from calibration.errors import WardposeError

OWN = pwd.getpwuid(os.getuid()).pw_name
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can stand for somebody else")


def fill(site: SiteFolder, count: int) -> None:
    for number in range(count):
        audit.record(site, "model.promote", f"model-{number}", "better")


def tamper(site: SiteFolder, *statements: str) -> None:
    """What somebody with the file and an SQL shell can do: the triggers go first."""
    with sqlite3.connect(site.root / "site.db") as db:
        for trigger in ("audit_keeps_rows", "audit_keeps_words"):
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            db.execute(statement)
    db.close()


def test_a_trail_that_nobody_touched_is_whole(site: SiteFolder) -> None:
    assert audit.verify(site).whole
    fill(site, 5)
    verdict = audit.verify(SiteFolder.open(site.root))
    assert verdict.whole and verdict.rows == 5 and verdict.head.row == 5
    assert len(verdict.head.hash) == 64


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["DELETE FROM audit WHERE id = 3"], "row 3 is missing before it"),
        (["DELETE FROM audit WHERE id IN (1, 2)"], "rows 1–2 are missing before it"),
        (["DELETE FROM audit WHERE id = 6"], "row 6 is missing at the end"),
        (["DELETE FROM audit"], "rows 1–6 are missing at the end"),
        (["DELETE FROM audit WHERE id > 4", "DELETE FROM audit_head"], "audit.head speaks of row 6"),
        (["UPDATE audit SET who = 'nobody' WHERE id = 2"], "changed or put here"),
        (["UPDATE audit SET at = '2020-01-01T00:00:00.000Z' WHERE id = 6"], "changed or put here"),
        (
            ["UPDATE audit SET id = 99 WHERE id = 3", "UPDATE audit SET id = 3 WHERE id = 4",
             "UPDATE audit SET id = 4 WHERE id = 99"],
            "changed or put here",
        ),
        (["INSERT INTO audit (at, who, what, subject, reason) VALUES ('', '', '', '', '')"], "changed or put here"),
        (["DELETE FROM audit_head"], "the database's head is missing"),
    ],
)  # fmt: skip
def test_what_was_done_to_the_rows_is_told_with_its_place(site: SiteFolder, statements: list[str], told: str) -> None:
    fill(site, 6)
    tamper(site, *statements)
    verdict = audit.verify(site)
    assert not verdict.whole
    assert told in " / ".join(place.what for place in verdict.breaks)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(2, 8))
def test_any_single_change_breaks_the_chain(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int
) -> None:
    site = SiteFolder.open(tmp_path_factory.mktemp("site"))
    fill(site, count)
    row = data.draw(st.integers(1, count))
    column = data.draw(st.sampled_from(["at", "who", "what", "subject", "reason", "hash"]))
    tamper(site, f"UPDATE audit SET {column} = {column} || 'x' WHERE id = {row}")
    assert any(place.row in (row, row + 1) for place in audit.verify(site).breaks)


def test_rows_added_after_a_cut_do_not_heal_it(site: SiteFolder) -> None:
    fill(site, 6)
    tamper(site, "DELETE FROM audit WHERE id > 4")
    fill(site, 3)
    assert [place.what for place in audit.verify(site).breaks] == ["rows 5–6 are missing before it"]


def test_a_database_put_back_from_a_backup_shows_for_ever(site: SiteFolder, tmp_path: Path) -> None:
    fill(site, 2)
    with sqlite3.connect(site.root / "site.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    shutil.copy(site.root / "site.db", tmp_path / "backup.db")
    fill(site, 3)
    for name in ("site.db-wal", "site.db-shm"):
        (site.root / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", site.root / "site.db")
    again = SiteFolder.open(site.root)
    assert "rows 3–5 are missing at the end: audit.head speaks of row 5" in audit.verify(again).breaks[0].what
    fill(again, 2)
    assert [place.what for place in audit.verify(again).breaks] == ["rows 3–5 are missing before it"]


def test_the_rows_of_an_older_site_are_chained_when_it_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "site"
    root.mkdir()
    with sqlite3.connect(root / "site.db") as db:
        db.executescript("".join(script for script in MIGRATIONS[:2] if isinstance(script, str)))
        for number in range(3):
            db.execute("INSERT INTO audit VALUES (?, '2026-01-01T00:00:00.000Z', 'ada', 'x', '', '')", (number + 1,))
        db.execute("PRAGMA user_version = 2")
    db.close()
    site = SiteFolder.open(root)
    assert audit.verify(site).whole and audit.verify(site).rows == 3
    with pytest.raises(WardposeError, match="append-only"), site.database.transaction() as connection:
        connection.execute("UPDATE audit SET who = 'nobody'")
    tamper(site, "DELETE FROM audit WHERE id = 2")
    assert not audit.verify(site).whole


def test_processes_that_write_at_once_make_one_chain(site: SiteFolder) -> None:
    script = (
        "import sys\nfrom appliance.site import audit\nfrom appliance.site.folder import SiteFolder\n"
        "site = SiteFolder.open(sys.argv[1])\n"
        "for number in range(15):\n    audit.record(site, 'x', sys.argv[2])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(site.root), name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    verdict = audit.verify(site)
    assert verdict.whole and verdict.rows == 45
    assert {row.subject for row in audit.rows(site)} == {"a", "b", "c"}


def test_a_deed_that_fails_leaves_no_row_and_a_row_no_deed(site: SiteFolder) -> None:
    with pytest.raises(RuntimeError), audit.deed(site, "calibration.keep") as db:
        db.execute("INSERT INTO noted VALUES ('a', 'b')")
        raise RuntimeError
    with site.database.transaction() as db:
        assert not db.execute("SELECT * FROM noted").fetchall()
    assert audit.rows(site) == []


def test_a_row_holds_neither_a_password_nor_an_order_to_a_terminal(site: SiteFolder) -> None:
    audit.record(site, "live.start", "video:rtsp://u:s3cret@camera/x", "see \x1b]0;owned\x07 it")
    (row,) = audit.rows(site)
    assert row.subject == "video:rtsp://***@camera/x" and row.reason == "see  ]0;owned  it"


def test_nobody_chooses_their_name_by_the_environment(site: SiteFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "USERNAME", "LNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody-else")
    audit.record(site, "x")
    assert "somebody-else" not in audit.rows(site)[0].who


@pytest.mark.parametrize(
    ("uid", "loginuid", "environ", "found"),
    [
        (1000, "1000", b"", 1000),
        (0, "1000", b"", 1000),
        (0, "4294967295", b"A=b\0SUDO_UID=1000\0", 1000),
        (1000, "4294967295", b"SUDO_UID=0\0", None),  # anybody but root may have made it up
        (0, "4294967295", b"SUDO_UID=x\0", None),
        (0, None, b"A=b\0", None),
    ],
)
def test_the_login_user_is_the_kernels_word(
    tmp_path: Path, uid: int, loginuid: str | None, environ: bytes, found: int | None
) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(environ)
    if loginuid is not None:
        (tmp_path / "7" / "loginuid").write_text(loginuid)
    assert people._login_uid("7", uid, tmp_path) == found


def test_a_person_behind_another_account_is_named_with_both() -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    assert people._person(nobody, 0) == "root (as nobody)"
    assert people._person(0, 0) == people._person(0, None) == "root"
    assert people._person(3_000_000_000, None) == "uid 3000000000"


@AS_ROOT
def test_a_row_written_by_the_service_names_its_client(site: SiteFolder) -> None:
    with ServiceClient.connect(site) as client:
        script = (
            "import sys\nfrom appliance.client import ServiceClient\nfrom appliance.site.folder import SiteFolder\n"
            "with ServiceClient(SiteFolder.open(sys.argv[1])) as client:\n"
            "    job = client.submit('evaluate', {'model': 'nobody', 'data': 'none.json'})\n"
            "    client.cancel(job['id'])\n"
        )
        nobody = str(pwd.getpwnam("nobody").pw_uid)
        subprocess.run(
            [sys.executable, "-c", script, str(site.root)], check=True, env=os.environ | {"SUDO_UID": nobody}
        )
        rows = audit.rows(site)
        assert {row.who for row in rows} == {"nobody (as root)"}
        assert [row.what for row in rows][-1] == "job.submit"
        client.stop_service()


def test_rows_are_asked_for_by_time_and_person(site: SiteFolder) -> None:
    audit.record(site, "a", who="anna (as root)")
    audit.record(site, "b", who="root")
    audit.record(site, "c", who="joanna")
    assert [row.what for row in audit.rows(site, who="anna")] == ["a"]
    assert [row.what for row in audit.rows(site, who="root")] == ["b", "a"]
    assert len(audit.rows(site, since=datetime.now(UTC) - timedelta(minutes=1))) == 3
    assert audit.rows(site, since=datetime.now(UTC) + timedelta(minutes=1)) == []


@pytest.mark.parametrize(("text", "ago"), [("7d", timedelta(days=7)), ("12h", timedelta(hours=12))])
def test_a_span_counts_back_from_now(text: str, ago: timedelta) -> None:
    assert abs(datetime.now(UTC) - ago - audit.parse_since(text)) < timedelta(minutes=1)


def test_a_day_is_the_sites_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit.parse_since("2026-11-01").astimezone().isoformat()[:16] == "2026-11-01T00:00"


@given(st.text(max_size=20))
def test_what_is_no_time_is_refused_in_one_line(text: str) -> None:
    try:
        assert audit.parse_since(text).tzinfo is UTC
    except WardposeError as error:
        assert "--since" in str(error)


def run(site: SiteFolder, *arguments: str) -> int:
    return main(["audit", "--home", str(site.root), *arguments])


def test_the_command_shows_a_page_that_fits_a_terminal(
    site: SiteFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    audit.record(site, "model.promote", "a-very-long-name-" * 6, "it found more people " * 12)
    assert run(site) == 0
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines()) <= 80
    assert "model.promote" in said and OWN in said and "is whole" in said


def test_a_broken_chain_is_told_and_ends_with_1(site: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    fill(site, 3)
    tamper(site, "DELETE FROM audit WHERE id = 2")
    assert run(site) == 1
    assert "BROKEN at row 3: row 2 is missing before it" in capsys.readouterr().out


def json_of(home: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "appliance", "audit", "--json", "--home", str(home), *arguments]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return ended.returncode, json.loads(ended.stdout)


def test_the_json_has_the_rows_and_the_chain(site: SiteFolder) -> None:
    audit.record(site, "plate.remove", "2026-11-01", "the room was rebuilt", who="anna")
    code, told = json_of(site.root, "--who", "anna")
    assert (code, told["chain"], told["breaks"]) == (0, "whole", [])
    assert isinstance(told["rows"], list)
    (row,) = told["rows"]
    assert set(row) == {"at", "who", "role", "what", "why", "subject"}
    assert (row["who"], row["why"]) == ("anna", "the room was rebuilt")
    tamper(site, "UPDATE audit SET reason = 'none'")
    code, told = json_of(site.root)
    assert (code, told["chain"]) == (1, "broken")


def test_the_table_can_be_read_back_and_starts_no_formula(site: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    audit.record(site, "plate.remove", "=1+1", 'a "reason", with a comma')
    assert run(site, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["why"] == 'a "reason", with a comma' and rows[0]["subject"] == "'=1+1"


def test_who_may_be_given_for_a_deed_seen_from_elsewhere(site: SiteFolder) -> None:
    audit.record(site, "live.pause", "the page", who="somebody at the display")
    assert audit.rows(site)[0].who == "somebody at the display"


def test_a_thread_acts_for_its_client_and_then_for_itself(site: SiteFolder) -> None:
    with people.acting_as("anna"):
        audit.record(site, "x")
    audit.record(site, "y")
    assert [row.who for row in audit.rows(site)] == [people.current_user(), "anna"]
