"""Tool definitions and tool calls, as OpenAI's API has them."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic import BaseModel, ConfigDict, Field, field_validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from monitoring.json_schemas import of_one_dialect
from training.data.problems import refuse
from training.data.strict_json import parse_json
from training.errors import RowInvalid

Json = dict[str, Any]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]

MOST_STEPS = 2_000
"""Keywords of a schema that are evaluated for one call: a schema can ask for more work than there is time."""
LONGEST_SCHEMA = 100_000
"""Characters of a schema as JSON: one keyword may compare a value with all of them."""
_TYPES = 7
"""How many names of types JSON Schema has."""


class CalledFunction(BaseModel):
    """Which function is called, and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ToolName
    arguments: str
    """A JSON object, as text."""

    @field_validator("arguments")
    @classmethod
    def _is_an_object(cls, text: str) -> str:
        try:
            value = parse_json(text)
        except RowInvalid as error:
            refuse("arguments_not_json", f"the arguments must be a JSON object as a string: {error}")
        if not isinstance(value, dict):
            refuse("arguments_not_an_object", 'the arguments must be a JSON object as a string, such as "{}"')
        return text


class ToolCall(BaseModel):
    """One call that the assistant makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    type: Literal["function"]
    function: CalledFunction

    @property
    def arguments(self) -> Json:
        """The arguments, parsed."""
        parsed: Json = json.loads(self.function.arguments)
        return parsed

    def rendered(self) -> Json:
        """What a chat template gets: vLLM hands it the arguments parsed."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.function.name, "arguments": self.arguments},
        }


class ToolFunction(BaseModel):
    """A function that may be called."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ToolName
    description: str | None = None
    parameters: Json | None = None
    """JSON Schema of the arguments; without one they are not checked."""
    strict: bool | None = None

    @field_validator("parameters")
    @classmethod
    def _is_a_schema(cls, schema: Json | None) -> Json | None:
        if schema is None:
            return None
        if schema.get("type", "object") != "object":
            refuse("invalid_tool_schema", 'the arguments are an object: "type" must be "object"')
        text = json.dumps(schema)
        if len(text) > LONGEST_SCHEMA:
            refuse("invalid_tool_schema", f"the schema is longer than {LONGEST_SCHEMA:,} characters; shorten it")
        problem = _schema_problem(text)
        if problem is not None:
            refuse("invalid_tool_schema", f"not a JSON Schema: {problem}")
        return schema


class Tool(BaseModel):
    """One tool of a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["function"]
    function: ToolFunction

    def rendered(self) -> Json:
        """What a chat template gets: key for key what vLLM hands it, nulls included, so that prompts are equal."""
        function = self.function.model_dump()
        if function["strict"] is None:
            del function["strict"]
        return {"type": "function", "function": function}


def arguments_problem(tool: Tool, call: ToolCall) -> str | None:
    """Why a call's arguments are not what the tool asks for; None where they are.

    ``pattern`` and ``patternProperties`` are not evaluated, as a regular expression can take for ever, nor are
    references that lead outside the schema. A schema that takes more than MOST_STEPS counts as not satisfied.
    """
    if tool.function.parameters is None:
        return None
    try:
        return _checker(json.dumps(tool.function.parameters)).problem(call.arguments)
    except Exception as error:  # of references to what is no schema, and of numbers that no float holds
        return f"the tool's schema cannot be evaluated for them: {error!r}"[:300]


# Most rows of a file have the same few tools.
@functools.lru_cache(maxsize=64)
def _schema_problem(text: str) -> str | None:
    schema = json.loads(text)
    # The metaschema would compare every two of them with each other.
    if _has_many_types(schema):
        return f"a `type` has more than the {_TYPES} names that there are"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return error.message[:200]
    except Exception as error:  # what `re` raises for an expression out of its bounds, for one
        return f"it cannot be checked: {error!r}"[:200]
    return None


def _has_many_types(value: Any) -> bool:
    if isinstance(value, dict):
        types = value.get("type")
        return (isinstance(types, list) and len(types) > _TYPES) or any(map(_has_many_types, value.values()))
    return isinstance(value, list) and any(map(_has_many_types, value))


@functools.lru_cache(maxsize=64)
def _checker(schema: str) -> "_ArgumentsChecker":
    return _ArgumentsChecker(of_one_dialect(json.loads(schema)))


class _TooMuch(Exception):
    pass


_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_UNBOUNDED = frozenset({"pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems", "uniqueItems"})


class _ArgumentsChecker:
    """One schema, evaluated within a bounded number of steps."""

    def __init__(self, schema: Json) -> None:
        self._left = 0
        keywords = {name: self._counted(name, keyword) for name, keyword in Draft202012Validator.VALIDATORS.items()}
        # An empty registry: nothing is fetched, whatever a `$ref` says.
        self._validator = extend(Draft202012Validator, keywords)(  # type: ignore[no-untyped-call]
            schema, registry=Registry()
        )

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong, in a sentence; None where nothing is."""
        self._left = MOST_STEPS
        try:
            error = next(self._validator.iter_errors(arguments), None)
        except (_TooMuch, RecursionError):
            return "the tool's schema asks for more work than is done here; simplify it"
        except Unresolvable as unresolved:
            return f"the tool's schema refers to what is not in it: {unresolved.ref}"
        if error is None:
            return None
        where = ".".join(str(part) for part in error.absolute_path)
        return f"`{where}`: {error.message[:200]}" if where else error.message[:200]

    def _counted(self, name: str, keyword: _Keyword) -> _Keyword:
        def evaluate(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self._left -= 1
            if self._left < 0:
                raise _TooMuch
            if name in _UNBOUNDED or (name == "additionalProperties" and "patternProperties" in schema):
                return
            yield from keyword(validator, value, instance, schema) or ()

        return evaluate
