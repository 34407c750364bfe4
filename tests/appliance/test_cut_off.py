"""A deed and its audit row are one: killed at any file call, the next start completes the deed or withdraws it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import api, cut_off
from appliance.deeds import Deeds
from appliance.faults.children import fresh_copy
from appliance.faults.holding import faults_of
from appliance.faults.operations import OPERATIONS
from appliance.faults.pairs import PAIRS
from appliance.faults.small_site import prepare
from appliance.models.store import ModelStore
from appliance.site import assigning, audit, calibrations, intents
from appliance.site.folder import SiteFolder
from appliance.site.roles import assigned
from calibration.disk import DiskError, DiskTrouble
from calibration.errors import WardposeError
from runtime.capture import secrets
from tests.conftest import REPOSITORY
from tuning.store.card import CARD_FILE


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("original") / "site").root


@pytest.fixture
def in_use(original: Path, tmp_path: Path) -> SiteFolder:
    """A small site with something of every kind."""
    return SiteFolder.open(fresh_copy(original, tmp_path / "in-use"))


@pytest.fixture(scope="module")
def suite() -> dict[str, list[dict[str, Any]]]:
    """The fault suite's short form: each 17th kill point, a few random kills and power cuts, each deed done once by
    two, each 11th operation on a bad disk. `wardpose bench faults` tries every one."""
    short = ["--every=17", "--kills=6", "--rounds=1", "--operations=11", "--cuts=2", "--disk=ext4"]
    done = subprocess.run(
        [sys.executable, "-m", "appliance.faults", *short], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[dict[str, Any]]] = {"points": [], "random": [], "pairs": [], "disk": []}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        found[row["part"]].append(row)
    return found


@pytest.mark.timeout(900)
def test_a_kill_leaves_the_deed_with_its_row_or_neither(suite: dict[str, list[dict[str, Any]]]) -> None:
    swept = suite["points"]
    assert {line["operation"] for line in swept} == set(OPERATIONS)
    assert all(line["tried"] and not line["faults"] for line in swept)
    assert sum(line["told"] for line in swept) > 0


def test_a_kill_at_a_random_instant_loses_nothing_that_was_said_to_be_done(
    suite: dict[str, list[dict[str, Any]]],
) -> None:
    (row,) = suite["random"]
    assert row["tried"] == 6 and row["done"] > 0 and not row["faults"]


def test_of_two_who_do_one_thing_at_once_none_loses_anything_or_sees_a_defect(
    suite: dict[str, list[dict[str, Any]]],
) -> None:
    assert {row["deed"] for row in suite["pairs"]} == set(PAIRS) >= set(OPERATIONS)
    assert [row for row in suite["pairs"] if not row["tried"] or row["lost"]] == []


# What the suite has two do at once, by the service's call behind it.
BY_CALL = {
    "live.pause": "pause", "live.resume": "resume", "live.ended": "live path ended in a terminal",
    "jobs.submit": "job submitted", "jobs.cancel": "job cancelled",
    "jobs.pause": "job paused", "jobs.resume": "job resumed", "models.rollback": "model rolled back",
    "models.remove": "model removed", "datasets.remove": "data set removed", "calibrations.keep": "calibration kept",
    "calibrations.confirm": "calibration confirmed", "calibrations.discard": "calibration discarded",
    "plates.keep": "plate kept", "plates.look": "plate looked at", "plates.remove": "plate removed",
    "camera.look": "camera looked through", "camera.record": "recording begun", "camera.recorded": "recording ended",
    "skeletons.record": "skeletons begun", "skeletons.recorded": "recording ended",
    "skeletons.export": "skeletons exported", "skeletons.delete": "skeletons deleted",
    "settings.set": "setting changed", "camera.forget": "camera forgotten", "station.switch": "station switched",
    "station.certificate": "certificate made", "roles.assign": "role assigned", "roles.remove": "role removed",
    "site.close": "site closed", "box.installed": "box set up",
}  # fmt: skip
READ = {"status", "jobs.list", "jobs.get"}
# There is one of it: the live path of a site has one owner (test_live_path), a service one lock (test_one_door), and
# who comes to the ward's station, or leaves it, takes no name.
ONE = {"live.start", "live.began", "live.stop", "stop", "station.enter", "station.leave"}


def test_every_call_that_changes_a_site_is_tried_by_two() -> None:
    assert set(BY_CALL) | READ | ONE == set(api.CALLS)
    assert set(BY_CALL.values()) <= set(PAIRS)


def test_a_disk_that_fills_breaks_or_loses_power_amidst_an_operation_is_named_and_loses_nothing(
    suite: dict[str, list[dict[str, Any]]],
) -> None:
    if not suite["disk"]:
        pytest.skip("this user or this machine may not mount a file system")
    named = {row["fault"].partition(",")[0] for row in suite["disk"]}
    assert {"ext4 full", "ext4 300 KiB left", "ext4 without inodes", "ext4 read-only"} <= named
    assert {"ext4 failed to read-only", "ext4 with I/O errors", "no permission to write"} <= named
    assert all(row["tried"] and not row["lost"] for row in suite["disk"])


def test_what_does_not_hold_is_seen(in_use: SiteFolder) -> None:
    """The suite's own eyes: what it looks for, it finds."""
    site = in_use
    assert not list(faults_of(site))
    with site.database.transaction(immediate=True) as db:
        db.execute("DELETE FROM models WHERE name = 'first'")
        db.execute("DELETE FROM calibrations WHERE id = 1")
    (site.plates / "monday").rename(site.plates / "friday")
    assert len(list(faults_of(site))) >= 3


