"""Versions, aliases, pins, staged versions, events and replica reports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Create the catalog's tables, at revision 0."""
    state = op.create_table(
        "catalog_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(state, [{"id": 1, "revision": 0}])
    op.create_table(
        "adapter_versions",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("adapter", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("base_model", sa.String(256), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("alpha", sa.Float, nullable=False),
        sa.Column("target_modules", sa.JSON, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
    )
    op.create_table(
        "adapter_aliases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("stable", sa.String(128)),
        sa.Column("canary", sa.String(128)),
        sa.Column("canary_share", sa.Float, nullable=False),
        sa.Column("shadow", sa.String(128)),
        sa.Column("previous", sa.String(128)),
    )
    op.create_table("adapter_pins", sa.Column("version", sa.String(128), primary_key=True))
    op.create_table("adapter_staged", sa.Column("version", sa.String(128), primary_key=True))
    _create_logs()


def _create_logs() -> None:
    op.create_table(
        "adapter_events",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("version", sa.String(128)),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_adapter_events_alias", "adapter_events", ["alias", "id"])
    op.create_table(
        "adapter_replicas",
        sa.Column("replica", sa.String(256), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("ready", sa.Boolean, nullable=False),
        sa.Column("address", sa.String(256)),
        sa.Column("holdings", sa.JSON, nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop everything."""
    for table in (
        "adapter_replicas",
        "adapter_events",
        "adapter_staged",
        "adapter_pins",
        "adapter_aliases",
        "adapter_versions",
        "catalog_state",
    ):
        op.drop_table(table)
