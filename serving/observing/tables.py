"""The tables of drift and output quality. Changed only together with a module in ``revisions``."""

from pathlib import Path

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

from adapters.schema import Schema
from adapters.tables import UtcDateTime

metadata = MetaData()

SCHEMA = Schema(Path(__file__).parent / "revisions", "monitoring_schema", metadata)

_SERIAL = BigInteger().with_variant(Integer, "sqlite")

batches = Table(
    "monitoring_batches",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("content", Text, nullable=False),
    Index("ix_monitoring_batches_at", "at"),
)

keepers = Table(
    "monitoring_keepers",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(320), nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

states = Table(
    "monitoring_states",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("task", String(128), primary_key=True),
    Column("adapter", String(128), primary_key=True),
    Column("data", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

reports = Table(
    "monitoring_reports",
    metadata,
    Column("task", String(128), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),
)

references = Table(
    "monitoring_references",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("task", String(128), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("version", String(128)),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_monitoring_references_task", "task", "id"),
)

spending = Table(
    "monitoring_spending",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("task", String(128), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_monitoring_spending_task", "task", "at"),
)
