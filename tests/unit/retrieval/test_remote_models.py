"""Embedding and reranking models behind a URL: a real HTTP server on loopback, well behaved and not."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from retrieval.embedding import OpenAIEmbedder
from retrieval.errors import EmbedderUnavailable, RerankerUnavailable
from retrieval.rerank import UrlReranker

Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]


class Model:
    """An HTTP server whose answers a test chooses."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        self.answer: Answer = well_behaved
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.requests.append((self.path, body, self.headers["authorization"]))
                status, data = model.answer(self.path, body)
                text = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def well_behaved(path: str, body: dict[str, Any]) -> tuple[int, Any]:
    if path.endswith("/embeddings"):
        rows = [{"index": place, "embedding": [float(len(text)), 1.0]} for place, text in enumerate(body["input"])]
        return 200, {"data": rows[::-1]}
    scored = [{"index": place, "relevance_score": len(text)} for place, text in enumerate(body["documents"])]
    return 200, {"results": sorted(scored, key=lambda one: -one["relevance_score"])}


@pytest.fixture
def model() -> Iterator[Model]:
    """A model that answers as it should until a test says otherwise."""
    started = Model()
    yield started
    started.stop()


def test_texts_are_embedded_in_batches_in_their_order_with_length_one(model: Model) -> None:
    embedder = OpenAIEmbedder(
        f"{model.url}/v1/", "m", api_key="k", document_prefix="d: ", query_prefix="q: ", batch_size=2
    )
    vectors = embedder.embed_documents(["a", "bbb", "cc"])
    assert vectors[:, 0] / vectors[:, 1] == pytest.approx([4, 6, 5])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert [body["input"] for _, body, _ in model.requests[1:]] == [["d: a", "d: bbb"], ["d: cc"]]
    assert {(path, key) for path, _, key in model.requests} == {("/v1/embeddings", "Bearer k")}
    embedder.embed_queries(["x"])
    assert model.requests[-1][1]["input"] == ["q: x"]
    assert embedder.dimension == 2
    assert embedder.embed_documents([]).shape == (0, 2)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error": "boom"}),
        (200, b"not json"),
        (200, {"data": []}),
        (200, {"data": [{"index": 0, "embedding": [1.0, 2.0, 3.0]}]}),
        (200, {"data": [{"index": 0, "embedding": "x"}]}),
        (200, []),
    ],
    ids=["500", "no JSON", "too few", "another dimension", "no vector", "no object"],
)
def test_an_embedding_model_that_answers_nonsense_is_unavailable(model: Model, answer: tuple[int, Any]) -> None:
    embedder = OpenAIEmbedder(f"{model.url}/v1", "m")
    model.answer = lambda path, body: answer
    with pytest.raises(EmbedderUnavailable, match=model.url):
        embedder.embed_documents(["text"])


def test_an_embedding_model_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(EmbedderUnavailable):
        OpenAIEmbedder("http://127.0.0.1:9/v1", "m")


def test_scores_come_back_in_the_order_of_the_texts(model: Model) -> None:
    reranker = UrlReranker(f"{model.url}/rerank", "m", api_key="k")
    assert reranker.score("question", ["aa", "a", "aaa"]) == [2, 1, 3]
    path, body, key = model.requests[0]
    assert (path, key) == ("/rerank", "Bearer k")
    assert body == {"model": "m", "query": "question", "documents": ["aa", "a", "aaa"], "top_n": 3}
    assert reranker.score("question", []) == []


@pytest.mark.parametrize(
    "answer",
    [
        (503, {}),
        (200, b"x"),
        (200, {"results": [{"index": 0, "relevance_score": 1}]}),
        (200, {"results": [{"index": 0}]}),
    ],
    ids=["503", "no JSON", "too few", "no score"],
)
def test_a_reranker_that_answers_nonsense_is_unavailable(model: Model, answer: tuple[int, Any]) -> None:
    model.answer = lambda path, body: answer
    with pytest.raises(RerankerUnavailable, match="rerank"):
        UrlReranker(f"{model.url}/rerank", "m").score("question", ["one", "two"])
