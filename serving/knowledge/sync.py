"""What must change so that a store holds what its sources hold. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from retrieval.types import AttributeValue

SOURCE, ORIGIN, LABELS = "source", "origin", "labels"
"""Attributes of a document that a sync keeps: where it came from, what was synced, who may see it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A document of a store, as far as a sync looks at it."""

    file_id: str
    sha256: str
    attributes: Mapping[str, AttributeValue]
    failed: bool = False
    """For a reason that may have passed."""


@dataclass(slots=True)
class SyncPlan:
    """Filled while sources are read: :meth:`wants` for each file, then :meth:`gone`."""

    held: Mapping[str, Held]
    """The latest by the attribute ``source``."""
    origin: str
    documents: Sequence[Held] = ()
    """All that have a source: an edition that failed stands beside the one before."""
    taken: frozenset[str] = frozenset()
    """Sources that other origins have given already."""
    seen: set[str] = field(default_factory=set)

    @classmethod
    def over(cls, held: Iterable[Held], origin: str, taken: Iterable[str] = ()) -> "SyncPlan":
        """A plan for one origin over what a store holds now, in the order of its making."""
        named = [one for one in held if SOURCE in one.attributes]
        return cls({str(one.attributes[SOURCE]): one for one in named}, origin, named, frozenset(taken))

    def wants(self, source: str, sha256: str, attributes: Mapping[str, AttributeValue]) -> bool:
        """Whether the file must be uploaded: it is new, changed, to be described anew, or failed before."""
        self.seen.add(source)
        held = self.held.get(source)
        if held is None or held.failed or held.sha256 != sha256:
            return True
        return _told_apart(held.attributes) != _told_apart(attributes)

    def keep(self, source: str) -> None:
        """A file that could not be read now is not gone; nor is what is below a folder, ``a/b/``, that could not.

        An origin that is not there is named by the last part of its path, and may have been a folder.
        """
        if source == PurePath(self.origin).name:
            self.seen.update(self.held)
        elif source.endswith("/") or not source:
            self.seen.update(one for one in self.held if one.startswith(source.removeprefix("/")))
        self.seen.add(source)

    def gone(self) -> list[Held]:
        """What came from this origin and is not there any more."""
        return [
            one
            for one in self.documents
            if one.attributes[SOURCE] not in self.seen and one.attributes.get(ORIGIN) == self.origin
        ]


def sync_attributes(
    source: str, origin: str, labels: Iterable[str], extra: Mapping[str, AttributeValue] | None = None
) -> dict[str, AttributeValue]:
    """The attributes of a document that comes from ``source``, found in ``origin``."""
    named = sorted(labels)
    return {
        **(extra or {}),
        SOURCE: source,
        ORIGIN: origin,
        **({LABELS: ", ".join(named)} if named else {}),
    }


def _told_apart(attributes: Mapping[str, AttributeValue]) -> dict[str, tuple[bool, AttributeValue]]:
    """Python calls True equal to 1; a filter does not."""
    return {name: (isinstance(value, bool), value) for name, value in attributes.items()}
