"""``loraplex knowledge`` against a live knowledge service."""

import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.knowledge_live import key_of
from tests.knowledge_terminal import KnowledgeTerminal, knowledge_terminal, write
from tests.lifecycle import until

KEY = "a-readers-key"
HASH = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
RULE = "Refunds are paid within {} days after the parcel came back to the warehouse in Bremen."


@asynccontextmanager
async def terminal(folder: Path, **options: Any) -> AsyncIterator[KnowledgeTerminal]:
    """A gateway that holds nothing yet; ``docs`` is an empty folder."""
    (folder / "state").mkdir()
    (folder / "docs").mkdir()
    async with knowledge_terminal(folder / "state", **options) as cli:
        yield cli


@asynccontextmanager
async def handbook(folder: Path, **options: Any) -> AsyncIterator[KnowledgeTerminal]:
    """With two editions of a rule, an expired one, one for the staff, and one that cannot be read."""
    async with terminal(folder, **options) as cli:
        docs = folder / "docs"
        for name, days, day, region in (("old", "ninety", "2020-01-01", "eu"), ("new", "thirty", "2021-01-01", "us")):
            (docs / f"{name}.md").write_text(RULE.format(days))
            attributes = ("title=Refunds", f"effective_at={day}", f"region={region}")
            await cli.ingest(docs / f"{name}.md", *(part for one in attributes for part in ("--attribute", one)))
        (docs / "stale.md").write_text("Refunds were paid in gold.")
        await cli.ingest(docs / "stale.md", "--attribute", "expires_at=2020-01-01")
        (docs / "shop.md").write_text("The shop in Bremen opens at nine.")
        await cli.ingest(docs / "shop.md", "--label", "staff")
        (docs / "broken.pdf").write_bytes(b"not a PDF")
        await cli.ingest(docs / "broken.pdf", exit_code=1)
        yield cli


