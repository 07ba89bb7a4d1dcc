"""Tool parsers whose constrained arguments cannot run away in white space."""

from typing import Any

from pydantic import BaseModel

_MOST_WHITESPACE = 2
"""White-space characters in a row, as in pretty-printed arguments: vLLM's own constraint has no limit."""


def bounded_tool_parser(name: str) -> str:
    """Register and name a tool parser that differs from ``name`` only in that limit."""
    from vllm.tool_parsers import ToolParserManager

    base: Any = ToolParserManager.get_tool_parser(name)
    if not hasattr(base, "get_structural_tag"):
        return name  # A version that constrains arguments by plain JSON schemas, which are compact already.

    class BoundedToolParser(base):  # type: ignore[misc]
        """As its base."""

        def get_structural_tag(self, request: Any, *, reasoning: bool = False) -> Any:
            tag = super().get_structural_tag(request, reasoning=reasoning)
            _bound(tag)
            return tag

    bounded = f"{name}+bounded"
    ToolParserManager.register_module(name=bounded, module=BoundedToolParser, force=True)
    return bounded


def _bound(node: Any) -> None:
    if isinstance(node, list | tuple):
        for part in node:
            _bound(part)
    elif isinstance(node, BaseModel):
        if "max_whitespace_cnt" in type(node).model_fields and getattr(node, "max_whitespace_cnt", None) is None:
            object.__setattr__(node, "max_whitespace_cnt", _MOST_WHITESPACE)
        for name in type(node).model_fields:
            _bound(getattr(node, name))
