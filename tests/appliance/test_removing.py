"""Models and data sets are deleted through the service, and what is in use is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.client import ServiceClient
from appliance.jobs import datasets
from appliance.jobs.store import JobStore
from appliance.models.store import ModelStore
from appliance.site import audit
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError


@pytest.fixture
def owned(fetched: Path, site: SiteFolder) -> SiteFolder:
    """A site with a model of its own, called mine."""
    with ModelStore(site).adding("mine", origin="a test") as folder:
        shutil.copytree(fetched / "nanodet", folder)
    return site


def test_a_model_is_deleted_with_its_row_and_leaves_one_in_the_trail(owned: SiteFolder) -> None:
    with ServiceClient.connect(owned) as client:
        client.call("models.remove", name="mine", reason="it misses people")
    assert not (owned.models / "mine").exists()
    assert [(row.what, row.subject, row.reason) for row in audit.rows(owned, 1)] == [
        ("model.remove", "mine", "it misses people")
    ]


def test_a_model_that_is_live_or_would_be_put_back_or_came_with_the_box_stays(owned: SiteFolder) -> None:
    store = ModelStore(owned)
    with pytest.raises(WardposeError, match="came with the box"):
        store.remove("nanodet")
    store.record_promotion("mine", accepted=True, reasons={})
    with pytest.raises(WardposeError, match="is live"):
        store.remove("mine")
    shutil.copytree(owned.models / "mine", owned.models / "newer")
    store.record_promotion("newer", accepted=True, reasons={})
    with pytest.raises(WardposeError, match="roll back"):
        store.remove("mine")
    assert (owned.models / "mine").is_dir()


@pytest.mark.parametrize("name", ["..", ".", "", "../models", "none"])
def test_only_a_data_set_of_this_site_is_deleted(site: SiteFolder, name: str) -> None:
    (site.models / "kept.txt").write_text("kept")
    with pytest.raises(WardposeError, match="no data set"):
        datasets.remove(site, name)
    assert (site.models / "kept.txt").exists()


def test_a_data_set_goes_with_its_sheets(site: SiteFolder) -> None:
    for folder in (site.datasets / "images-1", site.pictures / "images-1"):
        folder.mkdir()
        (folder / "annotations.json").write_text("{}")
    with ServiceClient.connect(site) as client:
        client.call("datasets.remove", name="images-1", reason="too few")
    assert not (site.datasets / "images-1").exists() and not (site.pictures / "images-1").exists()
    assert audit.rows(site, 1)[0].what == "dataset.remove"


def test_what_a_job_works_with_is_not_taken_from_it(owned: SiteFolder) -> None:
    JobStore(owned).submit("tune", {"model": "mine", "data": str(owned.datasets / "images-1"), "name": "new"})
    with ServiceClient.connect(owned) as client, pytest.raises(WardposeError, match="uses mine"):
        client.call("models.remove", name="mine", reason="a test")
