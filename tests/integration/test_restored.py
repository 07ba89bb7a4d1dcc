"""A backup of an installation that serves, restored elsewhere, serves the same."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.embedding_server import embedding_server
from tests.installation import LiveInstallation, in_background, live_installation, write_config
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def embeddings() -> Iterator[str]:
    with embedding_server() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def original(tmp_path_factory: pytest.TempPathFactory, embeddings: str) -> AsyncIterator[LiveInstallation]:
    """The installation that is backed up, in use. It serves until the end of the module."""
    async with live_installation(write_config(tmp_path_factory.mktemp("original") / "home", embeddings)) as running:
        await running.fill()
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def picture(original: LiveInstallation) -> dict[str, Any]:
    return await original.picture()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backups(original: LiveInstallation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with one backup, made while the original served."""
    place = str(tmp_path_factory.mktemp("backups"))
    await back_up(original, place)
    return place


async def back_up(it: LiveInstallation, place: str, *options: str, **environment: str) -> str:
    done = await in_background(
        *("backup", "-c", str(it.file), "--to", place, "--gateway", it.url, *options),
        environment={"LORAPLEX_API_KEY": "root", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def restored(file: Path, place: str, **environment: str) -> str:
    done = await in_background("restore", "-c", str(file), "--from", place, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_it_serves_the_same_versions_documents_and_answers(
    picture: dict[str, Any], backups: str, embeddings: str, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "new", embeddings)
    told = await restored(file, backups)
    assert "4 adapter versions" in told
    async with live_installation(file) as running:
        assert await running.picture() == picture
