"""Models that are loaded once, with a cache and without."""

from pathlib import Path

from serving.config import KnowledgeSettings
from serving.knowledge.models import Models
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
