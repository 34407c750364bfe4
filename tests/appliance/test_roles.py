"""Each role can do just its part, through the one service; until one is assigned, the owner can do everything."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from appliance.api import CALLS
from appliance.client import ServiceClient, ask_or_do
from appliance.live import pauses
from appliance.live.addresses import page_key_file, service_socket
from appliance.service import Service
from appliance.site import assigning, audit, roles
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.people import acting_as, current_user
from appliance.site.roles import NotAllowed, Role
from calibration.errors import WardposeError
from runtime.display.pausing import NOT_ALLOWED, PagePause
from runtime.display.pins import Pins
from runtime.display.service import DisplayServer
from tests.appliance.test_live_path import wait_for
from tests.appliance.test_one_door import EXAMPLES
from tests.runtime.page_client import press, watching

READING = {"status", "jobs.list", "jobs.get"}
# What each role may ask; the engineer may ask everything.
MAY: dict[Role, set[str]] = {
    "viewer": READING,
    "nurse": READING | {"live.pause", "live.resume"},
    "privacy-officer": READING
    | {"plates.remove", "camera.forget", "models.remove", "datasets.remove", "skeletons.delete"},
    "engineer": set(CALLS),
}
WHY = "a test"
# Accounts that every box has, for people; which is whose does not matter.
ENGINEER, NURSE, OFFICER = "daemon", "bin", "nobody"


@pytest.fixture
def staffed(site: SiteFolder) -> SiteFolder:
    assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, NURSE, "nurse", WHY)
    assigning.assign(site, OFFICER, "privacy-officer", WHY)
    return site


@pytest.fixture
def service(site: SiteFolder) -> Iterator[Service]:
    service = Service(site)
    yield service
    service._lock_file.close()


@pytest.fixture
def client(site: SiteFolder) -> Iterator[ServiceClient]:
    with ServiceClient.connect(site) as client:
        yield client


def asked(service: Service, person: str, call: str, **parameters: Any) -> dict[str, Any]:
    with acting_as(person):
        return service.answer(json.dumps({"call": call, "version": 2, "parameters": parameters}).encode())


def refused(answer: dict[str, Any]) -> bool:
    return not answer["ok"] and answer["error"]["exit_code"] == NOT_ALLOWED


@pytest.mark.parametrize("role", get_args(Role))
def test_a_role_can_do_just_its_part(service: Service, site: SiteFolder, role: Role) -> None:
    if role != "engineer":
        assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, NURSE, role, WHY)
    # A deed is not carried out here: whether it is let through is the question.
    service._calls = dict.fromkeys(CALLS, lambda _: pytest.fail("carried out"))
    may = set()
    for name, parameters in EXAMPLES.items():
        try:
            if not refused(asked(service, f"{NURSE} (as wardpose)", name, **parameters)):
                may.add(name)
        except pytest.fail.Exception:
            may.add(name)
    assert may == MAY[role]


def test_every_call_names_who_may_and_no_role_is_left_out() -> None:
    assert all(call.may <= roles.EVERYBODY and "engineer" in call.may for call in CALLS.values())
    assert set(roles.MEANING) == roles.EVERYBODY == set(get_args(Role))


def test_until_a_role_is_assigned_the_owner_is_engineer_and_privacy_officer(service: Service, site: SiteFolder) -> None:
    assert roles.roles_of(current_user(), roles.assigned(site)) == {"engineer", "privacy-officer"}
    assert asked(service, current_user(), "live.pause")["ok"]
    row = audit.rows(site)[0]
    assert row.who == current_user() and row.role == "owner"


def test_who_did_what_in_which_role_stands_in_each_row(service: Service, staffed: SiteFolder) -> None:
    assert asked(service, f"{NURSE} (as wardpose)", "live.pause", reason="washing")["ok"]
    row = audit.rows(staffed)[0]
    assert (row.what, row.who, row.role) == ("live.pause", f"{NURSE} (as wardpose) [nurse]", "nurse")
    assert row.to_dict()["role"] == "nurse"
    assert audit.rows(staffed, who=NURSE) == [row]
    assert audit.verify(staffed).whole


def test_a_refusal_says_who_may(service: Service, staffed: SiteFolder) -> None:
    error = asked(service, NURSE, "live.stop", reason=WHY)["error"]
    assert f"{NURSE} is nurse here and may not do this: live.stop" in error["what"]
    assert error["mend"] == "ask the engineer; see `wardpose roles`"


def test_whoever_has_no_role_sees_how_the_box_is_and_no_more(service: Service, staffed: SiteFolder) -> None:
    assert asked(service, "games", "jobs.list")["ok"]
    assert refused(asked(service, "games", "live.pause"))
    assert refused(asked(service, "games", "live.pause", place="somebody at the bedside page"))
    assert not pauses.switch(staffed).active


def test_a_group_gives_its_people_their_role(site: SiteFolder) -> None:
    group = roles._groups(pwd.getpwuid(os.getuid()).pw_name)[0]
    assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, group, "nurse", WHY)
    assert roles.roles_of(pwd.getpwuid(os.getuid()).pw_name, roles.assigned(site)) == {"nurse"}


def test_somebody_is_left_who_may_assign_roles(site: SiteFolder) -> None:
    with pytest.raises(WardposeError, match="nobody would be left"):
        assigning.assign(site, NURSE, "nurse", WHY)
    assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, NURSE, "nurse", WHY)
    with pytest.raises(WardposeError, match="nobody would be left"):
        assigning.remove(site, ENGINEER, WHY)
    with pytest.raises(WardposeError, match="nobody would be left"):
        assigning.assign(site, ENGINEER, "viewer", WHY)
    assigning.remove(site, NURSE, WHY)
    assigning.remove(site, ENGINEER, WHY)  # the last of all: the owner may do everything again
    assert roles.assigned(site) == {}


@pytest.mark.parametrize("name", ["", "no-such-account-here", "@no-such-group", "a\nb", "anna [engineer]", "x" * 60])
def test_a_name_that_is_none_gets_no_role(site: SiteFolder, name: str) -> None:
    with pytest.raises(WardposeError):
        assigning.assign(site, name, "engineer", WHY)
    assert roles.assigned(site) == {} and audit.rows(site) == []


def test_a_pin_must_not_be_easy_and_is_kept_as_a_hash(site: SiteFolder) -> None:
    assigning.assign(site, ENGINEER, "engineer", WHY)
    for easy in ("0000", "1212", "1234", "9876", "12", "12345678901234", "12a4"):
        with pytest.raises(WardposeError, match="too easy"):
            assigning.assign(site, "Schwester Anna", "nurse", WHY, pin=easy)
    assert "Schwester Anna" not in roles.assigned(site)
    assigning.assign(site, "Schwester Anna", "nurse", WHY, pin="480261")
    kept = site.pins_file
    assert kept.stat().st_mode & 0o777 == 0o600 and "480261" not in kept.read_text()
    assert Pins(kept).whose("480261") == "Schwester Anna" and Pins(kept).whose("480262") == ""
    with pytest.raises(WardposeError, match="can't be taken"):
        assigning.assign(site, "Bruder Ben", "nurse", WHY, pin="480261")
    with pytest.raises(WardposeError, match="a PIN is for"):
        assigning.assign(site, OFFICER, "privacy-officer", WHY, pin="480262")
    assigning.remove(site, "Schwester Anna", WHY)
    assert not Pins(kept).any


def test_at_the_page_anybody_pauses_and_whoever_has_a_pin_resumes(
    client: ServiceClient, site: SiteFolder, tmp_path: Path
) -> None:
    assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, "Schwester Anna", "nurse", WHY, pin="480261")
    switch, pins = pauses.switch(site), Pins(site.pins_file)
    with (
        DisplayServer(
            tmp_path / "live.sock", switch, page_key_file(site), service=service_socket(site), pins=pins, port=0
        ) as shown,
        watching(shown) as page,
    ):
        assert press(page, "pause")["ok"]
        for wrong in ("", "480262"):
            answer = press(page, "resume", pin=wrong)
            assert answer["refused"] and switch.active
        assert press(page, "resume", pin="480261")["ok"]
    assert not switch.active
    expected = {
        ("live.pause", "somebody at the bedside page [nurse]"),
        ("pin.refuse", f"{current_user()} [box]"),
        ("live.resume", "Schwester Anna at the bedside page [nurse]"),
    }
    # A service that was slow to answer gives the pause its row a little later.
    wait_for(lambda: {(row.what, row.who) for row in audit.rows(site)} >= expected)


def test_guesses_end_soon(service: Service, site: SiteFolder) -> None:
    assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, "Schwester Anna", "nurse", WHY, pin="480261")
    guess = {"place": "somebody at the bedside page", "reason": "pressed"}
    answers = [asked(service, current_user(), "live.resume", pin=f"77{n:02}31", **guess) for n in range(6)]
    told = [answer["error"]["what"] for answer in answers]
    assert told == ["this PIN is nobody's"] * 5 + ["too many wrong PINs"]
    assert refused(asked(service, current_user(), "live.resume", pin="480261", **guess))


def test_where_no_service_answers_a_pin_can_not_be_gone_round(site: SiteFolder) -> None:
    assigning.assign(site, ENGINEER, "engineer", WHY)
    assigning.assign(site, "Schwester Anna", "nurse", WHY, pin="480261")
    page = PagePause(pauses.switch(site), service_socket(site), Pins(site.pins_file))
    page.set()
    with pytest.raises(WardposeError, match="service does not answer"):
        page.lift("480261")
    assert page.active


def test_what_is_done_without_a_service_asks_for_the_role_too(staffed: SiteFolder) -> None:
    with acting_as(OFFICER), pytest.raises(NotAllowed):
        ask_or_do(staffed, "live.pause", lambda: pytest.fail("done"), reason="")
    with acting_as(NURSE):
        assert ask_or_do(staffed, "live.pause", lambda: "done", reason="") == "done"


def test_a_pause_wants_nothing_of_a_damaged_database(site: SiteFolder) -> None:
    site.database.path.write_bytes(b"no database" * 1000)
    assert ask_or_do(site, "live.pause", lambda: "done", reason="") == "done"


def command(site: SiteFolder, *words: str, login: int | None = None, typed: str = "") -> tuple[int, dict[str, Any]]:
    environment = dict(os.environ, WARDPOSE_HOME=str(site.root)) | ({} if login is None else {"SUDO_UID": str(login)})
    ended = subprocess.run(
        [sys.executable, "-m", "appliance", *words, "--json"], cwd=REPOSITORY, env=environment, input=typed,
        capture_output=True, text=True,
    )  # fmt: skip
    return ended.returncode, json.loads(ended.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is believed when it says who has logged in")
def test_the_command_lists_and_assigns_and_the_kernel_says_who_asks(site: SiteFolder) -> None:
    engineer, nurse = pwd.getpwnam(ENGINEER).pw_uid, pwd.getpwnam(NURSE).pw_uid
    if Path("/proc/self/loginuid").read_text() != str(2**32 - 1):
        pytest.skip("this process has a log-in of its own")
    assert command(site, "roles", "assign", ENGINEER, "engineer")[0] == 0
    assert command(site, "roles", "assign", NURSE, "nurse", "--pin", login=engineer, typed="480261\n")[0] == 0
    _, told = command(site, "roles", login=nurse)
    assert told["roles"] == [
        {"name": NURSE, "role": "nurse", "pin": True},
        {"name": ENGINEER, "role": "engineer", "pin": False},
    ]
    assert told["you"] == {"name": f"{NURSE} (as root)", "roles": ["nurse"]}
    assert command(site, "roles", "remove", NURSE, login=nurse)[0] == NOT_ALLOWED
    assert command(site, "audit", login=nurse)[0] == NOT_ALLOWED
    assert command(site, "audit", login=engineer)[1]["rows"][-1]["who"] == f"{ENGINEER} (as root) [engineer]"
    os.kill(ServiceClient(site).status()["pid"], signal.SIGTERM)
