"""Tasks: a public model name and the behaviour behind it."""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from serving.settings.base import Items, Name, Settings
from serving.settings.problems import phrase
from serving.settings.retrieval import RetrievalSettings
from serving.settings.slo import SloSettings


def _read_if_path(value: object) -> object:
    """The JSON object in the file that ``value`` names, its keys in the file's order; any other value as it is.

    Read here and not where it is used, so that every process of an installation has the schema and not only a path.
    """
    if not isinstance(value, str):
        return value
    if not value:
        raise ValueError("is empty; write a JSON Schema, or the path of a file with one")
    path = Path(value).expanduser()
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the file {value}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the file {value} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError(f"the file {value} holds no JSON object")
    return schema


JsonSchema = Annotated[
    dict[str, Any],
    BeforeValidator(_read_if_path),
    WithJsonSchema({"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "string", "minLength": 1}]}),
]
"""A JSON Schema, written out or as the path of a file with one."""


class OutputContract(Settings):
    """The shape that a task's answers must have: enforced while decoding, validated again at the end."""

    json_schema: JsonSchema | None = Field(
        default=None,
        description="A JSON Schema that the answer satisfies, or the path of a JSON file with one. vLLM writes "
        "properties in the order that they have here: let it be the one that adapters were trained on. Programs that "
        "write YAML often sort keys (Helm does); a file keeps its order.",
    )
    regex: str | None = Field(default=None, description="A regular expression that the whole answer matches.")
    choice: Items[str] | None = Field(default=None, description="The answer is one of these strings.")
    grammar: str | None = Field(default=None, description="An EBNF grammar that the answer is derived from.")

    @field_validator("choice")
    @classmethod
    def _choices_differ(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not value:
            raise ValueError("needs at least one string")
        if value is not None and (len(set(value)) < len(value) or "" in value):
            raise ValueError("the strings must differ, and none may be empty")
        return value

    @field_validator("regex")
    @classmethod
    def _regex_compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"does not compile: {error}") from None
        return value

    @field_validator("json_schema")
    @classmethod
    def _schema_is_a_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(value or {})
        except SchemaError as error:
            place = ".".join(str(part) for part in error.absolute_path)
            raise ValueError(f"is not a JSON Schema: {f'`{place}`: ' if place else ''}{error.message}") from None
        return value

    @field_validator("grammar")
    @classmethod
    def _grammar_is_a_grammar(cls, value: str | None) -> str | None:
        from serving.grammars import grammar_matcher

        if value is not None:
            grammar_matcher(value)
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError("give exactly one of `json_schema`, `regex`, `choice`, `grammar`")
        return self


class SamplingDefaults(BaseModel):
    """The sampling fields that are checked; any other passes through to the engine."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=-1, ge=-1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    max_tokens: int = Field(default=1, ge=1)
    max_completion_tokens: int = Field(default=1, ge=1)
    max_output_tokens: int = Field(default=1, ge=1)
    min_tokens: int = Field(default=0, ge=0)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float = Field(default=1.0, gt=0)
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | int | None = None
    top_logprobs: int = Field(default=0, ge=0)
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    parallel_tool_calls: bool = True


_NOT_SAMPLING = {
    "model": "the caller names the model",
    "messages": "it is the request itself; use `system_prompt`",
    "prompt": "it is the request itself",
    "input": "it is the request itself",
    "instructions": "use `system_prompt`",
    "stream": "the caller decides how it reads the answer",
    "stream_options": "the caller decides how it reads the answer",
    "n": "the caller decides how many answers it reads",
    "response_format": "use `output`",
    "structured_outputs": "use `output`",
    "text": "use `output`",
}


class TaskSettings(Settings):
    """A public model name and the behaviour behind it."""

    adapter: Name | None = Field(default=None, description="Alias of the adapter. Default: the base model answers.")
    description: str = Field(default="", description="Shown in `/v1/models`.")
    system_prompt: str | None = Field(
        default=None, description="Put before the messages unless the caller sends a system message."
    )
    sampling: dict[str, Any] = Field(
        default_factory=dict,
        description="Defaults for request fields that the caller leaves out, such as `temperature` or `max_tokens`.",
    )
    output: OutputContract | None = Field(default=None, description="The shape that answers must have.")

    retrieval: RetrievalSettings | None = Field(
        default=None, description="The knowledge that answers are taken from. Default: none is searched."
    )
    log_texts: bool = Field(
        default=False,
        description="Whether prompts and answers are logged, redacted: what looks like an e-mail address, a payment "
        "card, a phone number, a key or a token is replaced.",
    )
    slo: SloSettings | None = Field(default=None, description="What it promises. Default: nothing is counted.")

    @field_validator("sampling")
    @classmethod
    def _sampling_is_sampling(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = SamplingDefaults.model_fields
        problems = []
        for key in value:
            if key in _NOT_SAMPLING:
                problems.append(f"`{key}`: cannot be a default: {_NOT_SAMPLING[key]}")
            elif key not in known and (near := difflib.get_close_matches(key, known, n=1, cutoff=0.85)):
                problems.append(f"`{key}`: unknown request field; did you mean `{near[0]}`?")
        try:
            SamplingDefaults.model_validate(value)
        except ValidationError as error:
            problems += [f"`{problem['loc'][0]}`: {phrase(problem)}" for problem in error.errors(include_url=False)]
        if problems:
            raise ValueError("\n".join(dict.fromkeys(problems)))
        return value
