"""The tables of fine-tuning jobs. Changed only together with a module in ``revisions``."""

from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from adapters.schema import Schema

metadata = MetaData()

SCHEMA = Schema(Path(__file__).parent / "revisions", "jobs_schema", metadata)

_SERIAL = BigInteger().with_variant(Integer, "sqlite")

installation = Table("training_installation", metadata, Column("name", String(32), primary_key=True))

jobs = Table(
    "training_jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("serial", _SERIAL, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("status", String(24), nullable=False),
    Column("model", String(256), nullable=False),
    Column("method", String(24), nullable=False),
    Column("hyperparameters", JSON, nullable=False),
    Column("adapter", String(64), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("allow", JSON, nullable=False),
    Column("training_file", String(64), nullable=False),
    Column("validation_file", String(64)),
    Column("suffix", String(64)),
    Column("seed", BigInteger, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("estimated_finish", BigInteger),
    Column("error", JSON(none_as_null=True)),
    Column("version", String(128)),
    Column("trained_tokens", BigInteger),
    Column("fruitless_starts", Integer, nullable=False),
    Column("read_to", BigInteger, nullable=False),
    Column("announced", Boolean, nullable=False),
    Index("ix_training_jobs_serial", "serial", unique=True),
    Index("ix_training_jobs_status", "status"),
)

events = Table(
    "training_events",
    metadata,
    Column("number", _SERIAL, primary_key=True, autoincrement=True),
    Column("job_id", String(64), ForeignKey("training_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("level", String(8), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Index("ix_training_events_job", "job_id", "number"),
    sqlite_autoincrement=True,
)

checkpoints = Table(
    "training_checkpoints",
    metadata,
    Column("number", _SERIAL, primary_key=True, autoincrement=True),
    Column("job_id", String(64), ForeignKey("training_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("version", String(128)),
    # A trainer that crashed makes the steps since its last checkpoint again.
    UniqueConstraint("job_id", "step", name="uq_training_checkpoints"),
    sqlite_autoincrement=True,
)
