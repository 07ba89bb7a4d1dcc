"""``loraplex ingest`` against a live knowledge service."""

import asyncio
import os
import pty
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.knowledge_terminal import ENVIRONMENT, PROGRAM, KnowledgeTerminal, counts, terminal, write
from tests.live import served


async def test_a_folder_is_ingested_once_however_often_it_is_given(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        output = await cli.run("ingest", str(docs), "--to", "handbook")
        assert output.strip() == (
            "handbook, a new vector store: 3 new, 0 updated, 0 unchanged, 0 removed, 0 failed, 0 skipped (3 passages)"
        )
        first = await cli.documents()
        assert set(first) == {"refunds.md", "shipping.md", "teams/payroll.md"}
        assert {one["attributes"]["origin"] for one in first.values()} == {str(docs)}
        again = await cli.ingest(docs, f"{docs}/")
        assert counts(again) == {"unchanged": 3}
        assert again["store"] == {"id": first["refunds.md"]["vector_store_id"], "name": "handbook", "made": False}
        assert await cli.documents() == first
        assert len(await cli.files()) == 3
        assert "refunds.md" in await cli.run("knowledge", "search", "handbook", "how long do refunds take")


async def test_only_what_changed_is_uploaded_and_it_takes_the_place_of_the_old(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        await cli.ingest(docs)
        before = await cli.documents()
        write(docs, refunds="# Refunds\n\nRefunds take sixty days.", fees="# Fees\n\nThere are none.")
        assert counts(await cli.ingest(docs)) == {"new": 1, "updated": 1, "unchanged": 2}
        after = await cli.documents()
        assert after["shipping.md"] == before["shipping.md"]
        assert after["refunds.md"]["sha256"] != before["refunds.md"]["sha256"]
        listed = await cli.json("knowledge", "show", "handbook", "--all")
        assert len(listed["documents"]) == 4
        assert len(await cli.files()) == 4


async def test_other_labels_and_attributes_are_noted_without_an_upload(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        await cli.ingest(docs)
        before = await cli.documents()
        options = ["--label", "hr", "--label", "finance", "--attribute", "year=2026", "--attribute", "draft=false"]
        typed = [*options, "--attribute", "number=007", "--attribute", "version=2.10", "--attribute", "rate=1e400"]
        assert counts(await cli.ingest(docs, *typed)) == {"updated": 3}
        after = await cli.documents()
        assert after["refunds.md"]["attributes"] == {
            "source": "refunds.md",
            "origin": str(docs),
            "labels": "finance, hr",
            "year": 2026,
            "draft": False,
            "number": "007",
            "version": "2.10",
            "rate": "1e400",
        }
        assert {one["id"] for one in after.values()} == {one["id"] for one in before.values()}
        assert counts(await cli.ingest(docs, *typed)) == {"unchanged": 3}


async def test_sync_removes_what_its_own_sources_do_not_hold_any_more(tmp_path: Path, docs: Path) -> None:
    others = write(tmp_path / "others", faq="# Questions\n\nNone yet.")
    async with terminal(tmp_path) as cli:
        await cli.ingest(docs, others)
        (docs / "shipping.md").unlink()
        (others / "faq.md").unlink()
        assert counts(await cli.ingest(docs)) == {"unchanged": 2}
        assert counts(await cli.ingest(docs, "--sync")) == {"unchanged": 2, "removed": 1}
        assert set(await cli.documents()) == {"refunds.md", "teams/payroll.md", "faq.md"}
        assert {one["filename"] for one in await cli.files()} == {"refunds.md", "payroll.md", "faq.md"}


async def test_a_source_that_cannot_be_read_loses_nothing(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        await cli.ingest(docs)
        docs.rename(tmp_path / "elsewhere")
        answer = await cli.ingest(docs, "--sync", exit_code=1)
        assert answer["failures"] == [{"path": str(docs), "reason": "No such file or directory"}]
        assert answer["removed"] == 0
        assert len(await cli.documents()) == 3


async def test_a_file_shared_with_another_store_outlives_its_document(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        await cli.ingest(docs)
        shared = (await cli.documents())["refunds.md"]["id"]
        other = await cli.ingest(docs / "shipping.md", to="other")
        await cli.attach(other["store"]["id"], shared)
        (docs / "refunds.md").unlink()
        assert (await cli.ingest(docs, "--sync"))["removed"] == 1
        assert shared in {one["id"] for one in await cli.files()}


async def test_one_file_that_fails_does_not_stop_the_others(tmp_path: Path, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"not a PDF at all")
    (docs / "large.md").write_text("word " * 1000)
    (docs / "film.mp4").write_bytes(b"film")
    (docs / ".hidden.md").write_text("hidden")
    async with terminal(tmp_path) as cli:
        output = await cli.run("ingest", str(docs), "--to", "handbook", "--max-bytes", "1000", exit_code=1)
        lines = output.splitlines()
        assert any(line.startswith(f"{docs}/broken.pdf: ") for line in lines)
        assert f"{docs}/large.md: it has 5,000 bytes; at most 1,000 are taken" in lines
        assert "3 new, 0 updated, 0 unchanged, 0 removed, 2 failed, 2 skipped (3 passages)" in lines[-1]
        again = await cli.ingest(docs, "--max-bytes", "1000", exit_code=1)
        assert counts(again) == {"unchanged": 3, "failed": 2, "skipped": 2}
        assert {one["path"] for one in again["left_out"]} == {f"{docs}/film.mp4", f"{docs}/.hidden.md"}
        assert len(await cli.files()) == 4


async def test_what_the_gateway_refuses_of_a_batch_does_not_take_the_rest_along(tmp_path: Path, docs: Path) -> None:
    deep = docs.joinpath(*["a-rather-long-name" * 5] * 7)
    write(deep, x="# Deep")
    async with terminal(tmp_path) as cli:
        answer = await cli.ingest(docs, exit_code=1)
        assert counts(answer) == {"new": 3, "failed": 1}
        assert answer["failures"][0]["path"].endswith("/x.md")
        assert "longer than 512 characters" in answer["failures"][0]["reason"]
        await cli.ingest(docs, exit_code=1)
        assert len(await cli.files()) == 4, "what no store took is used again"


async def test_two_files_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", a="# One"), write(tmp_path / "two", a="# Two")
    async with terminal(tmp_path) as cli:
        answer = await cli.ingest(one, other, exit_code=1)
        assert counts(answer) == {"new": 1, "failed": 1}
        assert answer["failures"][0]["path"] == f"{other}/a.md"
        assert "give the folder above both" in answer["failures"][0]["reason"]


async def test_files_globs_and_pages_are_sources_too(tmp_path: Path, docs: Path) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        missing = scope["path"] != "/policy.txt"
        await PlainTextResponse("Visitors sign in.", status_code=404 if missing else 200)(scope, receive, send)

    async with terminal(tmp_path) as cli, served(page) as site:
        sources = (docs / "refunds.md", docs / "s*.md", f"{site}/policy.txt", f"{site}/gone.txt")
        answer = await cli.ingest(*sources, exit_code=1)
        assert counts(answer) == {"new": 3, "failed": 1}
        assert answer["failures"] == [{"path": f"{site}/gone.txt", "reason": "its server answered 404 Not Found"}]
        held = await cli.documents()
        assert set(held) == {"refunds.md", "shipping.md", f"{site}/policy.txt"}
        assert held["shipping.md"]["attributes"]["origin"] == f"{docs}/s*.md"


async def test_names_of_every_kind_arrive_as_they_are(tmp_path: Path) -> None:
    names = ('a "quoted" name.md', "über uns; filename=x.md", "100%25.md", "back\\slash.md")
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"# {name}")
    async with terminal(tmp_path) as cli:
        assert counts(await cli.ingest(folder)) == {"new": 4}
        assert counts(await cli.ingest(folder)) == {"unchanged": 4}
        held = await cli.documents()
        assert set(held) == set(names)
        assert {one["filename"] for one in held.values()} == {*names[:3], "slash.md"}


async def test_without_waiting_it_ends_as_soon_as_everything_is_accepted(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        output = await cli.run("ingest", str(docs), "--to", "handbook", "--no-wait")
        assert "3 new" in output
        assert "`loraplex knowledge show vs_" in output
        assert counts(await cli.ingest(docs)) == {"unchanged": 3}
        assert {one["status"] for one in (await cli.documents()).values()} == {"completed"}


def everything_on(screen: int) -> str:
    """What is written to a terminal until nobody has it open any more."""
    parts: list[bytes] = []
    with suppress(OSError), os.fdopen(screen, "rb", buffering=0) as terminal:
        while part := terminal.read(4096):
            parts.append(part)
    return b"".join(parts).decode()


async def test_a_terminal_shows_how_far_it_is_and_a_pipe_gets_lines_alone(tmp_path: Path, docs: Path) -> None:
    screen, stderr = pty.openpty()
    async with terminal(tmp_path) as cli:
        arguments = ("ingest", str(docs), "--to", "handbook", "--url", cli.url)
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=stderr
        )
        os.close(stderr)
        shown = asyncio.create_task(asyncio.to_thread(everything_on, screen))
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        bar = await shown
    assert "files read" in bar
    assert "documents ingested" in bar
    assert said.decode().startswith("handbook, a new vector store: 3 new")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--attribute", "year"), "is not KEY=VALUE"),
        (("--attribute", "=1"), "is not KEY=VALUE"),
        (("--attribute", "labels=hr"), "give --label"),
        (("--attribute", "source=x"), "is kept by this command"),
        (("--label", " "), "an empty label"),
        (("--label", "a,"), "an empty label"),
    ],
)
async def test_wrong_options_are_told_before_anything_is_done(options: tuple[str, ...], said: str) -> None:
    cli = KnowledgeTerminal("http://127.0.0.1:1")
    output = await cli.run("ingest", "docs", "--to", "handbook", *options, exit_code=2)
    assert said in " ".join(output.replace("│", "").split())


async def test_an_unknown_id_is_no_name_for_a_new_store(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path) as cli:
        output = await cli.run("ingest", str(docs), "--to", "vs_unknown", exit_code=1)
        assert output.strip() == "There is no vector store `vs_unknown`. `loraplex knowledge ls` lists the stores."
