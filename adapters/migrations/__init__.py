"""Alembic migrations of the catalog. :meth:`adapters.catalog.Catalog.migrate` runs them."""