def cut_off_by_a_kill(site: SiteFolder, deed: str) -> None:
    """Run `deed` in a process that ends at once with `die()`, as a kill would end it."""
    program = (
        "import os\nfrom appliance.site import intents\nfrom appliance.site.folder import SiteFolder\n"
        f"def die(*_): os._exit(9)\nsite = SiteFolder.open({str(site.root)!r})\n{deed}"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False)
    assert done.returncode == 9


def test_what_was_done_is_completed_in_the_name_of_who_did_it(site: SiteFolder) -> None:
    cut_off_by_a_kill(
        site,
        "with intents.intend(site, 'plate.keep', 'monday', 'until May', made=site.plates / 'monday'):\n"
        "    (site.plates / 'monday').mkdir()\n    die()",
    )
    assert not audit.rows(site)
    (told,) = cut_off.settle(site)
    (row,) = audit.rows(site)
    assert "completed" in told and (row.what, row.subject) == ("plate.keep", "monday")
    assert row.reason == f"until May; {intents.CUT_OFF}" and not cut_off.settle(site)


def test_what_was_not_done_is_withdrawn_and_leaves_nothing(site: SiteFolder) -> None:
    half = site.calibrations / "half.json"
    cut_off_by_a_kill(
        site,
        "half = site.calibrations / 'half.json'\n"
        "with intents.intend(site, 'calibration.keep', 'tags', unmakes=[half]):\n    half.write_text('{')\n    die()",
    )
    assert half.exists()
    (told,) = cut_off.settle(site)
    assert "withdrawn" in told and not half.exists() and not calibrations.rows(site)
    assert audit.rows(site)[0].what == "calibration.keep.withdraw"


def test_a_deletion_that_was_cut_off_is_finished(site: SiteFolder) -> None:
    folder = site.plates / "monday"
    folder.mkdir()
    (folder / "color.png").touch()
    cut_off_by_a_kill(
        site, "intents.delete(site, 'plate.remove', 'monday', 'old', [site.plates / 'monday'], carry_out=die)"
    )
    assert folder.exists()
    cut_off.settle(site)
    assert not folder.exists() and audit.rows(site)[0].what == "plate.remove"


def test_a_name_is_taken_from_the_first_moment(site: SiteFolder) -> None:
    store = ModelStore(site)
    with store.adding("mine", origin="one"):
        with pytest.raises(WardposeError, match="being made by another program"), store.adding("mine", origin="two"):
            raise AssertionError("two made one model")
        with store.adding("yours", origin="beside it") as folder:
            assert folder == site.models / "yours"
            _model(folder)
        _model(site.models / "mine")
    assert [row.subject for row in audit.rows(site) if row.what == "model.add"] == ["mine", "yours"]


def test_what_failed_frees_its_name_and_is_not_told(site: SiteFolder) -> None:
    store = ModelStore(site)
    with pytest.raises(ZeroDivisionError), store.adding("mine", origin="one"):
        1 / 0  # noqa: B018
    with store.adding("mine", origin="again") as folder:
        _model(folder)
    assert [row.what for row in audit.rows(site)] == ["model.add"]


def test_a_model_whose_row_could_not_be_written_gets_it_later(
    site: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that fills with the last byte of a training: the work stays, its rows follow."""
    store = ModelStore(site)
    with monkeypatch.context() as patch, pytest.raises(OSError), store.adding("mine", origin="one") as folder:
        _model(folder)
        patch.setattr(audit, "add", _no_room)
    assert not audit.rows(site) and (site.models / "mine" / CARD_FILE).exists()
    cut_off.settle(site)
    assert audit.rows(site)[0].what == "model.add" and store.verify("mine")


def test_what_is_done_on_a_disk_that_takes_no_row_has_its_row_later(
    in_use: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (camera,) = secrets.kept(in_use.secrets_file)
    with monkeypatch.context() as patch, pytest.raises(DiskError):
        patch.setattr(audit, "add", _full)
        Deeds(in_use).ask("camera.forget", source=camera)
    assert not secrets.kept(in_use.secrets_file) and len(cut_off.settle(in_use)) == 1
    assert audit.rows(in_use)[0].what == "camera.forget"


def test_what_was_refused_is_not_done_later(in_use: SiteFolder) -> None:
    (engineer,) = [name for name, role in assigned(in_use).items() if role == "engineer"]
    with pytest.raises(WardposeError, match="nobody would be left"):
        assigning.remove(in_use, engineer, "by mistake")
    assert not cut_off.settle(in_use) and engineer in assigned(in_use)


def _full(*_: object, **__: object) -> None:
    raise DiskTrouble("full", "site.db").error()


def _no_room(*_: object, **__: object) -> None:
    raise OSError(28, os.strerror(28))


def _model(folder: Path) -> None:
    import numpy as np

    from tuning.store.card import ModelCard
    from tuning.store.save import save_model

    card = ModelCard(
        name=folder.name, task="detect", architecture="a", layout="yolo", width=64, height=64, sha256="0" * 64
    )
    save_model(folder, {"weight": np.zeros(2, np.float32)}, card)


def test_a_model_is_removed_through_the_one_door(in_use: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    from appliance.cli.main import main

    site = in_use
    home = ["--home", str(site.root)]
    assert main(["models", "remove", "first", *home]) == 2 and "first is live" in capsys.readouterr().err
    assert main(["models", "remove", "second", "--reason", "worse on every ward", *home]) == 0
    (row,) = [row for row in audit.rows(site) if row.what == "model.remove"]
    assert (row.subject, row.reason) == ("second", "worse on every ward")
    assert not (site.models / "second").exists()
