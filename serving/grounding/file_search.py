"""The responses API's ``file_search`` tool: searched by the gateway itself, once, before the model answers. Pure."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from retrieval.filters import parse_filter
from serving.engine.protocol import JsonObject
from serving.errors import InvalidRequest
from serving.knowledge.protocol import RANKERS, FoundPassage

KIND = "file_search"
RESULTS = "file_search_call.results"
"""Value of ``include`` that asks for what was found."""
_DEFAULT_RESULTS = 10
_MOST_RESULTS = 50


@dataclass(frozen=True, slots=True)
class FileSearch:
    """One ``file_search`` tool, as the caller gave it."""

    tool: JsonObject
    stores: tuple[str, ...]
    most: int
    filters: JsonObject | None = None
    threshold: float | None = None
    """Score below which a passage is left out, in [0, 1]; None: as the stores have it."""
    with_results: bool = False


@dataclass(slots=True)
class FileSearchCall:
    """The search, as the answer tells it."""

    search: FileSearch
    query: str
    found: Sequence[FoundPassage] = ()
    status: str = "completed"
    id: str = field(default_factory=lambda: f"fs_{os.urandom(12).hex()}")

    def item(self, status: str | None = None) -> JsonObject:
        """The ``file_search_call`` item; while it is not ended, without its results."""
        results = [_result(one) for one in self.found] if self.search.with_results and status is None else None
        return {
            "id": self.id,
            "type": "file_search_call",
            "status": status or self.status,
            "queries": [self.query],
            "results": results,
        }

    def events(self) -> Iterator[JsonObject]:
        """Its events, all at output index 0; sequence numbers are the stream's to give."""
        place = {"output_index": 0, "item_id": self.id}
        yield {"type": "response.output_item.added", "output_index": 0, "item": self.item("in_progress")}
        yield {"type": "response.file_search_call.in_progress", **place}
        yield {"type": "response.file_search_call.searching", **place}
        if self.status == "completed":
            yield {"type": "response.file_search_call.completed", **place}
        yield {"type": "response.output_item.done", "output_index": 0, "item": self.item()}


def is_asked(body: JsonObject) -> bool:
    """Whether a request to the responses API names the tool."""
    tools = body.get("tools")
    return isinstance(tools, list) and any(map(_is_file_search, tools))


def take_file_search(body: JsonObject) -> tuple[JsonObject, FileSearch | None]:
    """The request without the tool, and the search to make; None where ``tool_choice`` excludes it.

    ``body`` itself stays as it is. A ``tool_choice`` that the search satisfies goes with the tool.

    Raises:
        InvalidRequest, FilterInvalid: the tool is not as the API has it.
    """
    tools: list[Any] = body["tools"]
    places = [place for place, tool in enumerate(tools) if _is_file_search(tool)]
    if len(places) > 1:
        raise InvalidRequest(
            "Give one `file_search` tool, with all its `vector_store_ids`.", param=f"tools[{places[1]}]"
        )
    include = body.get("include")
    asked = include if isinstance(include, list) else []
    search = _parse(tools[places[0]], f"tools[{places[0]}]", with_results=RESULTS in asked)
    rest = dict(body)
    _keep(rest, "tools", [tool for tool in tools if not _is_file_search(tool)])
    if RESULTS in asked:
        _keep(rest, "include", [name for name in asked if name != RESULTS])
    if isinstance(given := body.get("input"), list):
        # Clients send back what they were answered; engines do not know these items.
        _keep(rest, "input", [item for item in given if item.get("type") != "file_search_call"])
    choice, wanted = _without_file_search(body.get("tool_choice"))
    if choice is None or "tools" not in rest:
        rest.pop("tool_choice", None)
    else:
        rest["tool_choice"] = choice
    return rest, search if wanted else None


def restore_tools(response: JsonObject, body: JsonObject) -> None:
    """Make a response object tell the tools as the caller gave them in ``body``."""
    known = iter(response.get("tools") or ())
    response["tools"] = [
        {"filters": None, **tool} if _is_file_search(tool) else next(known, tool) for tool in body["tools"]
    ]
    response["tool_choice"] = body.get("tool_choice") or "auto"


def _is_file_search(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == KIND


def _keep(body: JsonObject, name: str, values: list[Any]) -> None:
    """An empty list would say something else than none."""
    if values:
        body[name] = values
    else:
        body.pop(name, None)


def _without_file_search(choice: Any) -> tuple[Any, bool]:
    """What is left of ``tool_choice``, and whether it lets the search happen."""
    if choice == "none":
        return choice, False
    if choice == "required":
        return "auto", True
    if not isinstance(choice, dict):
        return choice, True
    if choice.get("type") == "allowed_tools" and isinstance(choice.get("tools"), list):
        rest = [tool for tool in choice["tools"] if not _is_file_search(tool)]
        allowed = len(rest) < len(choice["tools"])
        mode = "auto" if allowed else choice.get("mode")
        return ({**choice, "tools": rest, "mode": mode} if rest else "none"), allowed
    return (None, True) if _is_file_search(choice) else (choice, False)


def _parse(tool: JsonObject, place: str, *, with_results: bool) -> FileSearch:
    stores = tool.get("vector_store_ids")
    if not isinstance(stores, list) or not stores or not all(isinstance(one, str) and one for one in stores):
        raise InvalidRequest(
            "`vector_store_ids` must be a non-empty array of strings.", param=f"{place}.vector_store_ids"
        )
    most = tool.get("max_num_results")
    if most is not None and (type(most) is not int or not 1 <= most <= _MOST_RESULTS):
        raise InvalidRequest(
            f"`max_num_results` must be an integer from 1 to {_MOST_RESULTS}.", param=f"{place}.max_num_results"
        )
    filters = tool.get("filters")
    if filters is not None:
        parse_filter(filters)
    threshold = _threshold(tool.get("ranking_options"), f"{place}.ranking_options")
    return FileSearch(
        tool, tuple(dict.fromkeys(stores)), most or _DEFAULT_RESULTS, filters, threshold, with_results=with_results
    )


def _threshold(options: Any, place: str) -> float | None:
    if options is None:
        return None
    if not isinstance(options, dict):
        raise InvalidRequest("`ranking_options` must be an object.", param=place)
    if unknown := [name for name in options if name not in ("ranker", "score_threshold")]:
        raise InvalidRequest(f"`{unknown[0]}` is not a ranking option here.", param=f"{place}.{unknown[0]}")
    if options.get("ranker", RANKERS[0]) not in (*RANKERS, None):
        raise InvalidRequest(
            f"The ranker is the gateway's own; {' and '.join(RANKERS)} mean it.", param=f"{place}.ranker"
        )
    value = options.get("score_threshold")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRequest("`score_threshold` must be a number from 0 to 1.", param=f"{place}.score_threshold")
    return float(value)


def _result(found: FoundPassage) -> JsonObject:
    return {
        "file_id": found.file_id,
        "filename": found.filename,
        "text": found.text,
        "attributes": dict(found.attributes),
        "score": found.relevance,
    }
