"""Citations and the grounding report in chat and text completions, whole and streamed. Pure."""

from collections.abc import Iterator

from serving.engine.protocol import JsonObject
from serving.grounding.citations import Citation
from serving.grounding.grounded import GROUNDING_FIELD, AnswerText, Grounded, report


def finish_choices(grounded: Grounded, answer: JsonObject) -> None:
    """Clean a whole answer, and write annotations and reports into it."""
    for choice in answer.get("choices") or ():
        text, holder, name = AnswerText(grounded), *_content_place(choice)
        if isinstance(content := holder.get(name), str):
            holder[name] = text.feed(content) + text.finish()
        else:
            text.finish()
        _tell(grounded, choice, text)


class ChoiceCleaner:
    """Does to the chunks of one stream what ``finish_choices`` does to a whole answer.

    Annotations and report come in the chunk that carries the ``finish_reason``.
    """

    def __init__(self, grounded: Grounded) -> None:
        self._grounded = grounded
        self._texts: dict[int, AnswerText] = {}

    def clean(self, chunk: JsonObject) -> Iterator[JsonObject]:
        """The chunk; nothing where all that it carried is held back."""
        choices = chunk.get("choices")
        if choices:
            chunk["choices"] = choices = [choice for choice in choices if self._clean(choice)]
        if choices or chunk.get("usage") is not None:
            yield chunk

    def _clean(self, choice: JsonObject) -> bool:
        """Whether anything is left to send."""
        text = self._texts.setdefault(choice.get("index", 0), AnswerText(self._grounded))
        holder, name = _content_place(choice)
        piece = holder.get(name)
        if piece:
            holder[name] = text.feed(piece)
        if choice.get("finish_reason") is not None and not text.finished:
            rest = text.finish()
            if rest:
                holder[name] = (holder.get(name) or "") + rest
            _tell(self._grounded, choice, text)
            return True
        others = any(value for key, value in choice.get("delta", {}).items() if key != name)
        return not piece or bool(holder[name]) or others or choice.get("logprobs") is not None


def _content_place(choice: JsonObject) -> tuple[JsonObject, str]:
    for name in ("message", "delta"):
        if name in choice:
            return choice[name], "content"
    return choice, "text"


def _tell(grounded: Grounded, choice: JsonObject, text: AnswerText) -> None:
    choice[GROUNDING_FIELD] = report(grounded, [text])
    holder, name = _content_place(choice)
    if grounded.cites and name == "content" and (text.text or holder.get(name) is not None):
        holder["annotations"] = [_url_citation(citation) for citation in text.citations]


def _url_citation(citation: Citation) -> JsonObject:
    found = citation.passage.found
    is_url = found.source.startswith(("http://", "https://"))
    return {
        "type": "url_citation",
        "url_citation": {
            "url": found.source if is_url else f"/v1/files/{found.file_id}/content",
            "title": found.title or found.filename,
            "start_index": citation.start,
            "end_index": citation.end,
            "file_id": found.file_id,
            "filename": found.filename,
            "passage": found.number,
            "quote": citation.quote,
        },
    }
