"""Late interaction, over vectors that need no model."""

from collections.abc import Sequence

import numpy as np
import pytest

from retrieval.embedding import _of_tokens
from retrieval.errors import RerankerUnavailable
from retrieval.rerank import LateInteractionReranker, max_sims
from retrieval.types import Vectors
from tests.word_embedder import WordEmbedder


class TokenWords(WordEmbedder):
    """A vector for each token: its length in letters says which."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once: list[int] = []

    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        self.at_once.append(len(texts))
        return [np.eye(16, dtype=np.float32)[[len(word) for word in text.split()]] for text in texts]


def test_the_vectors_of_all_texts_are_never_in_memory_together() -> None:
    embedder = TokenWords()
    texts = ["x" * (1 + number % 9) for number in range(70)]
    scores = LateInteractionReranker(embedder).score("xxx", texts)
    assert scores == [float(len(text) == 3) for text in texts]
    assert embedder.at_once == [1, 32, 32, 6]


def test_no_texts_have_no_scores() -> None:
    assert LateInteractionReranker(TokenWords()).score("xxx", []) == []


def test_each_passage_has_the_mean_of_its_nearest_tokens() -> None:
    draw = np.random.default_rng(5)
    question = draw.normal(size=(4, 8)).astype(np.float32)
    passages = [draw.normal(size=(tokens, 8)).astype(np.float32) for tokens in (3, 0, 1, 7, 0)]
    alone = [float((question @ one.T).max(axis=1).mean()) if len(one) else -1.0 for one in passages]
    assert max_sims(question, passages) == pytest.approx(alone, abs=1e-6)
    assert max_sims(question[:0], passages) == [-1.0] * 5


def test_a_model_without_vectors_of_tokens_says_how_to_go_on() -> None:
    with pytest.raises(RerankerUnavailable, match="kind: off"):
        _of_tokens({"sentence_embedding": np.zeros(3)}, set())