async def test_stores_and_their_content_are_listed_with_what_failed_and_why(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        assert "No vector stores yet" in await cli.run("knowledge", "ls")
        (tmp_path / "docs" / "film.pdf").write_bytes(b"no PDF")
        await cli.ingest(tmp_path / "docs" / "film.pdf", to="films", exit_code=1)
        for number in range(22):
            (tmp_path / "docs" / f"{number}.md").write_text(f"# Page {number}")
        await cli.ingest(tmp_path / "docs" / "*.*", to="pages", exit_code=1)
        stores = {one["name"]: one for one in (await cli.json("knowledge", "ls"))["data"]}
        assert stores["pages"]["file_counts"]["completed"] == 22
        listing = (await cli.run("knowledge", "ls")).splitlines()
        assert listing[0].split()[:4] == ["Name", "Documents", "Failed", "In"]
        assert listing[2].split()[:4] == ["pages", "22", "1", "0"]
        shown = await cli.run("knowledge", "show", "pages")
        assert "23 documents (22 completed, 1 failed, 0 in progress)" in shown
        assert "the 20 newest of 23; --all lists all" in shown
        assert "film.pdf: the PDF is damaged" in shown
        everything = await cli.json("knowledge", "show", stores["pages"]["id"], "--all")
        assert len(everything["documents"]) == 23
        assert [one["filename"] for one in everything["failed"]] == ["film.pdf"]


async def test_what_a_file_is_called_cannot_command_the_terminal(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        (tmp_path / "docs" / "\x1b[2J[red]x.pdf").write_bytes(b"no PDF")
        output = await cli.run("ingest", str(tmp_path / "docs"), "--to", "films", exit_code=1)
        output += await cli.run("knowledge", "show", "films")
        assert "\x1b" not in output
        assert output.count("?[2J[red]x.pdf") == 3


async def test_a_search_gives_passages_and_keeps_to_the_filter(tmp_path: Path) -> None:
    async with handbook(tmp_path) as cli:
        output = await cli.run("knowledge", "search", "handbook", "when are refunds paid", "--top", "1")
        assert output.splitlines()[0].startswith("1. new.md  (0.")
        assert output.splitlines()[1] == f"   {RULE.format('thirty')}"
        chosen = '{"type": "eq", "key": "region", "value": "eu"}'
        found = await cli.json("knowledge", "search", "handbook", "when are refunds paid", "--filter", chosen)
        assert [one["filename"] for one in found["data"]] == ["old.md"]
        nowhere = '{"type": "eq", "key": "region", "value": "moon"}'
        assert "Nothing was found." in await cli.run("knowledge", "search", "handbook", "refunds", "--filter", nowhere)
        told = await cli.run("knowledge", "explain", "handbook", "refunds", "--filter", nowhere)
        assert "Nothing was found: no document" in told


async def test_an_explanation_shows_every_stage_and_says_why_the_first_is_first(tmp_path: Path) -> None:
    async with handbook(tmp_path) as cli:
        output = await cli.run("knowledge", "explain", "handbook", "when are refunds paid")
        lines = output.splitlines()
        assert lines[0].split() == ["#", "Source", "Passage", "Dense", "Lexical", "Fused", "Text"]
        assert lines[1].split()[:3] == ["1", "new.md", "0"]
        assert "old.md, passage 0 is superseded by new.md" in lines
        assert "left out because they have expired: 1 document" in lines
        assert any(line.startswith("select ") and "embed " in line for line in lines)
        assert lines[-1].startswith("new.md, passage 0 is first: number ")
        assert lines[-1].endswith("; together that makes 1, against 0 for the next, shop.md, passage 0.")
        answer = await cli.json("knowledge", "explain", "handbook", "when are refunds paid")
        assert set(answer["arms"][0]) == {"dense", "lexical"}
        unheard = await cli.run("knowledge", "explain", "handbook", "zebra")
        assert "nothing was found by words" in unheard


async def test_a_key_that_is_no_administrators_gets_an_explanation_without_the_arms(tmp_path: Path) -> None:
    keys = [key_of("root", admin=True), key_of("bob")]
    async with terminal(tmp_path, api_keys=keys) as cli:
        write(tmp_path / "docs", refunds="Refunds are paid within thirty days.", shop="The shop opens at nine.")
        await cli.run("ingest", str(tmp_path / "docs"), "--to", "handbook", env={"LORAPLEX_API_KEY": "root"})
        asked = ("knowledge", "explain", "handbook", "when are refunds paid")
        output = await cli.run(*asked, env={"LORAPLEX_API_KEY": "bob"})
        assert "Lexical" not in output
        assert "refunds.md, passage 0 is first; it scores 1, against 0 for the next, shop.md, passage 0." in output


async def test_a_document_is_removed_by_its_source_or_id_and_its_file_with_it(tmp_path: Path) -> None:
    async with handbook(tmp_path) as cli:
        shop = (await cli.documents())["shop.md"]["id"]
        output = await cli.run("knowledge", "rm", "handbook", "old.md", typed="n\n", exit_code=1)
        assert "Remove old.md (1 document) from the vector store handbook?" in output
        assert "old.md" in await cli.documents()
        assert "1 document removed from handbook" in await cli.run("knowledge", "rm", "handbook", "old.md", typed="y\n")
        removed = await cli.json("knowledge", "rm", "handbook", shop, "--yes")
        assert removed["removed"] == [shop]
        assert set(await cli.documents()) == {"new.md", "stale.md", "broken.pdf"}
        assert {one["filename"] for one in await cli.files()} == {"new.md", "stale.md", "broken.pdf"}


async def test_a_file_that_another_store_holds_stays(tmp_path: Path) -> None:
    async with handbook(tmp_path) as cli:
        other = await cli.ingest(tmp_path / "docs" / "shop.md", to="other")
        shared = (await cli.documents())["new.md"]["id"]
        await cli.attach(other["store"]["id"], shared)
        await cli.run("knowledge", "rm", "handbook", shared, "--yes")
        assert shared in {one["id"] for one in await cli.files()}


async def test_a_store_is_removed_and_its_files_stay(tmp_path: Path) -> None:
    async with handbook(tmp_path) as cli:
        output = await cli.run("knowledge", "rm", "handbook", typed="y\n")
        assert "Delete the vector store handbook, with 5 documents in it? Their files stay." in output
        assert "the vector store handbook is deleted" in output
        assert (await cli.json("knowledge", "ls"))["data"] == []
        assert len(await cli.files()) == 5


async def test_the_gateway_is_asked_to_look_at_the_sources_of_a_configured_store(tmp_path: Path) -> None:
    source = tmp_path / "followed"
    source.mkdir()
    bases = {"rules": {"sources": [{"path": str(source)}], "sync_interval_s": None}}
    async with terminal(tmp_path, knowledge={"bases": bases}) as cli:
        (source / "late.md").write_text("# Late")
        assert "looks at the sources of rules" in await cli.run("knowledge", "sync", "rules")

        async def is_there() -> bool:
            return "late.md" in await cli.documents("rules")

        await until(is_there)
        (tmp_path / "docs" / "a.md").write_text("# A")
        await cli.ingest(tmp_path / "docs")
        refusal = await cli.run("knowledge", "sync", "handbook", exit_code=1)
        assert "The configuration names no sources for this vector store." in refusal


# Errors


async def test_an_unknown_store_and_an_ambiguous_name_are_told_with_the_next_step(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        for command in (("show",), ("search", "why"), ("explain", "why"), ("sync",), ("rm", "x")):
            output = await cli.run("knowledge", command[0], "nowhere", *command[1:], exit_code=1)
            assert output.strip() == "There is no vector store `nowhere`. `loraplex knowledge ls` lists the stores."
        await cli.ingest(tmp_path / "docs")
        output = await cli.run("knowledge", "rm", "handbook", "x", exit_code=1)
        assert output.startswith("The vector store handbook holds no `x`. `loraplex knowledge show")
        await cli.create("handbook")
        output = await cli.run("knowledge", "show", "handbook", exit_code=1)
        assert output.startswith("2 vector stores have the name `handbook`. Name it by its id")


async def test_a_filter_that_is_none_is_told_so(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        await cli.ingest(tmp_path / "docs")
        for text, said in (("{", "is not JSON"), ("[]", "a filter is an object")):
            output = await cli.run("knowledge", "search", "handbook", "why", "--filter", text, exit_code=2)
            assert said in " ".join(output.replace("│", "").split())
        error = await cli.json("knowledge", "search", "handbook", "why", "--filter", '{"type": "like"}', exit_code=1)
        assert error["error"]["code"] == "invalid_filter"
        assert '"key": "region"' in error["error"]["next"]


async def test_the_key_comes_from_the_environment_and_must_be_allowed_to_write(tmp_path: Path) -> None:
    keys = [{"name": "reader", "hash": HASH}]
    async with terminal(tmp_path, api_keys=keys) as cli:
        (tmp_path / "docs" / "a.md").write_text("# A")
        assert "LORAPLEX_API_KEY" in await cli.run("knowledge", "ls", exit_code=1)
        wrong = {"LORAPLEX_API_KEY": "another"}
        assert "Incorrect API key" in await cli.run("knowledge", "ls", env=wrong, exit_code=1)
        right = {"LORAPLEX_API_KEY": KEY}
        await cli.run("knowledge", "ls", env=right)
        output = await cli.run("ingest", str(tmp_path / "docs"), "--to", "x", env=right, exit_code=1)
        assert output.strip() == (
            "This needs an API key with `writes_knowledge`. Put a key that may do this into the environment variable "
            "LORAPLEX_API_KEY."
        )


async def test_where_nothing_listens_it_says_how_to_start_a_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cli = KnowledgeTerminal(f"http://127.0.0.1:{listener.getsockname()[1]}")
    for command in (("knowledge", "ls"), ("ingest", str(tmp_path), "--to", "x")):
        assert "No gateway answers" in await cli.run(*command, exit_code=3)
