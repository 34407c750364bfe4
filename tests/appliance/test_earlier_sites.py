"""A site folder that an earlier version made opens: brought up to date once, in one step, with nothing lost.

`earlier_sites/` holds two, as text, as those versions wrote them: calibrated by the tag sheet and by hand, settings
changed, a model promoted, a job failed and one cancelled. One is of the last version without a chained audit trail, the
other of the last before the appliance had rooms. A database is kept as the SQL that makes it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.client import ServiceClient
from appliance.jobs.store import JobStore
from appliance.models.store import ModelStore
from appliance.site import audit, calibrations, database
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.settings import load_settings
from calibration.errors import WardposeError

SITES = Path(__file__).with_name("earlier_sites")
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=sorted(path.name for path in SITES.iterdir()))
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A site folder as an earlier version left it, not opened since."""
    home = tmp_path / "site"
    shutil.copytree(SITES / request.param, home, ignore=shutil.ignore_patterns("site.sql"))
    with closing(sqlite3.connect(home / "site.db")) as db:
        db.executescript((SITES / request.param / "site.sql").read_text())
    for path in (home, *home.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o644)  # as they were then; today's versions close them
    return home


def schema_of(home: Path) -> int:
    with closing(sqlite3.connect(home / "site.db")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def rows_of(home: Path) -> Rows:
    with closing(sqlite3.connect(home / "site.db")) as db:
        db.row_factory = sqlite3.Row
        tables = [row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in tables}


def files_of(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.suffix in (".json", ".toml")
    }


def test_nothing_is_lost(earlier: Path) -> None:
    rows, files = rows_of(earlier), files_of(earlier)
    assert rows["calibrations"] and rows["jobs"] and rows["promotions"] and rows["audit"]
    site = SiteFolder.open(earlier)
    assert schema_of(earlier) == len(database.MIGRATIONS)
    now = rows_of(earlier)
    for table, before in rows.items():
        kept = [{name: row[name] for name in earlier_row} for row, earlier_row in zip(now[table], before, strict=False)]
        assert kept == before, table
    assert files_of(earlier) == files
    settings = load_settings(site)
    assert (settings.bed.height, settings.synthesis.count) == (0.62, 40)
    used = calibrations.current_row(site)
    assert used is not None and (used.method, used.confirmed) == ("tags", True)
    assert calibrations.current(site).viewpoint.distance == pytest.approx(2.70, abs=0.01)
    assert ModelStore(site).live("detect") == "person-detector"
    assert [job.state for job in JobStore(site).all()] == ["cancelled", "failed"]
    assert audit.verify(site).whole


def test_it_is_brought_up_to_date_once_by_however_many_open_it(earlier: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        sites = list(threads.map(lambda _: SiteFolder.open(earlier), range(6)))
    before = rows_of(earlier)
    SiteFolder.open(earlier)
    assert rows_of(earlier) == before and schema_of(earlier) == len(database.MIGRATIONS)
    assert all(audit.verify(site).whole for site in sites)


def test_a_step_that_fails_leaves_the_database_as_it_was(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema, before = schema_of(earlier), rows_of(earlier)

    def fail(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE promotions")
        raise WardposeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, fail))
        with pytest.raises(WardposeError, match="the power went"):
            SiteFolder.open(earlier)
    assert (schema_of(earlier), rows_of(earlier)) == (schema, before)
    SiteFolder.open(earlier)
    assert schema_of(earlier) == len(database.MIGRATIONS)


def lacking(told: dict[str, Any]) -> set[str]:
    return {check["name"] for check in told["checks"] if not check["ok"] and not check.get("optional")}


READING: dict[tuple[str, ...], Callable[[dict[str, Any]], bool]] = {
    ("status",): lambda told: told["calibration"]["method"] == "tags",
    ("models", "list"): lambda told: [m["name"] for m in told["models"] if m["live"]] == ["person-detector"],
    ("calibrate", "show", "--samples", "10"): lambda told: Path(told["file"]).is_file(),
    ("audit",): lambda told: told["chain"] == "whole" and len(told["rows"]) >= 5,
    ("doctor",): lambda told: lacking(told) <= {"site folder is private"},
    ("kept",): lambda told: bool(told["ok"]),
    ("plates", "list"): lambda told: told["plates"] == [],
    ("camera", "list"): lambda told: told["chosen"] == "simulated",
}


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_command_that_reads_opens_it(earlier: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "appliance", *words, "--json", "--home", str(earlier)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=words != ("doctor",))
    assert READING[words](json.loads(ended.stdout)), ended.stdout


def test_the_service_serves_it_and_goes_on_with_its_work(earlier: Path) -> None:
    with ServiceClient.connect(SiteFolder.open(earlier)) as client:
        assert [job["state"] for job in client.jobs()] == ["cancelled", "failed"]
        row = client.call("calibrations.confirm", reason="seen in the picture")
        assert (row["id"], row["method"], row["confirmed"]) == (4, "manual", True)
    site = SiteFolder.open(earlier)
    assert audit.verify(site).whole and audit.rows(site)[0].what == "calibration.keep"
