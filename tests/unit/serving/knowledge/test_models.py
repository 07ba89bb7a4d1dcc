"""Models that are loaded once, with a cache and without."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serving.config import KnowledgeSettings
from serving.knowledge.models import Models
from serving.settings.knowledge import RerankerSettings
from tests.embedding_server import Holds, embedding_server


def test_one_model_answers_with_a_cache_and_without(tmp_path: Path) -> None:
    holds = Holds()
    with embedding_server(holds) as url:
        settings = {"embedder": {"url": url, "model": "words"}, "cache_dir": str(tmp_path)}
        models = Models(KnowledgeSettings.model_validate(settings))
        cached, bare = models.embedder(), models.uncached_embedder()
        assert holds.asked["words"] == 1
        for _ in range(2):
            cached.embed_documents(["a secret"])
            cached.embed_queries(["a question"])
        assert holds.asked["words"] == 3
        for _ in range(2):
            bare.embed_documents(["a secret"])
            bare.embed_queries(["a question"])
        assert holds.asked["words"] == 7
        models.close()


def test_nothing_is_reranked_where_an_embedder_gives_no_token_vectors(tmp_path: Path) -> None:
    with embedding_server(Holds()) as url:
        settings = {"embedder": {"url": url, "model": "words"}, "cache_dir": str(tmp_path)}
        models = Models(KnowledgeSettings.model_validate(settings))
        assert models.reranker() is None
        models.close()


@pytest.mark.parametrize(
    ("reranker", "part"),
    [
        ({}, 0.5),
        ({"kind": "late-interaction"}, 0.5),
        ({"kind": "late-interaction", "weight": 1}, 1.0),
        ({"kind": "cross-encoder", "model": "m"}, 1.0),
        ({"kind": "url", "model": "m", "url": "http://127.0.0.1:1/rerank", "weight": 0.3}, 0.3),
    ],
)
def test_a_rerankers_part_is_what_measured_best_for_its_kind(reranker: dict[str, Any], part: float) -> None:
    assert RerankerSettings.model_validate(reranker).part == part


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reranker": {"model": "m"}}, "`model`: goes with the kinds `cross-encoder` and `url`"),
        ({"reranker": {"kind": "off", "cache_bytes": 5}}, "the kind `off` keeps no token vectors"),
        (
            {"reranker": {"kind": "late-interaction"}, "embedder": {"url": "http://127.0.0.1:1/v1", "model": "m"}},
            "an embedder behind a URL does not give",
        ),
    ],
)
def test_settings_that_a_reranker_would_ignore_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KnowledgeSettings.model_validate(settings)
