"""What retrieval made of one request, and what its answer makes of the passages. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import orjson

from serving.engine.protocol import JsonObject
from serving.grounding.citations import Citation, CitationReader, citations
from serving.grounding.file_search import FileSearchCall
from serving.grounding.prompt import GivenPassage
from serving.grounding.support import unsupported

GROUNDING_FIELD = "loraplex_grounding"
"""Added to each choice (chat, completions) or, as JSON, to ``metadata`` (responses)."""
_LONGEST_METADATA = 512
_MOST_UNSUPPORTED = 20


class Outcome(StrEnum):
    """What came of looking for passages."""

    FOUND = "found"
    EMPTY = "empty"
    REFUSED = "refused"
    """Nothing found, and the gateway answers itself."""
    DEGRADED = "degraded"
    """Retrieval could not answer, at least in part."""


@dataclass(slots=True)
class Tally:
    """What an answer's texts made of their passages."""

    citations: int = 0
    dropped: int = 0
    unsupported: int = 0


@dataclass(frozen=True, slots=True)
class Grounded:
    """One request's passages."""

    outcome: Outcome
    passages: tuple[GivenPassage, ...]
    question: str
    cites: bool
    """Whether markers in the answer are citations."""
    keeps_shape: bool
    """Whether the text has a contract, and so loses nothing."""
    asked: JsonObject
    """The caller's request."""
    call: FileSearchCall | None = None
    """The caller's own search."""
    tally: Tally = field(default_factory=Tally)

    def file_index(self, file_id: str) -> int:
        """Position of a file among those that the passages are from."""
        return list(dict.fromkeys(passage.found.file_id for passage in self.passages)).index(file_id)


class AnswerText:
    """One generated text: emitted without false citations, and at its end held against the passages."""

    def __init__(self, grounded: Grounded) -> None:
        self._grounded = grounded
        self._plain: list[str] = []
        self._reader: CitationReader | None = None
        if grounded.cites:
            numbers = [passage.number for passage in grounded.passages]
            self._reader = CitationReader(numbers, keep_all=grounded.keeps_shape)
        self.citations: tuple[Citation, ...] = ()
        self.unsupported: tuple[str, ...] = ()
        self.finished = False

    @property
    def text(self) -> str:
        """What was emitted."""
        return "".join(self._plain) if self._reader is None else self._reader.text

    @property
    def dropped(self) -> int:
        """Citations of passages that were not given."""
        return 0 if self._reader is None else self._reader.dropped

    def feed(self, delta: str) -> str:
        """What can be emitted of ``delta`` now."""
        if self._reader is None:
            self._plain.append(delta)
            return delta
        return self._reader.feed(delta)

    def finish(self) -> str:
        """The rest. From here on ``citations`` and ``unsupported`` are known. To be called once."""
        rest = "" if self._reader is None else self._reader.finish()
        self.finished = True
        grounded, text = self._grounded, self.text
        if self._reader is not None:
            self.citations = tuple(citations(text, self._reader.markers, grounded.passages))
        if grounded.passages:
            self.unsupported = unsupported(text, list(_sources(grounded)))[:_MOST_UNSUPPORTED]
        grounded.tally.citations += len(self.citations)
        grounded.tally.dropped += self.dropped
        grounded.tally.unsupported += len(self.unsupported)
        return rest


def report(grounded: Grounded, texts: Iterable[AnswerText]) -> JsonObject:
    """What an answer's reader wants to know of its grounding."""
    texts = list(texts)
    return {
        "passages": [
            {
                "id": passage.number,
                "file_id": passage.found.file_id,
                "filename": passage.found.filename,
                "passage": passage.found.number,
                "score": passage.found.relevance,
            }
            for passage in grounded.passages
        ],
        "cited": sorted({one.passage.number for text in texts for one in text.citations}),
        "dropped": sum(text.dropped for text in texts),
        "unsupported": list(dict.fromkeys(claim for text in texts for claim in text.unsupported)),
    }


def metadata_report(full: JsonObject) -> str:
    """A report as a value of ``metadata``, which has room for 512 characters: else its counts alone."""
    text = orjson.dumps(full).decode()
    if len(text) <= _LONGEST_METADATA:
        return text
    counts = {name: value if isinstance(value, int) else len(value) for name, value in full.items()}
    return orjson.dumps(counts).decode()


def _sources(grounded: Grounded) -> Iterable[str]:
    yield grounded.question
    for passage in grounded.passages:
        found = passage.found
        yield from (passage.text, found.title, found.context, found.source, found.filename)
