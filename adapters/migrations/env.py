"""Alembic's entry point: runs on the connection, and inside the transaction, that the database hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
