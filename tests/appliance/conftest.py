"""A site of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.site_folder import SiteFolder


@pytest.fixture
def site(tmp_path: Path) -> SiteFolder:
    return SiteFolder.open(tmp_path / "site")
