"""Passages with their vectors: where a backup reads them, and the pieces that it makes of them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.indexes.protocol import IndexSpec, IndexStore
from retrieval.types import Passage
from serving.backup.errors import BackupInvalid, PassagesUnreadable
from serving.knowledge.editions import Edition, vector_bytes, vectors_of


@dataclass(frozen=True, slots=True)
class EditionRef:
    """An edition of a document that is searched."""

    index: str
    number: int
    store_id: str
    file_id: str


class PassageSource(Protocol):
    """Where passages are read. Thread-safe."""

    def edition(self, ref: EditionRef) -> Edition | None:
        """One edition; None where it is not there any more. Raises IndexUnavailable, PassagesUnreadable."""
        ...


class IndexPassages:
    """Reads the index itself."""

    def __init__(self, indexes: IndexStore) -> None:
        self._indexes = indexes

    def edition(self, ref: EditionRef) -> Edition | None:
        """See PassageSource."""
        index = self._indexes.open(ref.index)
        if index is None:
            return None
        passages, vectors = index.stored(ref.number)
        return Edition(ref.index, ref.number, index.spec, passages, vectors) if passages else None


class GatewayPassages:
    """Asks the gateway that has the embedded index open.

    Args:
        fetch: the gateway's answer about a file in a vector store; None where it knows none such.
    """

    def __init__(self, fetch: Callable[[str, str], Mapping[str, Any] | None]) -> None:
        self._fetch = fetch

    def edition(self, ref: EditionRef) -> Edition | None:
        """See PassageSource."""
        told = self._fetch(ref.store_id, ref.file_id)
        if told is None:
            return None
        try:
            found = Edition.of_view(told)
        except (ValueError, KeyError, TypeError):
            raise PassagesUnreadable("the gateway tells passages in a form that this Loraplex does not know.") from None
        return found if (found.index, found.number) == (ref.index, ref.number) else None


def write_edition(edition: Edition) -> bytes:
    """A piece: a line of JSON, then the vectors."""
    passages = [[one.number, one.text, one.context] for one in edition.passages]
    head = {"dimension": edition.spec.dimension, "passages": passages}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + vector_bytes(edition.vectors)


def read_edition(data: bytes, index: str, number: int, spec: IndexSpec) -> Edition:
    """What :func:`write_edition` wrote. Raises BackupInvalid."""
    try:
        line, _, rest = data.partition(b"\n")
        head = json.loads(line)
        passages = [Passage(number, place, words, context) for place, words, context in head["passages"]]
        return Edition(index, number, spec, passages, vectors_of(rest, len(passages), spec.dimension))
    except (ValueError, KeyError, TypeError):
        raise BackupInvalid("passages in the backup are not as this Loraplex writes them.") from None
