"""Samples of answers that wait to be scored, and their scores."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables, empty."""
    op.create_table(
        "answer_samples",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("rollout", sa.Integer, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("signal", sa.String(32), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("task", sa.String(128), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_answer_samples_rollout", "answer_samples", ["rollout", "signal"])
    op.create_index("ix_answer_samples_expires", "answer_samples", ["expires_at"])
    op.create_table(
        "sample_scores",
        sa.Column("source", sa.String(320), primary_key=True),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rollout", sa.Integer, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("signal", sa.String(32), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_sample_scores_rollout", "sample_scores", ["rollout", "signal"])


def downgrade() -> None:
    """Drop what was added."""
    op.drop_table("sample_scores")
    op.drop_table("answer_samples")
