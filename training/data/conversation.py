"""What makes a list of turns a conversation: who speaks when, and which call gets which result."""

from collections.abc import Sequence

from training.data.messages import ChatMessage
from training.data.problems import refuse
from training.data.tools import Tool, ToolCall, arguments_problem

MOST_MESSAGES = 1_000
"""Of one row: each turn that is learnt is rendered with all that stand before it."""


def check_example(messages: Sequence[ChatMessage]) -> None:
    """The assistant has the last word, and something of it is learnt. Refuses inside a pydantic validator."""
    if len(messages) > MOST_MESSAGES:
        refuse("too_many_messages", f"the row has {len(messages):,} messages, more than {MOST_MESSAGES:,}; split it")
    if not any(message.role == "assistant" for message in messages):
        refuse("no_assistant", "no message is the assistant's, so there is nothing to learn; add the answer")
    if messages[-1].role != "assistant":
        refuse("last_not_assistant", "the last message must be the assistant's")
    if not any(message.is_learnt for message in messages):
        refuse("nothing_learnt", "no assistant message has weight 1, so there is nothing to learn")


def check_prompt(messages: Sequence[ChatMessage]) -> None:
    """Somebody asks before anybody answers. Refuses inside a pydantic validator."""
    first = next((message.role for message in messages if message.role != "system"), None)
    if first != "user":
        refuse("first_not_user", "the first message, after any system message, must be the user's")


def check_calls(messages: Sequence[ChatMessage], tools: Sequence[Tool], *, parallel: bool | None) -> None:
    """Every call is to a tool of the row and gets one result. Refuses inside a pydantic validator.

    Args:
        parallel: OpenAI's ``parallel_tool_calls``; False forbids several calls in one turn.
    """
    known = _by_name(tools)
    if parallel is not None and not tools:
        refuse("parallel_without_tools", "`parallel_tool_calls` without `tools`; remove it or add the tools")
    seen: set[str] = set()
    open_calls: dict[str, ToolCall] = {}
    for index, message in enumerate(messages):
        if message.role == "tool":
            _answer(index, message, open_calls, seen)
            continue
        _require_answered(open_calls)
        if parallel is False and len(message.tool_calls) > 1:
            refuse(
                "parallel_calls",
                f"`messages[{index}]` calls {len(message.tool_calls)} tools at once although `parallel_tool_calls` is "
                "false; make it true, or one call of it",
            )
        for call in message.tool_calls:
            _check_call(index, call, known)
            if call.id in seen:
                refuse("duplicate_call_id", f"`messages[{index}]`: the call id `{call.id}` stands twice in this row")
            seen.add(call.id)
            open_calls[call.id] = call
    # Calls of the last turn are what is learnt; their results come when the model serves.
    if messages[-1].role == "tool":
        _require_answered(open_calls)


def _by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    known: dict[str, Tool] = {}
    for tool in tools:
        if tool.function.name in known:
            refuse("duplicate_tool", f"two tools are named `{tool.function.name}`; keep one")
        known[tool.function.name] = tool
    return known


def _answer(index: int, message: ChatMessage, open_calls: dict[str, ToolCall], seen: set[str]) -> None:
    identity = message.tool_call_id or ""
    if open_calls.pop(identity, None) is not None:
        return
    if identity in seen:
        refuse("duplicate_result", f"`messages[{index}]`: the call `{identity}` has been answered before")
    refuse("result_without_call", f"`messages[{index}]`: no call before it has the id `{identity}`")


def _require_answered(open_calls: dict[str, ToolCall]) -> None:
    for identity, call in open_calls.items():
        refuse(
            "call_without_result",
            f"the call `{identity}` of `{call.function.name}` has no tool message before the next turn; add its result",
        )


def _check_call(index: int, call: ToolCall, known: dict[str, Tool]) -> None:
    name = call.function.name
    if not known:
        refuse("calls_without_tools", f"`messages[{index}]` calls `{name}`, but the row has no `tools`; add them")
    if name not in known:
        refuse("unknown_tool", f"`messages[{index}]` calls `{name}`; the row's tools are {', '.join(sorted(known))}")
    problem = arguments_problem(known[name], call)
    if problem is not None:
        refuse(
            "arguments_mismatch", f"`messages[{index}]`: the arguments of `{name}` do not match its schema: {problem}"
        )
