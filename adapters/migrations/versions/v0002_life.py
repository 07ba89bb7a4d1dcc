"""Reports of versions, automatic rollouts, what they count, and the requests that callers may judge."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables, empty."""
    op.create_table(
        "adapter_reports",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("verdict", sa.String(32)),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
    )
    op.create_index("ix_adapter_reports_version", "adapter_reports", ["version", "id"])
    op.create_table(
        "adapter_rollouts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("candidate", sa.String(128), nullable=False),
        sa.Column("stable", sa.String(128)),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("policy", sa.JSON, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_adapter_rollouts_alias", "adapter_rollouts", ["alias", "id"])
    _create_counts()


def _create_counts() -> None:
    op.create_table(
        "adapter_signals",
        sa.Column("source", sa.String(320), primary_key=True),
        sa.Column("rollout", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("role", sa.String(16), primary_key=True),
        sa.Column("counts", sa.JSON, nullable=False),
    )
    op.create_table(
        "answered_requests",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("response_id", sa.String(256), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("caller", sa.String(128), nullable=False),
        sa.Column("task", sa.String(128), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("rollout", sa.Integer),
        sa.Column("score", sa.Float),
        sa.Column("comment", sa.Text),
        sa.Column("judged_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_answered_requests_response", "answered_requests", ["response_id"])
    op.create_index("ix_answered_requests_request", "answered_requests", ["request_id"])
    op.create_index("ix_answered_requests_at", "answered_requests", ["at"])


def downgrade() -> None:
    """Drop what was added."""
    for table in ("answered_requests", "adapter_signals", "adapter_rollouts", "adapter_reports"):
        op.drop_table(table)
