"""What the tests of backups share."""

from pathlib import Path

import pytest

from tests.unit.serving.backup.home import Home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An installation with two adapter versions, three files and two documents that are searched."""
    return make_home(tmp_path / "home")
