"""Observations on their way, windows and scores, reports, references, and what judges were asked."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TABLES = ("spending", "references", "reports", "states", "keepers", "batches")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "monitoring_batches",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_index("ix_monitoring_batches_at", "monitoring_batches", ["at"])
    op.create_table(
        "monitoring_keepers",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("holder", sa.String(320), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "monitoring_states",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("task", sa.String(128), primary_key=True),
        sa.Column("adapter", sa.String(128), primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    _create_what_people_see()


def _create_what_people_see() -> None:
    op.create_table(
        "monitoring_reports",
        sa.Column("task", sa.String(128), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "monitoring_references",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("task", sa.String(128), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("version", sa.String(128)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_monitoring_references_task", "monitoring_references", ["task", "id"])
    op.create_table(
        "monitoring_spending",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("task", sa.String(128), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_monitoring_spending_task", "monitoring_spending", ["task", "at"])


def downgrade() -> None:
    """Drop everything."""
    for table in _TABLES:
        op.drop_table(f"monitoring_{table}")
