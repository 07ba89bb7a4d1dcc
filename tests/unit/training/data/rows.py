"""Rows for the tests of training data."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def user(content: Any = "How is it?") -> Json:
    """A user's turn."""
    return {"role": "user", "content": content}


def assistant(content: Any = "It is fine.", **more: Any) -> Json:
    """An assistant's turn."""
    return {"role": "assistant", "content": content, **more}


def call(identity: str = "c1", name: str = "weather", arguments: str = '{"city": "Oslo"}') -> Json:
    """A tool call."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Json, **more: Any) -> Json:
    """An assistant's turn that calls tools."""
    return {"role": "assistant", "tool_calls": list(calls or (call(),)), **more}


def result(identity: str = "c1", content: Any = "12 degrees") -> Json:
    """A tool's result."""
    return {"role": "tool", "tool_call_id": identity, "content": content}


def chat(*messages: Json, **more: Any) -> Json:
    """A chat row."""
    return {"messages": list(messages), **more}


def tooled(*messages: Json, **more: Any) -> Json:
    """A chat row with one tool."""
    return chat(*messages, **({"tools": [WEATHER]} | more))


def turn(question: str, answer: str) -> Json:
    """A chat row of one question and its answer."""
    return chat(user(question), assistant(answer))


def preference(
    prompt: Iterable[Json] | None = None, chosen: Any = "Good.", rejected: Any = "Bad.", **more: Any
) -> Json:
    """A preference row."""
    return {
        "input": {"messages": list(prompt or [user()]), **more},
        "preferred_output": [assistant(chosen)],
        "non_preferred_output": [assistant(rejected)],
    }


def write(path: Path, *rows: Json) -> Path:
    """A file with one row a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
