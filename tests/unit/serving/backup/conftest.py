"""What the tests of backups share."""

from pathlib import Path

import pytest

from tests.unit.serving.backup.home import Home, copied, make_home


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The one that every test gets a copy of."""
    return make_home(tmp_path_factory.mktemp("furnished") / "home")


@pytest.fixture
def home(furnished: Home, tmp_path: Path) -> Home:
    """An installation with two adapter versions, three files and two documents that are searched."""
    return copied(furnished, tmp_path / "home")
