"""The catalog's tables. Changed only together with a migration in ``migrations/versions``."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always in UTC: SQLite forgets time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC. A time without a zone is refused: nobody could say when it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give UTC back."""
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


metadata = MetaData()

_SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of this type, which is of 64 bits there."""

state = Table(
    "catalog_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

versions = Table(
    "adapter_versions",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("adapter", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("base_model", String(256), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("alpha", Float, nullable=False),
    Column("target_modules", JSON, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("metadata", JSON, nullable=False),
)

aliases = Table(
    "adapter_aliases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("stable", String(128)),
    Column("canary", String(128)),
    Column("canary_share", Float, nullable=False),
    Column("shadow", String(128)),
    Column("previous", String(128)),
)

pins = Table("adapter_pins", metadata, Column("version", String(128), primary_key=True))

staged = Table("adapter_staged", metadata, Column("version", String(128), primary_key=True))

events = Table(
    "adapter_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("action", String(32), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("version", String(128)),
    Column("detail", Text, nullable=False),
    Index("ix_adapter_events_alias", "alias", "id"),
)

replicas = Table(
    "adapter_replicas",
    metadata,
    Column("replica", String(256), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("address", String(256)),
    Column("holdings", JSON, nullable=False),
    Column("reported_at", UtcDateTime, nullable=False),
)

reports = Table(
    "adapter_reports",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("version", String(128), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("verdict", String(32)),
    Column("summary", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("actor", String(256), nullable=False),
    Index("ix_adapter_reports_version", "version", "id"),
)

rollouts = Table(
    "adapter_rollouts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("alias", String(64), nullable=False),
    Column("candidate", String(128), nullable=False),
    Column("stable", String(128)),
    Column("phase", String(32), nullable=False),
    Column("share", Float, nullable=False),
    Column("policy", JSON, nullable=False),
    Column("state", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Index("ix_adapter_rollouts_alias", "alias", "id"),
)

signals = Table(
    "adapter_signals",
    metadata,
    Column("source", String(320), primary_key=True),
    Column("rollout", Integer, primary_key=True, autoincrement=False),
    Column("role", String(16), primary_key=True),
    Column("counts", JSON, nullable=False),
)

requests = Table(
    "answered_requests",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("response_id", String(256), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("caller", String(128), nullable=False),
    Column("task", String(128), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("version", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("rollout", Integer),
    Column("score", Float),
    Column("comment", Text),
    Column("judged_at", UtcDateTime),
    Index("ix_answered_requests_response", "response_id"),
    Index("ix_answered_requests_request", "request_id"),
    Index("ix_answered_requests_at", "at"),
)

samples = Table(
    "answer_samples",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("rollout", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("signal", String(32), nullable=False),
    Column("version", String(128), nullable=False),
    Column("task", String(128), nullable=False),
    Column("content", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_answer_samples_rollout", "rollout", "signal"),
    Index("ix_answer_samples_expires", "expires_at"),
)

sample_scores = Table(
    "sample_scores",
    metadata,
    Column("source", String(320), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("rollout", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("signal", String(32), nullable=False),
    Column("value", Float),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_sample_scores_rollout", "rollout", "signal"),
)
