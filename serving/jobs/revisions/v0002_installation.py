"""A name of the installation, by which it knows its own folders among those of others."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Name it, once and for all."""
    table = op.create_table("training_installation", sa.Column("name", sa.String(32), primary_key=True))
    op.bulk_insert(table, [{"name": uuid.uuid4().hex}])


def downgrade() -> None:
    """Drop what was added."""
    op.drop_table("training_installation")
