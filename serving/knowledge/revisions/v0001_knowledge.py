"""Files, vector stores, documents, batches and editions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "knowledge_files",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("filename", sa.String(512), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_index("ix_knowledge_files_serial", "knowledge_files", ["serial"], unique=True)
    _create_stores()
    _create_documents()
    op.create_table(
        "knowledge_batches",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("store_id", sa.String(64), sa.ForeignKey("knowledge_stores.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "knowledge_editions",
        sa.Column("number", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("index_name", sa.String(64), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_knowledge_editions_index", "knowledge_editions", ["index_name"])


def _create_stores() -> None:
    op.create_table(
        "knowledge_stores",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("configured", sa.Boolean, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_active_at", sa.BigInteger, nullable=False),
        sa.Column("expires_after_days", sa.Integer),
        sa.Column("index_name", sa.String(64)),
        sa.Column("recipe", sa.Text),
        sa.Column("building_name", sa.String(64)),
        sa.Column("building_recipe", sa.Text),
    )
    op.create_index("ix_knowledge_stores_serial", "knowledge_stores", ["serial"], unique=True)
    op.create_index("ix_knowledge_stores_name", "knowledge_stores", ["name"])


def _create_documents() -> None:
    op.create_table(
        "knowledge_documents",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("store_id", sa.String(64), sa.ForeignKey("knowledge_stores.id", ondelete="CASCADE"), nullable=False),
        sa.Column("file_id", sa.String(64), sa.ForeignKey("knowledge_files.id", ondelete="CASCADE"), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error_code", sa.String(32)),
        sa.Column("error_message", sa.Text),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("chunking", sa.JSON),
        sa.Column("replaces", sa.JSON, nullable=False),
        sa.Column("batch_id", sa.String(64)),
        sa.Column("edition", sa.BigInteger),
        sa.Column("next_edition", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("passages", sa.Integer, nullable=False),
        sa.Column("usage_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("accepted_at", sa.Float, nullable=False),
        sa.UniqueConstraint("store_id", "file_id", name="uq_knowledge_documents"),
        sqlite_autoincrement=True,
    )
    for name, columns in (
        ("ix_knowledge_documents_labels", ["store_id", "labels", "status"]),
        ("ix_knowledge_documents_status", ["status"]),
        ("ix_knowledge_documents_file", ["file_id"]),
        ("ix_knowledge_documents_batch", ["batch_id"]),
        ("ix_knowledge_documents_edition", ["edition"]),
        ("ix_knowledge_documents_next_edition", ["next_edition"]),
    ):
        op.create_index(name, "knowledge_documents", columns)


def downgrade() -> None:
    """Drop everything."""
    for table in ("editions", "batches", "documents", "stores", "files"):
        op.drop_table(f"knowledge_{table}")
