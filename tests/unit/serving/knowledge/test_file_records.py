"""Places in the order of arrival."""

from typing import Any

from sqlalchemy import create_mock_engine

from serving.knowledge.file_records import next_serial
from serving.knowledge.tables import files


class Result:
    """The highest serial."""

    def scalar_one(self) -> int:
        return 6


def _said(dialect: str) -> tuple[int, list[str]]:
    """The next serial, and the statements that found it."""
    statements: list[str] = []

    class Connection:
        def __init__(self) -> None:
            self.dialect = create_mock_engine(f"{dialect}://", lambda *_: None).dialect

        def execute(self, statement: Any, values: Any = None) -> Result:
            statements.append(str(statement))
            return Result()

    connection: Any = Connection()
    return next_serial(connection, files), statements


def test_postgresql_gives_one_place_to_one_writer_at_a_time() -> None:
    serial, statements = _said("postgresql+psycopg")
    assert serial == 7
    assert "pg_advisory_xact_lock" in statements[0]
    assert "max(" in statements[1]


def test_sqlite_has_one_writer_anyway() -> None:
    serial, statements = _said("sqlite")
    assert (serial, len(statements)) == (7, 1)
