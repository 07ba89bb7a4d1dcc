"""How good a ranked list is. Pure.

Definitions as in Manning, Raghavan, Schuetze: Introduction to Information Retrieval, chapter 8; nDCG with the gain
``2**grade - 1`` and the discount ``log2(position + 1)`` is Burges et al. 2005's, with linear gain Jaervelin and
Kekaelaeinen's, which trec_eval and BEIR report and which is used here.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence

Qrels = Mapping[str, Mapping[str, int]]
"""Query → document → grade; 0 or less is not relevant."""
Run = Mapping[str, Sequence[str]]
"""Query → documents, the best first."""


def ndcg_at(k: int, ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """Normalised discounted cumulative gain of the first ``k``, in [0, 1]; 0 where nothing is relevant."""
    ideal = _dcg(sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k])
    return _dcg([max(grades.get(one, 0), 0) for one in ranked[:k]]) / ideal if ideal else 0.0


def recall_at(k: int, ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """The share of the relevant documents that are among the first ``k``; 0 where nothing is relevant."""
    relevant = _relevant(grades)
    return len(relevant.intersection(ranked[:k])) / len(relevant) if relevant else 0.0


def reciprocal_position(ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """``1 / position`` of the first relevant document; 0 where none is found. Its mean is the MRR."""
    relevant = _relevant(grades)
    return next((1 / position for position, one in enumerate(ranked, start=1) if one in relevant), 0.0)


def mean_over(qrels: Qrels, run: Run, measure: "Measure") -> float:
    """The mean over every query that has a relevant document; a query that the run lacks counts 0.

    Raises:
        ValueError: no query has a relevant document.
    """
    values = [measure(run.get(query, ()), grades) for query, grades in qrels.items() if _relevant(grades)]
    if not values:
        raise ValueError("no query has a relevant document")
    return statistics.fmean(values)


class Measure:
    """A measure by its name, such as ``ndcg@10``, ``recall@100`` or ``mrr``.

    Raises:
        ValueError: no such measure.
    """

    def __init__(self, name: str) -> None:
        kind, _, cut = name.partition("@")
        if (kind, cut) != ("mrr", "") and (kind not in ("ndcg", "recall") or not cut.isdigit() or int(cut) < 1):
            raise ValueError(f"no measure {name!r}; there are ndcg@K, recall@K and mrr")
        self.name = name
        self._kind = kind
        self._k = int(cut) if cut else 0

    def __call__(self, ranked: Sequence[str], grades: Mapping[str, int]) -> float:
        """Its value for one query."""
        if self._kind == "mrr":
            return reciprocal_position(ranked, grades)
        return (ndcg_at if self._kind == "ndcg" else recall_at)(self._k, ranked, grades)


def _dcg(grades: Collection[int]) -> float:
    return sum(grade / math.log2(position + 1) for position, grade in enumerate(grades, start=1))


def _relevant(grades: Mapping[str, int]) -> set[str]:
    return {one for one, grade in grades.items() if grade > 0}
