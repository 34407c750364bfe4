"""`site.toml`: defaults that explain themselves, mistakes told with their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.site.folder import SiteFolder, default_home
from appliance.site.settings import Settings, default_text, load_settings, read_settings, set_value
from calibration.errors import WardposeError
from tests.fuzz import broken_bytes


def test_the_first_look_writes_the_defaults_with_comments(site: SiteFolder) -> None:
    assert load_settings(site) == Settings()
    text = site.settings_file.read_text()
    assert "length = 2.0  # mattress length, metres (0.5 to 2.6)" in text
    assert load_settings(site) == Settings()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[bed]\n# long\nlength = 200\n", 3, "bed.length.*200.*0.5 to 2.6"),
        ('[camera]\nsource = "simulated"\n\n[tuning]\nepochs = "many"\n', 5, "tuning.epochs.*integer.*'many'"),
        ("[bed]\nlenght = 2.0\n", 2, "bed.lenght: there is no such setting.*has: length, width"),
        ("[bad]\n", 1, "bad: there is no such setting.*sections are: bed, camera"),
        ("bed.length = 9\n", 1, "bed.length"),
        ("[bed]\nwidth = 0.9\n[camera\n", 3, "not valid TOML"),
        ("[bed]\nwidth =", 2, "not valid TOML"),
        ("[tuning]\nimage_size = 417\n", 2, "multiple of 32"),
        ("[tuning]\nlearning_rate = nan\n", 2, "learning_rate.*got nan"),
        ("[bed]\nlength = inf\n", 2, "bed.length.*got inf"),
        ('[camera]\nsource = ["kinect"]\n', 2, "camera.source.*string"),
        ('camera = "kinect"\n', 1, "camera: .*got 'kinect'"),
    ],
)
def test_a_mistake_is_told_with_file_line_field_and_mend(site: SiteFolder, text: str, line: int, words: str) -> None:
    site.settings_file.write_text(text)
    with pytest.raises(WardposeError, match=rf"site\.toml line {line}: .*{words}") as caught:
        load_settings(site)
    assert caught.value.mend and "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_told(site: SiteFolder) -> None:
    site.settings_file.write_bytes(b"[bed]\nwidth = \x80")
    with pytest.raises(WardposeError, match=r"site\.toml line 2: holds a character that is no UTF-8"):
        load_settings(site)


def test_a_byte_order_mark_does_no_harm(site: SiteFolder) -> None:
    """As in hukkin/tomli#304."""
    site.settings_file.write_text("[bed]\nlength = 1.9\n", encoding="utf-8-sig")
    assert load_settings(site).bed.length == 1.9
    assert set_value(site, "bed", "height", 0.7).bed.length == 1.9


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=broken_bytes(default_text().encode()))
def test_a_damaged_file_is_settings_or_one_line(site: SiteFolder, content: bytes) -> None:
    site.settings_file.write_bytes(content)
    try:
        read = read_settings(site.settings_file)
    except WardposeError as error:
        assert "site.toml" in str(error) and "\n" not in str(error)
        return
    assert Settings.model_validate(read.model_dump()) == read


def test_a_tilde_is_somebodys_home_where_no_shell_has_seen_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WARDPOSE_HOME", "~/bed 7")
    assert default_home() == tmp_path / "bed 7" == SiteFolder.open("~/bed 7").root
    monkeypatch.setenv("WARDPOSE_HOME", "~nobody-of-that-name/site")
    with pytest.raises(WardposeError, match="nobody's home"):
        default_home()


def test_setting_one_value_leaves_every_other_line(site: SiteFolder) -> None:
    load_settings(site)
    before = site.settings_file.read_text().split("\n")
    assert set_value(site, "bed", "height", 0.7).bed.height == 0.7
    after = site.settings_file.read_text().split("\n")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1 and changed[0][1].startswith("height = 0.7  # mattress top")


@pytest.mark.parametrize(
    "text",
    [
        "[bed]\n# ours\nlength = 1.9 # measured\n\n[camera]\nsource = 'simulated'\n", "bed.length = 1.9\r\n",
        "bed = {length = 1.9}\n", "[camera]\nsource = 'simulated'",
    ],
)  # fmt: skip
def test_a_setting_is_found_whichever_way_the_file_is_written(site: SiteFolder, text: str) -> None:
    site.settings_file.write_text(text, newline="")
    for length in (2.1, 2.2):
        set_value(site, "bed", "length", length)
    assert set_value(site, "bed", "width", 0.8).bed.length == 2.2
    after = site.settings_file.read_text()
    assert load_settings(site).bed.width == 0.8 and after.count("length") == 1
    assert all(word in after for word in ("# ours", "# measured") if word in text)


def test_setting_a_wrong_value_changes_nothing(site: SiteFolder) -> None:
    load_settings(site)
    before = site.settings_file.read_text()
    with pytest.raises(WardposeError, match=r"site\.toml: bed\.height"):
        set_value(site, "bed", "height", 70)
    assert site.settings_file.read_text() == before


@settings(deadline=None)
@given(source=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40))
def test_any_source_text_survives_the_file(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    site = SiteFolder.open(tmp_path_factory.getbasetemp() / "settings-site")
    set_value(site, "camera", "source", source)
    assert load_settings(site).camera.source == source
