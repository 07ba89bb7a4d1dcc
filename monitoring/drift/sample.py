"""A bounded uniform sample of the requests of a window."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.errors import DimensionChanged
from monitoring.drift.types import IntArray, Observation, Vectors, Window

_LONGEST_NAME = 128
_DOUBT = 0.05
"""The sampling error is larger than stated with this probability at most."""
_STORED = "<f2"
"""Half precision in memory and in the state: a unit vector's entries keep three digits."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a request beside its embedding."""

    place: int
    at: float
    prompt_tokens: int
    answer_tokens: int
    language: str
    adapter: str
    outcome: str
    retrieval_score: float | None
    text: str | None


class Sample:
    """Each request that was added is among the rows with the same probability (Vitter, 1985, algorithm R).

    Args:
        capacity: rows that are kept.
        text_length: characters that are kept of a prompt; 0: none is kept.
        dimension: of the embeddings; None: that of the first one.
        share: of all requests, those that are added, drawn at random.
    """

    def __init__(
        self, capacity: int, *, text_length: int = 0, dimension: int | None = None, share: float = 1.0
    ) -> None:
        self._capacity = capacity
        self._text_length = text_length
        self._share = share
        self.dimension = dimension
        self.seen = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.rows: list[Row] = []
        self._vectors: NDArray[np.float16] | None = None
        self._embedded = np.zeros(capacity, dtype=np.bool_)

    def add(self, observation: Observation, place: int, rng: np.random.Generator) -> None:
        """Count a request, and keep it if it is drawn. Raises DimensionChanged; it is not counted then.

        An embedding that is all zeros or not finite is none.
        """
        vector = _unit(observation.embedding)
        if vector is not None:
            if self.dimension is not None and len(vector) != self.dimension:
                raise DimensionChanged(f"an embedding has {len(vector)} dimensions, those before it {self.dimension}")
            self.dimension = len(vector)
        self.seen += 1
        self.first_at = observation.at if self.first_at is None else min(self.first_at, observation.at)
        self.last_at = observation.at if self.last_at is None else max(self.last_at, observation.at)
        if len(self.rows) < self._capacity:
            self.rows.append(self._row(observation, place))
            self._set_vector(len(self.rows) - 1, vector)
        elif (slot := int(rng.integers(self.seen))) < self._capacity:
            self.rows[slot] = self._row(observation, place)
            self._set_vector(slot, vector)

    @property
    def embeddings(self) -> int:
        """How many rows have one."""
        return int(self._embedded[: len(self.rows)].sum())

    def embedded(self) -> tuple[IntArray, Vectors]:
        """Which rows have an embedding, and these: shape ``(n, dimension)``, of length 1 but for rounding."""
        kept = np.flatnonzero(self._embedded[: len(self.rows)])
        if self._vectors is None:
            return kept, np.zeros((0, self.dimension or 0), dtype=np.float32)
        return kept, self._vectors[kept].astype(np.float32)

    def without_texts(self) -> None:
        """Forget all prompts, and keep none from now on."""
        self._text_length = 0
        self.rows = [replace(row, text=None) for row in self.rows]

    def summary(self) -> Window:
        """How much it holds, of how much."""
        return Window(
            rows=len(self.rows),
            seen=self.seen,
            first_at=self.first_at,
            last_at=self.last_at,
            sampling_error=sampling_error(len(self.rows), round(self.seen / self._share)),
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, as plain data."""
        kept, vectors = self.embedded()
        return {
            "seen": self.seen,
            "share": self._share,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "rows": [list(astuple(row)) for row in self.rows],
            "dimension": self.dimension,
            "embedded": kept.tolist(),
            "vectors": base64.b64encode(vectors.astype(_STORED).tobytes()).decode("ascii"),
        }

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], capacity: int, rng: np.random.Generator, *, text_length: int = 0
    ) -> Self:
        """What :meth:`to_json` gave, in a sample that may be smaller. Raises KeyError, TypeError, ValueError."""
        rows = [Row(*row) for row in state["rows"]]
        seen, dimension = int(state["seen"]), state["dimension"]
        embedded = np.array(state["embedded"], dtype=np.intp)
        flat = np.frombuffer(base64.b64decode(state["vectors"], validate=True), dtype=_STORED)
        vectors = np.zeros((len(rows), dimension or 0), dtype=np.float16)
        vectors[embedded] = flat.reshape(len(embedded), dimension or 0)
        # Rows that were never kept cannot be had back: what was a sample of so many stays one.
        room = min(capacity, len(rows)) if seen > len(rows) else capacity
        sample = cls(room, text_length=text_length, dimension=dimension, share=float(state["share"]))
        # A uniform sample of a uniform sample is one.
        left: Sequence[int] = range(len(rows))
        if len(rows) > room:
            left = sorted(rng.permutation(len(rows))[:room].tolist())
        sample.seen, sample.first_at, sample.last_at = seen, state["first_at"], state["last_at"]
        has_vector = set(embedded.tolist())
        for slot, place in enumerate(left):
            text = rows[place].text
            sample.rows.append(replace(rows[place], text=text[:text_length] if text and text_length else None))
            sample._set_vector(slot, vectors[place] if place in has_vector else None)
        return sample

    def _row(self, observation: Observation, place: int) -> Row:
        text, score = observation.text, observation.retrieval_score
        return Row(
            place=place,
            at=observation.at,
            prompt_tokens=observation.prompt_tokens,
            answer_tokens=observation.answer_tokens,
            language=observation.language[:_LONGEST_NAME],
            adapter=observation.adapter[:_LONGEST_NAME],
            outcome=observation.outcome[:_LONGEST_NAME],
            retrieval_score=score if score is not None and math.isfinite(score) else None,
            text=text[: self._text_length] if text and self._text_length else None,
        )

    def _set_vector(self, slot: int, vector: NDArray[np.floating[Any]] | None) -> None:
        self._embedded[slot] = vector is not None
        if vector is None:
            return
        if self._vectors is None:
            self._vectors = np.zeros((self._capacity, len(vector)), dtype=np.float16)
        self._vectors[slot] = vector


def sampling_error(rows: int, seen: int) -> float:
    """How far a share among ``rows`` drawn of ``seen`` may be from the share among all, with 95 % confidence.

    Serfling's inequality for draws without replacement (Annals of Statistics 2, 1974), two-sided; 0 where all are kept.
    """
    if rows >= seen:
        return 0.0
    if rows == 0:
        return 1.0
    return min(1.0, math.sqrt((1 - (rows - 1) / seen) * math.log(2 / _DOUBT) / (2 * rows)))


def _unit(embedding: Vectors | None) -> NDArray[np.float64] | None:
    if embedding is None:
        return None
    vector = np.asarray(embedding, dtype=np.float64).reshape(-1)
    length = float(np.linalg.norm(vector))
    return vector / length if math.isfinite(length) and length > 0 else None
