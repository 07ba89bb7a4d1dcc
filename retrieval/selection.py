"""Which documents a search may return: decided here, in memory, on our own records. Pure.

An index is an attack surface as soon as labels and metadata become part of its filter expressions, and not every one
enforces what it accepts. So labels, dates and metadata never reach it: they are evaluated on the documents of the
knowledge base, and what an index gets is a set of integers.
"""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Filter, matches
from retrieval.types import Access, DocumentMeta, is_current

Numbers = NDArray[np.int64]

_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Selection:
    """The documents that a search may return, out of those that there are."""

    allowed: Numbers
    """Sorted numbers of documents."""
    denied: Numbers
    """The others, sorted."""

    @property
    def share(self) -> float:
        """The part of the documents that is allowed."""
        return len(self.allowed) / max(len(self.allowed) + len(self.denied), 1)

    def __contains__(self, document: int) -> bool:
        place = int(np.searchsorted(self.allowed, document))
        return place < len(self.allowed) and bool(self.allowed[place] == document)


class DocumentTable:
    """The documents of one knowledge base at one moment, ready to be selected from. Immutable; build another to change.

    Labels and attributes are looked at once for each distinct set of them and (caller, filter); dates, which time
    changes by itself, at each search, and only where a document has any.
    """

    def __init__(self, documents: Mapping[int, DocumentMeta]) -> None:
        ordered = sorted(documents.items())
        self._documents = documents
        self._numbers: Numbers = np.array([number for number, _ in ordered], dtype=np.int64)
        metas = [meta for _, meta in ordered]
        self._effective = np.array([meta.effective_at for meta in metas], dtype=np.int64)
        self._expires = np.array([meta.expires_at for meta in metas], dtype=np.int64)
        self._labels, self._label_sets = _grouped([meta.labels for meta in metas])
        self._attributes, self._attribute_sets = _grouped(
            [frozenset((key, type(value), value) for key, value in meta.attributes.items()) for meta in metas]
        )
        self._remembered: dict[tuple[Access, str], NDArray[np.bool_]] = {}
        self._remembering = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> DocumentMeta:
        """Raises KeyError for a document that is not there, or no longer."""
        return self._documents[number]

    def select(self, access: Access, now: int, condition: Filter | None = None) -> Selection:
        """The documents that a caller may see, that hold at ``now`` (Unix seconds) and satisfy the filter."""
        mask = self._static_mask(access, condition) & (self._effective <= now) & (now < self._expires)
        return Selection(self._numbers[mask], self._numbers[~mask])

    def admits(self, number: int, access: Access, now: int, condition: Filter | None = None) -> bool:
        """The same for one document, evaluated anew: the check on what is about to leave."""
        meta = self._documents.get(number)
        return (
            meta is not None
            and access.allows(meta.labels)
            and is_current(meta, now)
            and matches(condition, meta.attributes)
        )

    def expired(self, access: Access, now: int, condition: Filter | None = None) -> int:
        """How many documents a search leaves out only because they have expired."""
        return int((self._static_mask(access, condition) & (now >= self._expires)).sum())

    def _static_mask(self, access: Access, condition: Filter | None) -> NDArray[np.bool_]:
        key = (access, _digest(condition))
        with self._remembering:
            mask = self._remembered.get(key)
        if mask is None:
            mask = self._new_mask(access, condition)
            with self._remembering:
                if len(self._remembered) >= _REMEMBERED:
                    del self._remembered[next(iter(self._remembered))]
                self._remembered[key] = mask
        return mask

    def _new_mask(self, access: Access, condition: Filter | None) -> NDArray[np.bool_]:
        labels = np.array([access.allows(one) for one in self._label_sets], dtype=bool)
        attributes = np.array(
            [matches(condition, {key: value for key, _, value in one}) for one in self._attribute_sets], dtype=bool
        )
        mask: NDArray[np.bool_] = labels[self._labels] & attributes[self._attributes]
        return mask


def _digest(condition: Filter | None) -> str:
    # Not the filter itself: it may be large, and Python calls 1 and True equal, and so two filters that differ in them.
    return hashlib.sha256(repr(condition).encode("utf-8", "surrogatepass")).hexdigest()


def _grouped(values: list[frozenset[Any]]) -> tuple[NDArray[np.intp], list[frozenset[Any]]]:
    """For each value the place of its like among the distinct ones, and those."""
    places: dict[frozenset[Any], int] = {}
    indices = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.intp)
    return indices, list(places)
