"""Values against a JSON Schema: whatever an answer holds, the check ends and says what is wrong."""

from typing import Any

from monitoring.json_schemas import BoundedSchema, Uncheckable
from training.evaluation.scorers.protocol import shorten
from training.evaluation.scorers.text import REGEX_TIMEOUT_S
from training.evaluation.types import Json


class SchemaCheck:
    """One schema (draft 2020-12) of a suite's author; see :class:`monitoring.json_schemas.BoundedSchema`."""

    def __init__(self, schema: Json) -> None:
        self._schema = BoundedSchema(schema, trusted=True)

    def problem(self, value: Any) -> str | None:
        """Why a value does not satisfy the schema, in words; None where it does. A check takes a second at most."""
        try:
            error = self._schema.first_error(value, REGEX_TIMEOUT_S)
        except Uncheckable as unknown:
            return shorten(str(unknown))
        return None if error is None else f"`{error.json_path}`: {shorten(error.message)}"
