"""Answers as tool calls: the right functions with the right arguments, in any order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from monitoring.json_text import canonical, parse_json
from training.evaluation.scorers.protocol import Materials, Named, Score, Scores, shorten
from training.evaluation.types import Answer, Case

_Call = tuple[str, str]
"""Name and canonical arguments; arguments that are no JSON object are marked by a text that no canonical JSON is."""


class ToolCallsSettings(Named):
    """The answer calls the tools that the reference calls; none where it calls none."""

    kind: Literal["tool_calls"]

    def build(self, materials: Materials) -> "ToolCalls":
        """Raises SuiteInvalid where no case has tools, or wants a function that its tools lack."""
        for case in materials.cases:
            names = {tool["function"]["name"] for tool in case.tools}
            for call in case.expected_tool_calls:
                materials.demand(call["name"] in names, case, f"wants a call of `{call['name']}`, which no tool is")
        if materials.cases:
            materials.demand(
                any(case.tools for case in materials.cases), materials.cases[0], "and all others lack `tools`"
            )
        return ToolCalls()


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Scores ``tool_calls`` (all calls right and no other), ``tool_names`` (the right functions, whatever their
    arguments) and ``tool_f1`` (the F1 of right calls among those wanted and those made)."""

    metrics = ("tool_calls", "tool_names", "tool_f1")

    def score(self, case: Case, answer: Answer) -> Scores:
        """Arguments are compared as JSON; those that are no JSON object match nothing."""
        wanted = Counter((call["name"], canonical(call["arguments"])) for call in case.expected_tool_calls)
        made = Counter(_call(one) for one in answer.tool_calls)
        names = Counter(name for name, _ in wanted.elements()), Counter(name for name, _ in made.elements())
        right = (wanted & made).total()
        total = wanted.total() + made.total()
        f1 = 2 * right / total if total else 1.0
        note = "" if wanted == made else f"wanted {_told(list(wanted.elements()))}, got {_told(list(made.elements()))}"
        return {
            "tool_calls": Score(float(wanted == made), note),
            "tool_names": Score(float(names[0] == names[1]), "" if names[0] == names[1] else note),
            "tool_f1": Score(f1, note),
        }


def _call(call: Any) -> _Call:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return "", f"!{call!r}"
    name, text = str(function.get("name")), function.get("arguments")
    try:
        arguments = parse_json(text) if isinstance(text, str) else None
    except ValueError:
        arguments = None
    return name, canonical(arguments) if isinstance(arguments, dict) else f"!{text!r}"


def _told(calls: Sequence[_Call]) -> str:
    return shorten(", ".join(f"{name}({arguments})" for name, arguments in calls)) or "no call"
