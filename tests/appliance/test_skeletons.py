"""Skeletons are kept only when somebody asks, for a reason, and are gone when their time is up."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.bedside import skeleton_streams
from appliance.box import kept
from appliance.cli.main import main
from appliance.deeds import Deeds
from appliance.housekeeping import tidy
from appliance.live import pauses
from appliance.live.addresses import result_socket
from appliance.site import audit
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from runtime.bus import ResultServer
from runtime.motion.parquet_file import read_motion
from tests.runtime.test_motion import _message, _person

WHY = "how often the patient is turned at night"


@pytest.fixture
def live(site: SiteFolder) -> Iterator[threading.Event]:
    """A live path that says one thing after the other of two people."""
    result_socket(site).parent.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    more = {"width": 640, "height": 360, "models": {"detector": "d", "pose": "p"}}
    with ResultServer(result_socket(site)) as server:

        def speak() -> None:
            step = 0
            while not ended.wait(0.02):
                server.publish(_message(step / 20, [_person(1, 0.0), _person(2, 0.0)]) | more)
                step += 1

        thread = threading.Thread(target=speak)
        thread.start()
        yield ended
        ended.set()
        thread.join()


def _record(site: SiteFolder, name: str = "night", **changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"seconds": 0.5, "reason": WHY, "expires": "7d"} | changes
    return skeleton_streams.record(site, name, Deeds(site).ask, **asked)


@pytest.mark.usefixtures("live")
def test_what_is_kept_is_the_owners_stands_in_the_table_and_holds_no_picture(site: SiteFolder) -> None:
    assert not (site.root / "skeletons").exists()  # unless somebody asks
    done = _record(site)
    file = Path(done["file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    motion = read_motion(file)
    assert motion.people == [1, 2]
    assert (len(motion.time_s), motion.more["reason"]) == (done["rows"], WHY)
    assert kept.strays(site) == []
    assert [row.row.what for row in kept.found(site) if row.files and "skeletons" in row.row.where]
    (row,) = [row for row in audit.rows(site) if row.what == "skeletons.record"]
    assert row.reason == WHY


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "test"}, "needs a reason"), ({"expires": "never"}, "no span of time"),
        ({"expires": "2000d"}, "at most"), ({"seconds": 0.0}, "can't be recorded"), ({"name": "../x"}, "is no name"),
    ],
)  # fmt: skip
def test_what_may_not_be_kept_is_refused_and_leaves_nothing(
    site: SiteFolder, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(WardposeError, match=said):
        _record(site, **changes)
    assert not list(site.root.rglob("*.parquet*"))


@pytest.mark.usefixtures("live")
def test_nothing_is_kept_while_the_site_is_paused(site: SiteFolder) -> None:
    pauses.pause(site, "washing", who="the nurse")
    with pytest.raises(WardposeError, match="paused by the nurse"):
        _record(site)
    assert not list(site.root.rglob("*.parquet*"))


def test_a_pause_in_the_middle_ends_it_and_leaves_nothing(site: SiteFolder, live: threading.Event) -> None:
    pausing = threading.Timer(0.5, lambda: pauses.pause(site, "washing", who="the nurse"))
    pausing.start()
    with pytest.raises(WardposeError, match="paused by the nurse"):
        _record(site, seconds=60)
    pausing.join()
    assert not list(site.root.rglob("*.parquet*"))
    assert "recording.abandon" in [row.what for row in audit.rows(site)]


def test_where_nothing_runs_nothing_is_kept(site: SiteFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeleton_streams, "_HEAR_S", 0.1)
    with pytest.raises(WardposeError, match="not running"):
        _record(site, seconds=30)
    assert skeleton_streams.rows(site) == []


@pytest.mark.usefixtures("live")
def test_they_are_gone_when_their_time_is_up(site: SiteFolder) -> None:
    file = Path(_record(site)["file"])
    assert tidy(site) == []
    assert file.exists()
    past = "2020-01-01T00:00:00+00:00"
    with site.database.transaction() as db:
        (old,) = db.execute("SELECT expires_at FROM recordings").fetchone()
        db.execute("UPDATE recordings SET expires_at = ?", (past,))
    file.write_bytes(file.read_bytes().replace(old.encode(), past.encode()))
    assert tidy(site) == []
    assert not file.exists()
    assert audit.rows(site)[0].what == "recording.delete"


@pytest.mark.usefixtures("live")
def test_they_are_listed_exported_and_deleted_by_command_and_that_is_written_down(
    site: SiteFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _record(site)
    home = ("--home", str(site.root))
    for to, out in (("csv", "a.csv"), ("c3d", "a.c3d"), ("bids", "bids")):
        assert main(["skeletons", "export", "night", "--to", to, "--out", str(tmp_path / out), *home]) == 0
        written = tmp_path / out
        assert written.is_file() or list(written.rglob("*_motion.tsv"))
    assert main(["skeletons", "list", "--json", *home]) == 0
    (told,) = json.loads(capfd.readouterr().out.splitlines()[-1])["skeletons"]
    assert (told["name"], told["reason"]) == ("night", WHY)
    assert main(["skeletons", "delete", "night", "--reason", "no longer needed", *home]) == 0
    assert skeleton_streams.rows(site) == []
    assert not list(site.root.rglob("*.parquet"))
    deeds = [row.what for row in audit.rows(site) if row.what.startswith("skeletons.")]
    assert deeds == ["skeletons.delete", *["skeletons.export"] * 3, "skeletons.record"]
    assert main(["skeletons", "export", "night", "--to", "csv", "--out", str(tmp_path / "b.csv"), *home]) == 2
