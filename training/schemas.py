"""JSON Schemas that come from outside."""

from typing import Any


def of_one_dialect(schema: Any) -> Any:
    """A schema without ``$schema``: jsonschema evaluates what has one by that draft's own class, not by ours.

    A property of that name has a schema for its value and stays.
    """
    if isinstance(schema, dict):
        return {
            name: of_one_dialect(inner)
            for name, inner in schema.items()
            if name != "$schema" or not isinstance(inner, str)
        }
    return [of_one_dialect(inner) for inner in schema] if isinstance(schema, list) else schema
