"""Where tests keep state: each test that asks for ``state_url`` runs over SQLite and over a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.database import CATALOG_SCHEMA, Database
from serving.jobs.tables import SCHEMA as JOBS_SCHEMA
from serving.knowledge.tables import SCHEMA as KNOWLEDGE_SCHEMA
from serving.observing.tables import SCHEMA as MONITORING_SCHEMA
from tests.postgres_server import PostgresServer

SCHEMAS = (CATALOG_SCHEMA, JOBS_SCHEMA, KNOWLEDGE_SCHEMA, MONITORING_SCHEMA)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a database with every table and no row; a copy of it takes less time than migrations."""
    url = postgres_server.new_database()
    migrate_all(url)
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of the test's own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database(request.getfixturevalue("postgres_template"))
    yield url
    server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_state_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """As ``state_url``, without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


def migrate_all(url: str) -> None:
    """Make the tables of every part."""
    for schema in SCHEMAS:
        database = Database(url, schema)
        database.migrate()
        database.close()
