"""Every change of the settings has its row: made by a command, in the terminal UI, or with an editor."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from appliance.site import audit
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from appliance.site.settings import load_settings, set_value
from calibration.errors import WardposeError


def rows(site: SiteFolder) -> list[tuple[str, str, str]]:
    return [(row.who, row.what, row.reason) for row in audit.rows(site)]


def edit(site: SiteFolder, before: str, after: str) -> None:
    text = site.settings_file.read_text()
    assert before in text
    site.settings_file.write_text(text.replace(before, after))


def test_the_first_file_of_defaults_is_nobodys_change(site: SiteFolder) -> None:
    load_settings(site)
    load_settings(site)
    assert rows(site) == []


def test_a_change_by_a_command_names_the_person_and_both_values(site: SiteFolder) -> None:
    set_value(site, "bed", "height", 0.7)
    assert rows(site) == [(current_user(), "settings.change", "bed.height 0.55 → 0.7")]
    load_settings(site)
    assert len(rows(site)) == 1


def test_a_change_that_is_refused_leaves_no_row(site: SiteFolder) -> None:
    with pytest.raises(WardposeError):
        set_value(site, "bed", "height", 70)
    assert rows(site) == []


def test_an_edit_by_hand_is_noticed_when_the_settings_are_read_next(site: SiteFolder) -> None:
    load_settings(site)
    edit(site, "height = 0.55", "height = 0.8")
    os.utime(site.settings_file, (0, 1_700_000_000))
    load_settings(site)
    load_settings(site)
    ((who, what, why),) = rows(site)
    assert (who, what) == ("unknown", "settings.edit")
    assert why.startswith("bed.height 0.55 → 0.8 (edited by hand, last at 2023-11-1")
    assert why.endswith(f"noticed by {current_user()})")


def test_an_edit_of_a_comment_is_told_as_one(site: SiteFolder) -> None:
    load_settings(site)
    edit(site, "# wardpose:", "# our wardpose:")
    load_settings(site)
    assert rows(site)[0][2].startswith("no setting but a comment")


def test_a_file_prepared_before_the_box_ran_is_an_edit_too(site: SiteFolder) -> None:
    site.settings_file.write_text("[bed]\nwidth = 1.0\n")
    load_settings(site)
    assert rows(site)[0][2].startswith("bed.width 0.9 → 1.0 (edited by hand")


def test_a_mistake_is_noticed_once_it_is_mended(site: SiteFolder) -> None:
    load_settings(site)
    edit(site, "height = 0.55", "height = 55")
    with pytest.raises(WardposeError):
        load_settings(site)
    assert rows(site) == []
    edit(site, "height = 55", "height = 0.75")
    load_settings(site)
    assert rows(site)[0][2].startswith("bed.height 0.55 → 0.75")


def test_a_password_is_in_no_row(site: SiteFolder) -> None:
    load_settings(site)
    edit(site, '"simulated"', '"video:rtsp://admin:s3cret@camera/x"')
    load_settings(site)
    set_value(site, "camera", "source", "video:rtsp://admin:n3wpass@camera/y")
    told = "\n".join(why for _, _, why in rows(site))
    assert "s3cret" not in told and "n3wpass" not in told
    assert '"simulated" → "video:rtsp://***@camera/x"' in told
    assert 'camera.source "video:rtsp://***@camera/x" → "video:rtsp://***@camera/y"' in told


def test_readers_beside_a_writer_take_no_change_for_an_edit(tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / "site")
    load_settings(site)
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            load_settings(site)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(12):
        set_value(site, "bed", "height", 0.5 + number / 100)
    done.set()
    for reader in readers:
        reader.join()
    assert [what for _, what, _ in rows(site)] == ["settings.change"] * 12
