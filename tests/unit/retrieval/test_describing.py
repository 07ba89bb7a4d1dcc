"""Sentences that place passages in their documents."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retrieval.chunking import ChunkLimits
from retrieval.describing import OpenAIDescriber
from retrieval.errors import DescriberUnavailable, TextRejected
from retrieval.ingest import limits_for, make_edition
from retrieval.parsing.parse import parse
from tests.word_embedder import WordEmbedder


class Model:
    """Answers every prompt with ``says``, or fails."""

    def __init__(self) -> None:
        self.says: object = "It is about   prices."
        self.prompts: list[str] = []
        self.headers: list[str | None] = []
        self.status = 200


@pytest.fixture
def model() -> Iterator[tuple[Model, str]]:
    """A model and the address of its server."""
    it = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            it.prompts.append(body["messages"][0]["content"])
            it.headers.append(self.headers["authorization"])
            answer = json.dumps({"choices": [{"message": {"content": it.says}}]}).encode()
            self.send_response(it.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield it, f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sentence_is_searched_with_its_passage_and_not_quoted(model: tuple[Model, str]) -> None:
    it, url = model
    describer = OpenAIDescriber(url, "m", api_key="k")
    document = parse("prices.md", b"# Prices\n\nThe Team plan costs 79 EUR.")
    edition = make_edition(1, document, ChunkLimits(64), WordEmbedder(), describer)
    describer.close()
    assert edition.passages[0].text == "The Team plan costs 79 EUR."
    assert edition.passages[0].context == "Prices\nIt is about prices."
    assert "The Team plan costs 79 EUR." in it.prompts[0]
    assert it.headers == ["Bearer k"]


def test_what_is_ingested_again_is_not_written_again(model: tuple[Model, str]) -> None:
    it, url = model
    describer = OpenAIDescriber(url, "m")
    for _ in range(3):
        assert describer.describe("whole", ["a", "b"]) == ["It is about prices."] * 2
    describer.describe("another whole", ["a"])
    describer.close()
    assert len(it.prompts) == 3


def test_a_sentence_that_is_too_long_is_cut_and_a_missing_one_is_none(model: tuple[Model, str]) -> None:
    it, url = model
    describer = OpenAIDescriber(url, "m", max_tokens=8)
    document = parse("a.txt", b"Something is said.")
    it.says = "word " * 100
    context = make_edition(1, document, ChunkLimits(64), WordEmbedder(), describer).passages[0].context
    assert 0 < len(context.split()) <= 8
    it.says = ["not", "text"]
    other = parse("a.txt", b"Something else is said.")
    assert make_edition(2, other, ChunkLimits(64), WordEmbedder(), describer).passages[0].context == ""
    describer.close()


def test_a_long_document_is_shown_around_the_passage(model: tuple[Model, str]) -> None:
    it, url = model
    describer = OpenAIDescriber(url, "m")
    whole = f"{'before ' * 5_000}THE PLACE{' after' * 5_000}"
    describer.describe(whole, ["THE PLACE"])
    describer.close()
    assert it.prompts[0].count("THE PLACE") == 2
    assert len(it.prompts[0]) < 13_000


def test_a_model_that_does_not_answer_is_said_to_be_away(model: tuple[Model, str]) -> None:
    it, url = model
    describer = OpenAIDescriber(url, "m")
    it.status = 503
    with pytest.raises(DescriberUnavailable, match="503"):
        describer.describe("whole", ["a"])
    describer.close()


def test_a_text_that_the_model_refuses_is_not_the_servers_fault(model: tuple[Model, str]) -> None:
    it, url = model
    describer = OpenAIDescriber(url, "m")
    it.status = 400
    with pytest.raises(TextRejected, match="status 400"):
        describer.describe("whole", ["a"])
    it.status = 429
    with pytest.raises(DescriberUnavailable):
        describer.describe("whole", ["a"])
    describer.close()


def test_room_is_kept_for_the_sentence() -> None:
    embedder = WordEmbedder()
    assert limits_for(embedder, reserved=16).max_tokens == embedder.max_tokens - 16
    assert limits_for(embedder, reserved=10**6).max_tokens == embedder.max_tokens // 2
