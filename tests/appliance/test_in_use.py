"""Which models a site runs, starts tuning from and can go back to, with the fetched models and without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.box import doctor
from appliance.box.doctor import Check
from appliance.jobs import kinds
from appliance.models.in_use import models_in_use, told_in_use
from appliance.models.store import ModelStore
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from calibration.errors import WardposeError


def in_use(site: SiteFolder) -> Check:
    return next(check for check in doctor.examine(site).checks if check.name == "models in use")


def test_a_box_without_the_fetched_models_has_a_makeshift_detector_and_no_skeleton(site: SiteFolder) -> None:
    detector, pose = told_in_use(site)
    assert (detector.name, detector.ok, detector.broken) == ("person-detector", False, False)
    assert "trained on synthetic images only" in detector.text
    assert (pose.name, pose.ok, pose.broken) == ("", False, False)
    assert "no skeleton is drawn" in pose.text
    check = in_use(site)
    assert not check.ok and check.optional and "no skeleton is drawn" in check.detail


def test_a_box_with_them_runs_them(fetched: Path, site: SiteFolder) -> None:
    assert models_in_use(site) == {"detect": "nanodet", "pose": "movenet-thunder"}
    assert all(model.ok and "trained on photographs" in model.text for model in told_in_use(site))
    assert in_use(site).ok


def test_the_settings_go_before_what_was_promoted(fetched: Path, site: SiteFolder) -> None:
    ModelStore(site).record_promotion("person-detector", accepted=True, reasons={})
    assert models_in_use(site)["detect"] == "person-detector"
    set_value(site, "live", "pose", "movenet-lightning")
    set_value(site, "live", "detector", "nanodet")
    assert models_in_use(site) == {"detect": "nanodet", "pose": "movenet-lightning"}


@pytest.mark.parametrize(("pose", "words"), [("nobody", "no model is called"), ("nanodet", "nanodet is no pose model")])
def test_a_setting_that_names_no_pose_model_needs_mending(
    fetched: Path, site: SiteFolder, pose: str, words: str
) -> None:
    set_value(site, "live", "pose", pose)
    check = in_use(site)
    assert not check.ok and not check.optional and words in check.detail


def test_a_damaged_model_in_use_needs_mending(fetched: Path, site: SiteFolder) -> None:
    (fetched / "movenet-thunder" / "model.onnx").write_bytes(b"cut")
    check = in_use(site)
    assert not check.ok and not check.optional and "movenet-thunder" in check.detail


def test_tuning_starts_from_what_the_box_has(site: SiteFolder, box_models: Path, small_models: Path) -> None:
    assert kinds.base_model(site, "detect") == "person-detector"
    with pytest.raises(WardposeError, match=r"no pose model to start from; .*wardpose models fetch"):
        kinds.base_model(site, "pose")
    shutil.copytree(small_models, box_models)
    assert (kinds.base_model(site, "detect"), kinds.base_model(site, "pose")) == ("nanodet", "movenet-thunder")
    set_value(site, "tuning", "base", "my-own")
    with pytest.raises(WardposeError, match="no model is called 'my-own'"):
        kinds.base_model(site, "detect")


def test_a_first_pose_model_has_none_to_be_taken_back_for(site: SiteFolder, small_models: Path) -> None:
    shutil.copytree(small_models / "movenet-lightning", site.models / "own")
    store = ModelStore(site)
    assert store.opponent("own") == ""
    store.record_promotion("own", accepted=True, reasons={})
    assert store.live("pose") == "own"
    with pytest.raises(WardposeError, match="no earlier model"):
        store.rollback("pose")
