"""The tables of files, vector stores and their documents. Changed only together with a module in ``revisions``."""

from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
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

SCHEMA = Schema(Path(__file__).parent / "revisions", "knowledge_schema", metadata)

_SERIAL = BigInteger().with_variant(Integer, "sqlite")

files = Table(
    "knowledge_files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("serial", _SERIAL, nullable=False),
    Column("filename", String(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index("ix_knowledge_files_serial", "serial", unique=True),
)

stores = Table(
    "knowledge_stores",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("serial", _SERIAL, nullable=False),
    Column("name", String(256), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("configured", Boolean, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("labels", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_active_at", BigInteger, nullable=False),
    Column("expires_after_days", Integer),
    Column("index_name", String(64)),
    Column("recipe", Text),
    Column("building_name", String(64)),
    Column("building_recipe", Text),
    Index("ix_knowledge_stores_serial", "serial", unique=True),
    Index("ix_knowledge_stores_name", "name"),
)

documents = Table(
    "knowledge_documents",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("store_id", String(64), ForeignKey("knowledge_stores.id", ondelete="CASCADE"), nullable=False),
    Column("file_id", String(64), ForeignKey("knowledge_files.id", ondelete="CASCADE"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("error_code", String(32)),
    Column("error_message", Text),
    Column("attributes", JSON, nullable=False),
    Column("labels", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("chunking", JSON),
    Column("replaces", JSON, nullable=False),
    Column("batch_id", String(64)),
    Column("edition", BigInteger),
    Column("next_edition", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("passages", Integer, nullable=False),
    Column("usage_bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("accepted_at", Float, nullable=False),
    UniqueConstraint("store_id", "file_id", name="uq_knowledge_documents"),
    Index("ix_knowledge_documents_labels", "store_id", "labels", "status"),
    Index("ix_knowledge_documents_status", "status"),
    Index("ix_knowledge_documents_file", "file_id"),
    Index("ix_knowledge_documents_batch", "batch_id"),
    Index("ix_knowledge_documents_edition", "edition"),
    Index("ix_knowledge_documents_next_edition", "next_edition"),
    sqlite_autoincrement=True,
)

batches = Table(
    "knowledge_batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("store_id", String(64), ForeignKey("knowledge_stores.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

editions = Table(
    "knowledge_editions",
    metadata,
    # Numbers are never used again: a passage left over in an index can never pass for one of another document.
    Column("number", _SERIAL, primary_key=True, autoincrement=True),
    Column("index_name", String(64), nullable=False),
    Index("ix_knowledge_editions_index", "index_name"),
    sqlite_autoincrement=True,
)
