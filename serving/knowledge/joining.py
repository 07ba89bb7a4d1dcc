"""One list out of several. Pure."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from serving.knowledge.protocol import FoundPassage


def joined(lists: Iterable[Sequence[FoundPassage]]) -> list[FoundPassage]:
    """The first of each list, then the second of each, every passage once: scores compare within one list alone."""
    found: dict[tuple[str, str, int], FoundPassage] = {}
    for row in zip_longest(*lists):
        for passage in row:
            if passage is not None:
                found.setdefault((passage.store_id, passage.file_id, passage.number), passage)
    return list(found.values())
