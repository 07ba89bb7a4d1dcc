"""Cases from JSONL: rows of our own, and OpenAI chat rows whose last message is the reference."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from monitoring.json_text import parse_json
from training.errors import SuiteInvalid
from training.evaluation.strict import Strict, describe
from training.evaluation.types import Case, Json

_MOST_PROBLEMS = 20


class FunctionCall(Strict):
    """What a call names."""

    name: str = Field(min_length=1)
    arguments: str | dict[str, JsonValue]
    """JSON text, as OpenAI has it, or the object itself."""


class ToolCall(Strict):
    """A tool call in a conversation."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, JsonValue]] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    weight: Literal[0, 1] | None = None
    """Of fine-tuning rows; it says nothing to a suite."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls and self.refusal is None:
            raise ValueError("a message needs `content`, or `tool_calls`")
        if self.role == "user" and not self.content:
            raise ValueError("a user's message needs `content`")
        return self


class FunctionTool(Strict):
    """The function of a tool."""

    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class Tool(Strict):
    """A tool that is offered."""

    type: Literal["function"]
    function: FunctionTool


class CaseRow(Strict):
    """One line."""

    id: str | None = Field(default=None, min_length=1, max_length=200)
    prompt: str | None = Field(default=None, min_length=1)
    """Short for one user message."""
    messages: tuple[Message, ...] | None = Field(default=None, min_length=1)
    expected: JsonValue = None
    """A text; anything else stands for its JSON."""
    expected_tool_calls: tuple[FunctionCall, ...] | None = None
    tools: tuple[Tool, ...] = ()
    context: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("a case has either `prompt` or `messages`")
        if self.reference is not None and (self.expected is not None or self.expected_tool_calls is not None):
            raise ValueError("the last message is the assistant's, so it is the reference; leave out `expected`")
        if not any(message.role == "user" for message in self.prompt_messages):
            raise ValueError("no message is the user's")
        return self

    @property
    def reference(self) -> Message | None:
        """The assistant's message that ends the row; None where none does."""
        return self.messages[-1] if self.messages and self.messages[-1].role == "assistant" else None

    @property
    def prompt_messages(self) -> tuple[Message, ...]:
        """What is asked."""
        if self.messages is None:
            return (Message(role="user", content=self.prompt),)
        return self.messages[:-1] if self.reference else self.messages

    def case(self, line: int) -> Case:
        """The case, still without an id of its own where the row has none. Raises ValueError."""
        reference = self.reference
        calls = [call.function for call in reference.tool_calls or ()] if reference else self.expected_tool_calls or ()
        return Case(
            id=self.id or "",
            messages=tuple(_sent(message) for message in self.prompt_messages),
            expected=_reference_text(reference) if reference else _text(self.expected),
            tools=tuple(tool.model_dump(exclude_none=True) for tool in self.tools),
            expected_tool_calls=tuple({"name": call.name, "arguments": _arguments(call)} for call in calls),
            context=self.context,
            tags=self.tags,
            line=line,
        )


def read_cases(path: Path) -> tuple[Case, ...]:
    """Every case of a file; blank lines are allowed.

    A row without an id is named by the SHA-256 of what it asks, so that its name stays when lines move.

    Raises:
        SuiteInvalid: with file, line and reason of each problem, the first 20.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SuiteInvalid(f"cannot read the cases {path}: {error.strerror or error}") from error
    found: list[Case] = []
    problems: list[str] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line.decode("utf-8"))
            found.append(CaseRow.model_validate(row).case(number))
        except ValidationError as error:
            problems += [f"{path}:{number}: {problem}" for problem in describe(error)]
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    problems += [] if problems else _duplicates(path, found)
    if problems:
        more = f"\n… and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise SuiteInvalid("\n".join(problems[:_MOST_PROBLEMS]) + more)
    if not found:
        raise SuiteInvalid(f"{path} has no cases")
    return _named(found)


def _duplicates(path: Path, cases: Sequence[Case]) -> list[str]:
    first: dict[str, int] = {}
    return [
        f"{path}:{case.line}: the id `{case.id}` stands on line {first[case.id]} too"
        for case in cases
        if case.id and first.setdefault(case.id, case.line) != case.line
    ]


def _named(cases: Sequence[Case]) -> tuple[Case, ...]:
    taken = {case.id for case in cases}
    seen: Counter[str] = Counter()
    named = []
    for case in cases:
        if not case.id:
            digest = hashlib.sha256(json.dumps([case.messages, case.tools], sort_keys=True).encode()).hexdigest()[:12]
            name = digest
            while name in taken:
                seen[digest] += 1
                name = f"{digest}-{seen[digest] + 1}"
            taken.add(name)
        named.append(case if case.id else replace(case, id=name))
    return tuple(named)


def _sent(message: Message) -> Json:
    sent = message.model_dump(exclude_none=True, exclude={"weight"})
    for call in sent.get("tool_calls", ()):
        if not isinstance(call["function"]["arguments"], str):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return sent


def _reference_text(message: Message) -> str | None:
    if isinstance(message.content, list):
        raise ValueError("the reference's `content` must be one text")
    return message.content


def _text(expected: Any) -> str | None:
    return expected if expected is None or isinstance(expected, str) else json.dumps(expected, ensure_ascii=False)


def _arguments(call: FunctionCall) -> Json:
    arguments = parse_json(call.arguments) if isinstance(call.arguments, str) else call.arguments
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of `{call.name}` are no JSON object")
    return arguments
