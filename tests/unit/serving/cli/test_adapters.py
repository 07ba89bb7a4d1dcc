"""``loraplex adapters`` against a live admin API."""

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner

from serving.cli.main import build_app
from tests.adapter_factory import make_adapter, make_base
from tests.lifecycle import World, world
from tests.live import served, served_control

KEY = "an-administrators-key"


class Terminal:
    """Runs commands against one gateway."""

    def __init__(self, it: World, url: str) -> None:
        self.world = it
        self._url = url

    async def run(self, *arguments: str, exit_code: int = 0, env: dict[str, str] | None = None) -> str:
        """Run ``loraplex adapters ARGUMENTS``; what it printed."""
        full = ["adapters", *arguments, "--url", self._url]
        result = await asyncio.to_thread(CliRunner(env=env).invoke, build_app("adapters"), full)
        assert result.exit_code == exit_code, result.output
        return result.output

    async def json(self, *arguments: str, exit_code: int = 0) -> Any:
        """The same with ``--json``."""
        return json.loads(await self.run(*arguments, "--json", exit_code=exit_code))


@asynccontextmanager
async def terminal(folder: Path, **options: Any) -> AsyncIterator[Terminal]:
    async with world(folder, **options) as it, served_control(it) as url:
        yield Terminal(it, url)


async def test_an_adapters_life_on_the_command_line(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        one, two = cli.world.source("triage", 1), cli.world.source("triage", 2)
        assert "No adapters yet" in await cli.run("ls")
        assert "serves triage (r0" in await cli.run("add", "triage", one, "--promote")
        first = cli.world.catalog.snapshot().aliases["triage"].stable
        added = await cli.run("add", "triage", two)
        assert "nothing serves it yet: `loraplex adapters promote triage@" in added
        [second] = cli.world.catalog.snapshot().versions.keys() - {first}
        assert first is not None
        assert "added before" in await cli.run("add", "triage", two)
        assert f"{second} answers 20% of triage's callers" in await cli.run("canary", second, "--share", "0.2")
        listing = await cli.run("ls")
        assert "canary 20%" in listing
        assert "1/1 slot" in listing
        assert "the canary of triage ended" in await cli.run("canary", "triage", "--end")
        assert f"{second} serves triage" in await cli.run("promote", "triage", second)
        assert f"triage is back on {first}" in await cli.run("rollback", "triage")
        assert f"{second} shadows triage" in await cli.run("shadow", second)
        assert "the shadow of triage ended" in await cli.run("shadow", "triage", "--end")
        assert f"{second} is pinned" in await cli.run("pin", second)
        assert "pinned" in await cli.run("show", second)
        assert f"{second} is no longer pinned" in await cli.run("unpin", second)
        assert f"{second} is good" in await cli.run("verify", second)
        assert f"{second} is removed" in await cli.run("rm", second)
        assert first in await cli.run("show", "triage")
        assert "r0" in await cli.run("replicas")
        assert "rollback" in await cli.run("history", "triage")


async def test_json_is_the_admin_apis_answer(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        version = await cli.world.add("triage", promote=True)
        listed = await cli.json("ls")
        assert [entry["name"] for entry in listed["data"][0]["versions"]] == [version]
        assert (await cli.json("show", version))["object"] == "adapter.version"
        assert (await cli.json("show", "triage"))["object"] == "adapter"
        assert (await cli.json("history"))["data"][0]["action"] == "promote"
        assert (await cli.json("replicas"))["data"][0]["ready"] is True
        assert (await cli.json("verify", version))["ok"] is True


async def test_a_refusal_is_one_sentence_and_what_to_do_next(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        output = await cli.run("promote", "triage", "12345678", exit_code=1)
        assert output.strip() == (
            "There is no adapter version `triage@12345678`; `triage` has no versions. "
            "`loraplex adapters ls` lists what there is."
        )
        error = await cli.json("promote", "triage", "12345678", exit_code=1)
        assert error["error"]["code"] == "version_not_found"


async def test_a_server_side_failure_has_its_own_exit_code(tmp_path: Path) -> None:
    async with terminal(tmp_path) as cli:
        version = await cli.world.add("triage")
        cli.world.replicas[0].engine.refuse_load["triage"] = "out of memory"
        assert "out of memory" in await cli.run("promote", version, exit_code=4)


async def test_a_damaged_artifact_is_found_and_ends_with_an_error(tmp_path: Path) -> None:
    async with terminal(tmp_path, replicas=0) as cli:
        version = await cli.world.add("triage")
        [weights] = (tmp_path / "artifacts").rglob("adapter_model.safetensors")
        weights.chmod(0o644)
        weights.write_bytes(weights.read_bytes()[:-1])
        assert "is damaged" in await cli.run("verify", version, exit_code=1)


async def test_the_key_comes_from_the_environment(tmp_path: Path) -> None:
    hashed = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    keys = [{"name": "olga", "hash": hashed, "admin": True}]
    async with terminal(tmp_path, replicas=0, api_keys=keys) as cli:
        assert "LORAPLEX_API_KEY" in await cli.run("ls", exit_code=1)
        await cli.run("ls", env={"LORAPLEX_API_KEY": KEY})


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(build_app("adapters"), ["adapters", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_where_nothing_listens_it_says_how_to_start_a_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    output = run("ls", "--url", f"http://127.0.0.1:{port}", exit_code=3)
    assert "No gateway answers" in output
    assert "loraplex serve --config FILE" in output


def test_an_address_that_is_none_is_told_so() -> None:
    for url in ("gateway:8000", "ftp://gateway", "http://", "http://gateway:none"):
        assert "is not an address such as http://127.0.0.1:8000" in run("ls", "--url", url, exit_code=3)


async def test_another_kind_of_server_is_told_apart(tmp_path: Path) -> None:
    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("hello")(scope, receive, send)

    async with served(other) as url:
        output = await asyncio.to_thread(run, "ls", "--url", url, exit_code=1)
    assert "Is this a Loraplex gateway?" in output


async def test_a_connection_that_breaks_off_is_told_so() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        output = await asyncio.to_thread(run, "ls", "--url", f"http://127.0.0.1:{port}", exit_code=3)
    assert "broke off" in output


def test_a_promote_without_a_version_asks_for_one() -> None:
    assert "which version of triage" in run("promote", "triage", exit_code=2)


def test_a_folder_is_verified_without_a_gateway(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    good = make_adapter(tmp_path / "good", base)
    assert "is good" in run("verify", str(good), "--base", str(base))
    assert json.loads(run("verify", str(good), "--base", str(base), "--json"))["rank"] == 8
    big = make_adapter(tmp_path / "big", base, rank=64)
    assert "64" in run("verify", str(big), "--base", str(base), exit_code=1)
    assert "is good" in run("verify", str(big), "--base", str(base), "--max-rank", "64")


def test_a_folder_without_a_base_is_told_what_is_missing(tmp_path: Path) -> None:
    assert "--base" in run("verify", str(tmp_path), exit_code=2)


@pytest.mark.parametrize("path", ["missing", "empty"])
def test_a_folder_or_base_that_is_not_there_is_one_sentence(tmp_path: Path, path: str) -> None:
    base = make_base(tmp_path / "base")
    (tmp_path / "empty").mkdir()
    run("verify", str(tmp_path / path), "--base", str(base), exit_code=1)
    run("verify", str(make_adapter(tmp_path / "good", base)), "--base", str(tmp_path / path), exit_code=1)
