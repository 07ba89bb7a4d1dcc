"""``Backlog``: records that wait to be observed, bounded by their number and by their texts."""

from collections import deque

from serving.life.sampling import letters
from serving.observing.notes import Record

MOST_CHARACTERS = 32 * 1024 * 1024
"""Characters of records that wait; beyond them there is room for none, however few there are."""
AT_ONCE = 64
"""Records in one message: to write one takes well under a millisecond of the event loop, ..."""
MOST_AT_ONCE = 1024 * 1024
"""... and characters in one, some milliseconds."""

_NUMBER = 20
"""Characters of a log-probability."""


class Backlog:
    """First in, first out. Not thread-safe.

    Args:
        most: records that it holds.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: deque[tuple[Record, int]] = deque()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def full(self) -> bool:
        """Whether there is room for no record at all."""
        return len(self._records) >= self._most or self._characters >= MOST_CHARACTERS

    def add(self, record: Record) -> bool:
        """Keep a record. False where there is no room for it."""
        size = size_of(record)
        if self.full or self._characters + size > MOST_CHARACTERS:
            return False
        self._records.append((record, size))
        self._characters += size
        return True

    def take(self) -> list[Record]:
        """The oldest ones, as many as one message may hold."""
        taken: list[Record] = []
        characters = 0
        while self._records and len(taken) < AT_ONCE:
            record, size = self._records[0]
            characters += size
            if taken and characters > MOST_AT_ONCE:
                break
            self._records.popleft()
            self._characters -= size
            taken.append(record)
        return taken


def size_of(record: Record) -> int:
    """About how many characters a record has as JSON; of what is not text or numbers in bulk, none."""
    size = len(record.get("prompt", "")) + len(record.get("answer", ""))
    for name in ("grounding", "calls", "tools", "form", "answers", "judged"):
        if (value := record.get(name)) is not None:
            size += letters(value)
    alternatives = record.get("alternatives") or ((),)
    return size + _NUMBER * len(record.get("logprobs", ())) + _NUMBER * len(alternatives) * len(alternatives[0])
