"""``loraplex ingest`` killed half-way, and against a gateway that fails."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.knowledge_terminal import (
    ENVIRONMENT,
    PROGRAM,
    KnowledgeTerminal,
    Wrap,
    counts,
    knowledge_terminal,
    terminal,
    write,
)


class Gate:
    """Lets requests through until one that is chosen; that one gets no answer, and is never carried out."""

    def __init__(self, path_end: str, number: int) -> None:
        self._path_end = path_end
        self._left = number
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    def __call__(self, app: ASGIApp) -> ASGIApp:
        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            chosen = scope.get("method") == "POST" and scope["path"].endswith(self._path_end)
            self._left -= chosen
            if not chosen or self._left or self.reached.is_set():
                await app(scope, receive, send)
                return
            self.reached.set()
            await self.opened.wait()
            await PlainTextResponse("too late", status_code=503)(scope, receive, send)

        return gated


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(("path_end", "number"), [("/files", 3), ("/file_batches", 1), ("/file_batches", 2)])
async def test_killed_half_way_the_next_run_completes_it(
    tmp_path: Path, path_end: str, number: int, sign: signal.Signals
) -> None:
    folder = write(tmp_path / "docs", **{f"page{number}": f"# Page {number}" for number in range(60)})
    gate = Gate(path_end, number)
    async with terminal(tmp_path, wrap=gate) as cli:
        arguments = ("ingest", str(folder), "--to", "handbook", "--url", cli.url)
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=ENVIRONMENT, stderr=asyncio.subprocess.PIPE
        )
        await asyncio.wait_for(gate.reached.wait(), 60)
        process.send_signal(sign)
        if sign is signal.SIGINT:
            gate.opened.set()
        _, said = await asyncio.wait_for(process.communicate(), 60)
        gate.opened.set()
        if sign is signal.SIGINT:
            assert process.returncode == 130
            assert said.decode().splitlines()[-1] == "Interrupted. Run the same command again to complete it."
        answer = await cli.ingest(folder)
        assert answer["failures"] == []
        assert set(await cli.documents()) == {f"page{number}.md" for number in range(60)}
        listed = await cli.json("knowledge", "show", "handbook", "--all")
        assert len(listed["documents"]) == 60
        assert len(await cli.files()) <= 60 + 4, "at most what was on its way when the process died is there twice"
        assert counts(await cli.ingest(folder)) == {"unchanged": 60}


def refusing(path_end: str, status: int, code: str) -> Wrap:
    """Answers requests to a path with an error."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def refused(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("method") == "POST" and scope["path"].endswith(path_end):
                body = {"error": {"message": "It cannot be.", "type": "x", "param": None, "code": code}}
                await JSONResponse(body, status_code=status)(scope, receive, send)
            else:
                await app(scope, receive, send)

        return refused

    return wrap


@pytest.mark.parametrize(
    ("path_end", "status", "code"),
    [("/v1/files", 413, "body_too_large"), ("/v1/files", 503, "store_unavailable"), ("/file_batches", 503, "x")],
)
async def test_a_failure_of_the_gateway_is_one_of_each_file(
    tmp_path: Path, docs: Path, path_end: str, status: int, code: str
) -> None:
    async with terminal(tmp_path) as cli:
        store = (await cli.ingest(docs / "refunds.md"))["store"]["id"]
    async with knowledge_terminal(tmp_path / "state", wrap=refusing(path_end, status, code)) as cli:
        answer = await cli.ingest(docs, to=store, exit_code=1)
        assert {one["reason"] for one in answer["failures"]} == {"It cannot be."}
        assert counts(answer) == {"updated": 1, "failed": 2}


@pytest.mark.parametrize("path_end", ["/v1/files", "/file_batches", ""])
async def test_a_gateway_that_stumbles_is_asked_again(tmp_path: Path, docs: Path, path_end: str) -> None:
    stumbled: set[str] = set()

    def stumbling(app: ASGIApp) -> ASGIApp:
        async def once(scope: Scope, receive: Receive, send: Send) -> None:
            chosen = scope["path"].endswith(path_end) if path_end else "/files/" in scope["path"]
            if not chosen or len(stumbled) == 2:
                await app(scope, receive, send)
                return
            stumbled.add(f"{len(stumbled)}")
            await JSONResponse({"error": {"message": "Later.", "code": "not_ready"}}, status_code=503)(
                scope, receive, send
            )

        return once

    async with terminal(tmp_path, wrap=stumbling) as cli:
        assert counts(await cli.ingest(docs)) == {"new": 3}
        assert len(stumbled) == 2
        assert len(await cli.files()) == 3


async def test_a_large_file_that_is_refused_unread_is_told_why(tmp_path: Path, docs: Path) -> None:
    (docs / "large.md").write_text("word " * 2_000_000)
    async with terminal(tmp_path, wrap=refusing("/v1/files", 413, "body_too_large")) as cli:
        answer = await cli.ingest(docs, exit_code=1)
        assert {one["reason"] for one in answer["failures"]} == {"It cannot be."}
        assert len(answer["failures"]) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("expires_at=soon",), "`expires_at` must be Unix seconds or a date such as 2026-03-01."),
        ([f"key{number}=1" for number in range(15)], "17 attributes; at most 16 are allowed."),
    ],
)
async def test_attributes_that_no_document_could_have_are_refused_before_anything_is_sent(
    docs: Path, options: Sequence[str], said: str
) -> None:
    cli = KnowledgeTerminal("http://127.0.0.1:1")
    given = [part for one in options for part in ("--attribute", one)]
    assert await cli.run("ingest", str(docs), "--to", "handbook", *given, exit_code=1) == f"{said}\n"


async def test_an_older_edition_leaves_with_the_one_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "page.html"
    path.parent.mkdir()
    path.write_text("<p>Refunds take thirty days.</p>")
    async with terminal(tmp_path) as cli:
        await cli.ingest(path.parent)
        path.write_text("<p></p>")
        assert counts(await cli.ingest(path.parent, exit_code=1)) == {"failed": 1}
        assert len((await cli.json("knowledge", "show", "handbook"))["documents"]) == 2
        assert "thirty days" in await cli.run("knowledge", "search", "handbook", "refunds")
        path.unlink()
        assert counts(await cli.ingest(path.parent, "--sync")) == {"removed": 1}
        assert (await cli.json("knowledge", "show", "handbook"))["documents"] == []
        assert await cli.files() == []


async def test_what_is_refused_to_the_key_is_said_once(tmp_path: Path, docs: Path) -> None:
    async with terminal(tmp_path, wrap=refusing("/v1/files", 403, "permission_denied")) as cli:
        output = await cli.run("ingest", str(docs), "--to", "handbook", exit_code=1)
        assert output.strip() == (
            "It cannot be. Put a key that may do this into the environment variable LORAPLEX_API_KEY."
        )
