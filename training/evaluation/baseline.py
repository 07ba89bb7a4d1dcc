"""The classical baseline of a classification: TF-IDF of words and character n-grams, and a linear SVM.

Joachims, "Text Categorization with Support Vector Machines", 1998; character n-grams as in fastText's and many shared
tasks' baselines. A model that does not beat it is not worth its latency.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.errors import SuiteInvalid
from training.evaluation.cases import read_cases
from training.evaluation.scorers.classification import Classification, confusion, raw_label
from training.evaluation.types import Case, Json

METHOD = "TF-IDF (words 1-2, characters 2-5) + LinearSVC"
_SEED = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the baseline says of a suite's cases."""

    predictions: dict[str, str]
    """Label by case."""
    accuracy: float
    macro_f1: float
    rows: int
    """That it learnt from."""
    rows_sha256: str
    overlap: int
    """Cases whose text stands among those rows word for word."""
    seconds: float

    def to_json(self) -> Json:
        """For a run's record."""
        return {
            "method": METHOD,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "rows": self.rows,
            "rows_sha256": self.rows_sha256,
            "overlap": self.overlap,
            "seconds": self.seconds,
            "predictions": self.predictions,
        }


def classical_baseline(classification: Classification, cases: Sequence[Case], rows: Path) -> Baseline:
    """Learn from ``rows`` and label ``cases``. The same rows always give the same labels. Needs scikit-learn.

    Raises:
        SuiteInvalid: a row cannot be read, has no label, or all have the same.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    started = time.perf_counter()
    learnt = read_cases(rows)
    labels = []
    for row in learnt:
        label = raw_label(row.expected or "", classification.pointer)
        if label is None:
            raise SuiteInvalid(f"{rows}:{row.line}: the row has no label in its last message")
        labels.append(classification.label_of(row.expected or "") or label)
    if len(set(labels)) < 2:
        raise SuiteInvalid(f"{rows}: the baseline needs rows of at least two labels")
    texts = [question(row) for row in learnt]
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char_wb"),
    )
    model = make_pipeline(features, LinearSVC(random_state=_SEED)).fit(texts, labels)
    asked = [question(case) for case in cases]
    predicted = [str(label) for label in model.predict(asked)]
    pairs = [(classification.wanted(case), label) for case, label in zip(cases, predicted, strict=True)]
    return Baseline(
        predictions={case.id: label for case, label in zip(cases, predicted, strict=True)},
        accuracy=sum(wanted == label for wanted, label in pairs) / len(pairs),
        macro_f1=confusion(pairs).macro_f1,
        rows=len(learnt),
        rows_sha256=hashlib.sha256(rows.read_bytes()).hexdigest(),
        overlap=len([text for text in asked if text in set(texts)]),
        seconds=time.perf_counter() - started,
    )


def question(case: Case) -> str:
    """The text of the last user message."""
    content = next(message.get("content") for message in reversed(case.messages) if message["role"] == "user")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if isinstance(part.get("text"), str))
