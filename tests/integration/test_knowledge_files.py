"""Hostile and damaged files through the API: a clean result, or a failure told in one sentence; the rest goes on."""

import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.embedding_server import embedding_server
from tests.knowledge_live import (
    knowledge_config,
    live_with_memory_index,
    made,
    settled,
    uploaded,
)
from tests.office_files import make_docx, make_pdf, zipped

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 24 * 2**20
CODES = {"server_error", "unsupported_file", "invalid_file"}
FACT = "The Orion pump costs 912 euros, café included."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    with embedding_server() as embeddings:
        config = knowledge_config(
            tmp_path_factory.mktemp("files"),
            knowledge={
                "embedder": {"url": embeddings, "model": "words", "max_tokens": 512, "batch_size": 512},
                "max_file_bytes": LIMIT,
                "parse_timeout_s": 20,
                "cache_bytes": 0,
            },
        )
        async with live_with_memory_index(config) as running, running.http() as client:
            yield client


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file in a store."""

    status: str
    error: dict[str, Any] | None
    text: str
    """Of all its passages."""


async def _ingested(client: httpx.AsyncClient, name: str, data: bytes, *, within_s: float = 60) -> Outcome:
    store = await made(client, "vector_stores", {"name": name[:100]})
    file_id = await uploaded(client, name, data)
    await made(client, f"vector_stores/{store}/files", {"file_id": file_id})
    await settled(client, store, within_s=within_s)
    return await _outcome(client, store, file_id)


async def _outcome(client: httpx.AsyncClient, store: str, file_id: str) -> Outcome:
    path = f"vector_stores/{store}/files/{file_id}"
    shown = (await client.get(path)).json()
    parts = (await client.get(f"{path}/content")).json()["data"]
    outcome = Outcome(shown["status"], shown["last_error"], "\n".join(part["text"] for part in parts))
    if outcome.status == "failed":
        assert outcome.error is not None
        assert outcome.error["code"] in CODES
        message = outcome.error["message"]
        assert message
        assert len(message) < 400
        assert "\n" not in message
        assert "Traceback" not in message
        assert outcome.text == ""
    else:
        assert (outcome.status, outcome.error) == ("completed", None)
        assert outcome.text
    return outcome


def _bomb() -> bytes:
    return zipped({"[Content_Types].xml": "x", "word/document.xml": "<a>" + "A" * (64 * 2**20) + "</a>"})


def _nested_bomb() -> bytes:
    document = make_docx([("Normal", "x")])
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha" * 100}">' for n in range(9))
    xml = f'<?xml version="1.0"?><!DOCTYPE d [{entities}]><d>&e8;</d>'
    return zipped({"[Content_Types].xml": "x", "_rels/.rels": "x", "word/document.xml": xml}) + document[:0]


def _mutated(data: bytes, seed: int) -> bytes:
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 40)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randint(len(changed) // 3, len(changed))])


PDF = make_pdf([FACT.replace("é", "e")] * 3)
MUST_FAIL = {
    "bomb.docx": _bomb(),
    "entities.docx": _nested_bomb(),
    "not-zip.docx": b"PK\x03\x04 nothing of the kind",
    "empty.txt": b"",
    "blank.md": b" \n\t\n ",
    "empty.pdf": b"",
    "text.pdf": b"this is no PDF",
    "cut.pdf": PDF[:60],
    "picture.txt": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "program.txt": b"\x7fELF\x02\x01\x01" + bytes(64) + random.Random(1).randbytes(4_000),
    "tool.exe": b"MZ plain",
    "scripts.html": b"<html><script>alert(1)</script><style>p{}</style></html>",
    "nulls.csv": b"\x00" * 1_000,
}


@pytest.mark.parametrize("name", MUST_FAIL)
async def test_what_holds_no_text_fails_with_a_sentence(http: httpx.AsyncClient, name: str) -> None:
    assert (await _ingested(http, name, MUST_FAIL[name])).status == "failed"


ENCODINGS = {
    "utf-8": FACT.encode(),
    "utf-8 with mark": FACT.encode("utf-8-sig"),
    "latin-1": (FACT + " Élève, où, garçon, très bien.\n" * 4).encode("latin-1"),
    "utf-16 with mark": FACT.encode("utf-16"),
    "utf-16 big endian with mark": b"\xfe\xff" + FACT.encode("utf-16-be"),
    "utf-32 with mark": FACT.encode("utf-32"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_text_is_read_whatever_its_encoding(http: httpx.AsyncClient, encoding: str) -> None:
    outcome = await _ingested(http, "fact.txt", ENCODINGS[encoding])
    assert FACT in outcome.text


async def test_utf_16_without_a_mark_is_not_taken_for_something_else(http: httpx.AsyncClient) -> None:
    outcome = await _ingested(http, "fact.txt", FACT.encode("utf-16-le"))
    assert outcome.status == "failed" or FACT in outcome.text


async def test_scripts_styles_and_comments_of_a_page_are_never_in_passages(http: httpx.AsyncClient) -> None:
    page = (
        "<html><head><title>Pump</title><style>.secretstyle{color:red}</style><script>secretscript()</script></head>"
        f"<body onload='secretload()'><!-- secretcomment --><p>{FACT}</p><SCRIPT >secretupper()</SCRIPT\n>"
        "<noscript>plain</noscript><template>secrettemplate</template><svg><script>secretsvg()</script></svg></body>"
    )
    outcome = await _ingested(http, "page.html", page.encode())
    assert FACT in outcome.text
    assert "secret" not in outcome.text


async def test_no_damage_to_a_pdf_or_word_document_stops_the_ingestion(http: httpx.AsyncClient) -> None:
    word = make_docx([("Heading1", "Pumps"), ("Normal", FACT)], [["a", "b"], ["1", "2"]])
    damaged = {f"{seed}.pdf": _mutated(PDF, seed) for seed in range(25)}
    damaged |= {f"{seed}.docx": _mutated(word, seed) for seed in range(25)}
    store = await made(http, "vector_stores", {"name": "damaged"})
    ids = [await uploaded(http, name, data) for name, data in (*damaged.items(), ("good.txt", FACT.encode()))]
    batch = await made(http, f"vector_stores/{store}/file_batches", {"file_ids": ids})
    await settled(http, store)
    outcomes = [await _outcome(http, store, file_id) for file_id in ids]
    assert outcomes[-1].text == FACT
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    counts = (await http.get(f"vector_stores/{store}/file_batches/{batch}")).json()["file_counts"]
    assert (counts["failed"], counts["completed"], counts["total"]) == (failed, len(ids) - failed, len(ids))
    assert failed >= 20


async def test_a_batch_with_every_bad_file_still_takes_in_the_good_ones(http: httpx.AsyncClient) -> None:
    store = await made(http, "vector_stores", {"name": "mixed"})
    bad = [await uploaded(http, name, data) for name, data in MUST_FAIL.items()]
    good = [await uploaded(http, f"good-{n}.txt", f"Rule {n}: {FACT}".encode()) for n in range(3)]
    await made(http, f"vector_stores/{store}/file_batches", {"file_ids": [good[0], *bad, *good[1:]]})
    counts = (await settled(http, store))["file_counts"]
    assert (counts["completed"], counts["failed"]) == (len(good), len(bad))
    found = await http.post(f"vector_stores/{store}/search", json={"query": "Orion pump", "max_num_results": 50})
    assert {one["file_id"] for one in found.json()["data"]} <= set(good)
    assert found.json()["data"]


async def test_a_hundred_megabytes_are_refused_before_they_are_read(http: httpx.AsyncClient) -> None:
    began = time.monotonic()
    answer = await http.post(
        "files", files={"file": ("large.txt", b"word " * (20 * 2**20))}, data={"purpose": "assistants"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert time.monotonic() - began < 20


async def test_twenty_megabytes_of_text_are_taken_in_or_fail_within_bounds(http: httpx.AsyncClient) -> None:
    line = "The warehouse keeps flanges, gaskets and pumps in rows of nine shelves each.\n\n"
    text = (line * (20 * 2**20 // len(line))).encode()
    began = time.monotonic()
    outcome = await _ingested(http, "large.txt", text, within_s=120)
    assert time.monotonic() - began < 120
    if outcome.status == "completed":
        assert len(outcome.text) > 0.9 * len(text)
