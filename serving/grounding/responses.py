"""Citations, the grounding report and the ``file_search_call`` item in answers of the responses API. Pure."""

from collections.abc import Iterator

from serving.engine.protocol import JsonObject
from serving.grounding.citations import Citation
from serving.grounding.file_search import restore_tools
from serving.grounding.grounded import GROUNDING_FIELD, AnswerText, Grounded, metadata_report, report

_OPENING = ("response.created", "response.queued", "response.in_progress")
_ENDING = ("response.completed", "response.incomplete", "response.failed")
_TEXT = "output_text"


def finish_response(grounded: Grounded, response: JsonObject) -> None:
    """Clean a whole answer, and write annotations, the report and the caller's search into it."""
    for _ in ResponseCleaner(grounded).clean({"type": "response.completed", "response": response}):
        pass


class ResponseCleaner:
    """The events of one stream, cleaned and annotated.

    The search's own events follow those that open the response; what was held back and the annotations of a text
    come before its ``response.output_text.done``. Sequence numbers and output indices are given anew.
    """

    def __init__(self, grounded: Grounded) -> None:
        self._grounded = grounded
        self._shift = 0 if grounded.call is None else 1
        self._searched = grounded.call is None
        self._texts: dict[tuple[int, int], AnswerText] = {}
        self._positions: dict[str, int] = {}
        self._number = 0

    def clean(self, event: JsonObject) -> Iterator[JsonObject]:
        """The events to send for one of the engine's."""
        for one in self._cleaned(event):
            one["sequence_number"] = self._number
            self._number += 1
            yield one

    def _cleaned(self, event: JsonObject) -> Iterator[JsonObject]:
        kind = event["type"]
        if kind not in _OPENING and not self._searched and self._grounded.call is not None:
            self._searched = True
            yield from self._grounded.call.events()
        position = event.get("output_index", 0)
        if "output_index" in event:
            event["output_index"] = position + self._shift
        if "response" in event:
            yield from self._response(kind, event["response"])
        elif kind == "response.output_item.done":
            self._positions[event["item"].get("id", "")] = position
            yield from self._item(position, event["item"])
        elif kind == "response.content_part.done":
            yield from self._part(position, event["content_index"], event["item_id"], event["part"])
        elif kind == "response.output_text.done":
            yield from self._part(position, event["content_index"], event["item_id"], event)
            event.pop("annotations", None)
        elif kind == "response.output_text.delta":
            text = self._text(position, event["content_index"])
            event["delta"] = text.feed(event["delta"])
            if not event["delta"] and not event.get("logprobs"):
                return
        yield event

    def _response(self, kind: str, response: JsonObject) -> Iterator[JsonObject]:
        grounded = self._grounded
        if grounded.call is not None:
            restore_tools(response, grounded.asked)
        if kind not in _ENDING:
            return
        for place, item in enumerate(response.get("output") or ()):
            yield from self._item(self._positions.get(item.get("id", ""), place), item)
        if grounded.call is not None:
            response["output"] = [grounded.call.item(), *response.get("output", ())]
        told = metadata_report(report(grounded, self._texts.values()))
        response["metadata"] = {**(response.get("metadata") or {}), GROUNDING_FIELD: told}

    def _item(self, position: int, item: JsonObject) -> Iterator[JsonObject]:
        if item.get("type") == "message":
            for index, part in enumerate(item.get("content") or ()):
                yield from self._part(position, index, item.get("id", ""), part)

    def _part(self, position: int, index: int, item_id: str, part: JsonObject) -> Iterator[JsonObject]:
        """Clean one text part, or the event that ends it, after what was still to be said of it."""
        if part.get("type") not in (_TEXT, "response.output_text.done"):
            return
        known = (position, index) in self._texts
        text = self._text(position, index)
        if not text.finished:
            rest = ("" if known else text.feed(part["text"])) + text.finish()
            place = {"item_id": item_id, "output_index": position + self._shift, "content_index": index}
            if rest and known:
                yield {"type": "response.output_text.delta", **place, "delta": rest, "logprobs": []}
            for number, annotation in enumerate(self._annotations(text)):
                kind = "response.output_text.annotation.added"
                yield {"type": kind, **place, "annotation_index": number, "annotation": annotation}
        if self._grounded.cites:
            part["text"] = text.text
            part["annotations"] = self._annotations(text)

    def _text(self, position: int, index: int) -> AnswerText:
        return self._texts.setdefault((position, index), AnswerText(self._grounded))

    def _annotations(self, text: AnswerText) -> list[JsonObject]:
        return [self._file_citation(citation) for citation in text.citations]

    def _file_citation(self, citation: Citation) -> JsonObject:
        found = citation.passage.found
        return {
            "type": "file_citation",
            "index": self._grounded.file_index(found.file_id),
            "file_id": found.file_id,
            "filename": found.filename,
            "passage": found.number,
            "quote": citation.quote,
            "start_index": citation.start,
            "end_index": citation.end,
        }
