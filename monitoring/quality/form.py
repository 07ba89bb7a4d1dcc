"""Whether an answer has the form that it was promised to have, and whether its tool calls can be carried out."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from time import monotonic
from typing import Any

from monitoring.json_schemas import BoundedSchema, Uncheckable
from monitoring.json_text import parse_json, unfenced
from monitoring.observed import ObservedAnswer, Tool, ToolCall
from monitoring.quality.options import FormOptions
from monitoring.quality.types import Check

_CUT_OFF = "length"


def form(answer: ObservedAnswer, options: FormOptions) -> Iterator[Check]:
    """``parse`` and ``schema`` of an answer with a promised form; nothing for one that calls tools, or is empty.

    The two tell failures apart: text that is no JSON has no verdict on its schema, and JSON that a token limit cut off
    has none at all, which ``truncated`` tells. Where the gateway has held the answer against its contract, that
    verdict stands.
    """
    contract, text = answer.contract, answer.answer
    if answer.tool_calls or not text.strip():
        return
    violated = answer.contract_violation is not None
    if contract is not None and contract.kind != "json_schema":
        if answer.finish_reason != _CUT_OFF:
            yield Check("schema", float(violated), f"breaks its {contract.kind}" if violated else "")
        return
    if (contract is None and not options.expects_json) or len(text) > options.most_characters:
        return
    try:
        value = parse_json(unfenced(text) if options.allow_fence else text)
    except ValueError:
        if answer.finish_reason != _CUT_OFF:
            yield Check("parse", 1.0, "is no JSON")
        return
    yield Check("parse", 0.0)
    schema = None if contract is None else contract.schema
    if violated:
        yield Check("schema", 1.0, "breaks its schema")
    elif schema is not None:
        yield from _fits(value, schema, options, monotonic() + options.seconds)


def tool_call(answer: ObservedAnswer, options: FormOptions) -> Check | None:
    """Bad where any call cannot be carried out; None for an answer without calls."""
    if not answer.tool_calls:
        return None
    tools = {tool.name: tool for tool in answer.tools}
    until = monotonic() + options.seconds
    problems = (_problem(call, tools, options, until) for call in answer.tool_calls)
    problem = next(filter(None, problems), None)
    return Check("tool_call", 0.0) if problem is None else Check("tool_call", 1.0, problem)


def _problem(call: ToolCall, tools: Mapping[str, Tool], options: FormOptions, until: float) -> str | None:
    tool = tools.get(call.name)
    if tool is None:
        return "calls a tool that the request does not offer"
    if len(call.arguments) > options.most_characters:
        return None
    try:
        arguments = parse_json(call.arguments)
    except ValueError:
        return "its arguments are no JSON"
    if not isinstance(arguments, dict):
        return "its arguments are no object"
    found = () if tool.parameters is None else tuple(_fits(arguments, tool.parameters, options, until))
    return next((f"its arguments: {check.detail}" for check in found if check.badness), None)


def _fits(value: Any, schema: Mapping[str, Any], options: FormOptions, until: float) -> Iterator[Check]:
    """The keyword that a value breaks; nothing where that cannot be said until then, by the monotonic clock."""
    if monotonic() > until:
        return
    try:
        text = json.dumps(dict(schema))
    except (TypeError, ValueError, RecursionError):
        return
    compiled = _compiled(text) if len(text) <= options.most_schema else None
    if compiled is None:
        return
    try:
        error = compiled.first_error(value, until - monotonic())
    except Uncheckable:
        return
    # Paths and messages quote the answer; keywords are the schema language's own.
    yield Check("schema", float(error is not None), "" if error is None else f"breaks `{error.validator or False}`")


# Most answers of a process have the same few schemas.
@lru_cache(maxsize=64)
def _compiled(text: str) -> BoundedSchema | None:
    try:
        return BoundedSchema(json.loads(text))
    except Uncheckable:
        return None
