"""Backups over every kind of database, bucket and index that an installation may have."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Table, cast, insert, select, text
from sqlalchemy import Text as SqlText

from adapters.database import Database
from adapters.tables import events, requests, rollouts, versions
from retrieval.indexes.milvus import open_milvus
from serving.backup.errors import BackupInvalid, VaultUnavailable
from serving.backup.manifest import Manifest
from serving.backup.restore import Restore
from serving.backup.rows import insert_rows, read_rows, write_rows
from serving.backup.vault import Vault
from serving.knowledge.tables import documents, editions, files, stores
from serving.state import SCHEMAS, migrate_state, standings
from tests.milvus_server import MilvusServer
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server
from tests.unit.serving.backup.home import empty_home, make_home, nothing

MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
TEXTS = ("", 'it\'s "quoted" \\ and 🚀 \u2028', "line\nbreak\ttab", "x" * 100_000, "null")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A state database with every table."""
    url = f"sqlite:///{tmp_path}/state.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
    migrate_state(url)
    with closing(Database(url)) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Another one."""
    url = f"sqlite:///{tmp_path}/other.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
    migrate_state(url)
    with closing(Database(url)) as opened:
        yield opened


def fill(connection: Connection) -> None:
    """Rows with everything that is hard to carry over."""
    connection.execute(
        insert(versions),
        [
            {
                "name": f"a@{number:08x}",
                "adapter": "a",
                "digest": "0" * 64,
                "base_model": "b",
                "rank": 8,
                "alpha": 0.1 + 0.2,
                "target_modules": ["q", content],
                "size_bytes": 2**40 + number,
                "source": content,
                "created_at": MOMENT,
                "metadata": {"deep": [1, 2.5, None, True, {"text": content, "zero": "\u0000"}]},
            }
            for number, content in enumerate(TEXTS)
        ],
    )
    state = {"id": "s", "serial": 1, "name": "", "owner": "o", "configured": True, "metadata": {}, "labels": ""}
    connection.execute(insert(stores).values(**state, created_at=1, last_active_at=2))
    file = {"id": "f", "serial": 1, "filename": "f", "bytes": 1, "sha256": "0" * 64, "purpose": "p", "owner": "o"}
    connection.execute(insert(files).values(**file, created_at=1))
    document: dict[str, Any] = {"store_id": "s", "file_id": "f", "status": "completed", "labels": "", "title": ""}
    document |= {"attributes": {"a": 1.5}, "chunking": None, "replaces": [], "attempts": 0}
    document |= {"passages": 0, "usage_bytes": 0, "created_at": 1}
    connection.execute(insert(documents).values(**document, accepted_at=1234567890.123456))
    numbered: tuple[tuple[Table, dict[str, Any]], ...] = (
        (events, {"at": MOMENT, "actor": "a", "action": "b", "alias": "c", "version": None, "detail": ""}),
        (editions, {"index_name": "kb"}),
    )
    for table, values in numbered:
        last = None
        for _ in range(3):
            last = connection.execute(insert(table).values(**values)).inserted_primary_key
        assert last is not None
        connection.execute(table.delete().where(next(iter(table.primary_key.columns)) == last[0]))


TABLES = (versions, stores, files, documents, events, editions, rollouts, requests)


def carried(connection: Connection) -> dict[str, list[Any]]:
    """Every row, JSON as its text."""
    found = {}
    for table in TABLES:
        columns = [cast(column, SqlText) if column.type.python_type is dict else column for column in table.columns]
        found[table.name] = sorted(map(repr, connection.execute(select(*columns)).all()))
    return found


def test_rows_are_the_same_in_another_database(database: Database, other: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        fill(connection)
    with database.reading() as connection:
        for table in TABLES:
            write_rows(connection, table, tmp_path / table.name)
        before = carried(connection)
    with other.writing() as connection:
        for table in TABLES:
            insert_rows(connection, *read_rows(tmp_path / table.name))
    with other.reading() as connection:
        assert carried(connection) == before


def test_numbers_go_on_where_they_were_also_where_the_last_row_was_deleted(
    database: Database, other: Database, tmp_path: Path
) -> None:
    with database.writing() as connection:
        fill(connection)
    with database.reading() as connection:
        write_rows(connection, editions, tmp_path / "rows")
    with other.writing() as connection:
        insert_rows(connection, *read_rows(tmp_path / "rows"))
        made = connection.execute(insert(editions).values(index_name="kb")).inserted_primary_key
    assert made is not None
    assert made[0] == 4


def test_a_character_that_postgresql_stores_nowhere_does_not_hold_up_a_restore(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "home")
    catalog = home.catalog()
    with catalog.database.writing() as connection:
        connection.execute(text("UPDATE adapter_events SET detail = 'a' || char(0) || 'b'"))
    catalog.close()
    home.back_up()
    copy = empty_home(tmp_path / "copy", state={"url": postgres_server.new_database()})
    home.restore(copy)
    catalog = copy.catalog()
    assert {event.detail for event in catalog.history()} == {"a\ufffdb"}
    catalog.close()


def test_several_migrations_of_one_server_take_turns(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    told = list[int]()

    def migrate() -> None:
        told.append(sum(one.is_behind for one in migrate_state(url)))

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(told) == len(SCHEMAS)
    assert not any(one.is_behind for one in standings(url))


# Where backups lie


@pytest.fixture(params=["folder", "s3"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    """An empty place."""
    if request.param == "folder":
        return Vault(str(tmp_path / "backups"))
    server: S3Server = request.getfixturevalue("s3_server")
    return Vault(f"s3://{server.new_bucket()}/deep/backups", server.options)


def stored(vault: Vault, data: bytes) -> str:
    sha = hashlib.sha256(data).hexdigest()
    vault.put(data, sha)
    return sha


def test_a_piece_comes_back_as_it_went_in(vault: Vault, tmp_path: Path) -> None:
    assert vault.pieces() == {}
    assert vault.backups() == []
    whole = b"x" * 9_000_000
    (tmp_path / "big").write_bytes(whole)
    sha = hashlib.sha256(whole).hexdigest()
    vault.put_file(tmp_path / "big", sha)
    small = stored(vault, b"")

    assert vault.pieces() == {sha: len(whole), small: 0}
    vault.check(sha)
    vault.fetch(sha, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == whole
    assert vault.read(small) == b""


def test_a_piece_that_is_not_what_its_name_says_is_refused(vault: Vault, tmp_path: Path) -> None:
    sha = hashlib.sha256(b"right").hexdigest()
    vault.put(b"wrong", sha)
    for look in (vault.check, vault.read, lambda one: vault.fetch(one, tmp_path / "back")):
        with pytest.raises(BackupInvalid, match="is not what it was"):
            look(sha)
    with pytest.raises(BackupInvalid, match="is missing"):
        vault.check("0" * 64)
    with pytest.raises(BackupInvalid, match="not the name of a piece"):
        vault.read("../../etc/passwd")


def test_manifests_are_listed_in_order_and_unused_pieces_go(vault: Vault) -> None:
    names = ["20261122T070000Z-aaaaaa", "20261121T070000Z-bbbbbb"]
    for name in names:
        vault.write_manifest(name, name.encode())
    assert vault.backups() == names[::-1]
    assert vault.manifest(names[0]) == names[0].encode()
    vault.delete_manifest(names[0])
    vault.delete_manifest(names[0])
    with pytest.raises(BackupInvalid, match="there is no backup"):
        vault.manifest(names[0])
    kept, unused = stored(vault, b"kept"), stored(vault, b"unused")
    assert vault.tidy({kept}, 3600) == 0
    assert vault.tidy({kept}, -1) == 1
    assert vault.pieces() == {kept: 4}
    assert unused not in vault.pieces()


def test_a_bucket_that_refuses_is_named_without_its_key(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    vault = Vault(f"s3://{bucket}/backups", {**s3_server.options, "secret": "not-the-right-one"})
    with pytest.raises(VaultUnavailable, match=f"s3://{bucket}/backups, cannot be used") as refused:
        vault.put(b"x", hashlib.sha256(b"x").hexdigest())
    assert "not-the-right-one" not in str(refused.value)


# Indexes


def test_passages_move_to_a_milvus_server(milvus_server: MilvusServer, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    made = home.back_up()
    copy = empty_home(tmp_path / "copy", knowledge={"index": {"uri": milvus_server.uri}})
    manifest = Manifest.read(home.vault.manifest(made.id), made.id)

    told = Restore(copy.config, home.vault, manifest, lambda: open_milvus(milvus_server.uri), nothing).run()

    assert (told.documents, told.to_embed) == (2, 0)
    with closing(open_milvus(milvus_server.uri)) as server:
        for name, index in made.indexes.items():
            there, here = home.indexes.open(name), server.open(name)
            assert there is not None
            assert here is not None
            assert here.spec == there.spec
            assert here.documents() == set(index.editions)
            for number in index.editions:
                passages, vectors = there.stored(number)
                found, points = here.stored(number)
                assert found == passages
                np.testing.assert_array_equal(points, vectors)
            server.drop(name)
