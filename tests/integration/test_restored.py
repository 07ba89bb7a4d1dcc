"""A backup of an installation that serves, restored elsewhere, serves the same."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from serving.cli.main import build_app
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
    # In this process, where Milvus is imported already; a backup reads the index of another one.
    arguments = ["restore", "-c", str(file), "--from", place]
    done = await asyncio.to_thread(CliRunner().invoke, build_app("restore"), arguments, env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_it_serves_the_same_versions_documents_and_answers(
    picture: dict[str, Any], backups: str, embeddings: str, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "new", embeddings)

    told = await restored(file, backups)

    assert "4 adapter versions, 7 files, 3 documents with their vectors, 2 job folders" in told
    async with live_installation(file) as running:
        assert await running.picture() == picture
    # The index is open nowhere now, and read without a gateway.
    again = ["backup", "-c", str(file), "--to", backups, "--gateway", "http://127.0.0.1:9"]
    done = await asyncio.to_thread(CliRunner().invoke, build_app("backup"), again)
    assert done.exit_code == 0, done.output
    assert "4 adapter versions, 7 files, 3 documents with their vectors" in done.stdout


async def test_it_goes_on_from_where_the_original_was(
    original: LiveInstallation, backups: str, embeddings: str, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "new", embeddings)
    await restored(file, backups)
    async with live_installation(file) as running, running.http() as root, running.http("ada") as ada:
        before = await running.picture()
        added = await running.add_version(root, 9, promote=True)
        store = before["stores"][0]["store"]["id"]
        fresh = await running.attach(ada, store, "fresh.md", b"Fresh rolls come at six.")
        job = await running.start_job(ada, steps=1)
        after = await running.picture()

    editions = [one["edition"] for one in before["stores"][0]["passages"] if "edition" in one]
    (number,) = (
        one["edition"] for one in after["stores"][0]["passages"] if one.get("edition") not in {*editions, None}
    )
    assert number > max(editions)
    assert added in after["answers"][0]
    assert {file["id"] for file in after["files"]} - {file["id"] for file in before["files"]} >= {fresh}
    assert after["jobs"][0]["job"]["id"] == job
    assert after["jobs"][1:] == before["jobs"]
    assert after["history"][-len(before["history"]) :] == before["history"]


async def test_a_paused_job_begins_anew_and_ends(backups: str, embeddings: str, tmp_path: Path) -> None:
    file = write_config(tmp_path / "new", embeddings)
    await restored(file, backups)
    async with live_installation(file) as running:
        paused = next(one for one in (await running.picture())["jobs"] if one["job"]["status"] == "paused")
        (file.parent / "jobs" / "release").touch()
        version = await running.resume(paused["job"]["id"])
    assert version.startswith("cards@")


async def test_it_moves_to_postgresql_and_s3_and_back(
    picture: dict[str, Any],
    backups: str,
    embeddings: str,
    postgres_server: PostgresServer,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    bucket = f"s3://{s3_server.new_bucket()}"
    away = write_config(
        tmp_path / "a" / "new",
        embeddings,
        state={"url": postgres_server.new_database()},
        artifacts={"url": f"{bucket}/artifacts", "options": s3_server.options},
    )
    await restored(away, backups)
    async with live_installation(away) as running:
        assert await running.picture() == picture
        await back_up(running, f"{bucket}/backups")
        async with running.http() as root, running.http("ada") as ada:
            await running.add_version(root, 9)
            await running.attach(ada, picture["stores"][0]["store"]["id"], "fresh.md", b"Fresh rolls come at six.")

    back = write_config(tmp_path / "b" / "new", embeddings)
    await restored(back, f"{bucket}/backups", **s3_server.environment)
    async with live_installation(back) as running:
        assert await running.picture() == picture


async def test_documents_are_embedded_again_where_their_passages_were_left_out(
    original: LiveInstallation, picture: dict[str, Any], embeddings: str, tmp_path: Path
) -> None:
    told = await back_up(original, str(tmp_path / "backups"), "--without-index")
    assert "3 documents will be embedded again" in told
    file = write_config(tmp_path / "new", embeddings)
    await restored(file, str(tmp_path / "backups"))

    async with live_installation(file) as running:
        await running.settled()
        found = await running.picture()
    assert [store.pop("passages") for store in found["stores"]] != [store["passages"] for store in picture["stores"]]
    assert found == {**picture, "stores": [_without_passages(store) for store in picture["stores"]]}


async def test_an_embedded_index_is_read_only_with_an_administrators_key(
    original: LiveInstallation, tmp_path: Path
) -> None:
    done = await in_background(
        *("backup", "-c", str(original.file), "--to", str(tmp_path), "--gateway", original.url),
        environment={"LORAPLEX_API_KEY": "reader"},
    )

    assert done.returncode == 3
    assert "needs an API key with the admin role" in done.stderr
    assert "or leave the passages out with --without-index" in done.stderr
    assert not (tmp_path / "backups").exists()


def _without_passages(store: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in store.items() if name != "passages"}
