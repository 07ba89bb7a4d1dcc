"""Alembic's entry point: runs on the connection, and inside the transaction, that the catalog hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    version_table="catalog_schema",
)
context.run_migrations()
