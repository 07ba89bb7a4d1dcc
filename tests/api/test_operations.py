"""The commands of docs/operations.md, run as they stand there against a running gateway."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import build_app
from tests.living import Living, living
from tests.meta.sources import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = ("At three in the morning", "Adding an adapter")


def lines_of(section: str) -> Iterator[list[str]]:
    """The commands in the blocks of one section, in order, in words."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    for block in _FENCE.findall(text):
        for line in block.splitlines():
            assert line.startswith("loraplex "), line
            yield line.split()[1:]


async def run(*words: str) -> str:
    """What a command prints that ends well."""
    result = await asyncio.to_thread(CliRunner().invoke, build_app(words[0]), list(words))
    assert result.exit_code == 0, f"loraplex {' '.join(words)}: {result.output}"
    return result.output


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_has_commands(section: str) -> None:
    assert list(lines_of(section))


def test_every_runbook_is_in_the_table() -> None:
    pages = {path.name for path in (ROOT / "docs" / "runbooks").glob("*.md")}

    assert set(re.findall(r"\(runbooks/(\w+\.md)\)", PAGE)) == pages


async def test_what_the_page_says_for_three_in_the_morning_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loraplex.yaml").write_text(
        f"model: {{id: org/base}}\nengine: {{kind: fake}}\nserver: {{port: {_free_port()}}}\n"
    )
    async with living(tmp_path / "gateway", {"min_requests": 10_000}) as it:
        first, second = await it.add(1, promote=True), await it.add(2, promote=True)
        third = await it.add(3)
        await it.ask()
        for words in lines_of(SECTIONS[0]):
            if "--stop" in words:
                await it.admin("POST", "/adapters/triage/rollout", {"version": third, "shadow": True})
            await run(*_filled(words, it, third))
            if "rollback" in words:
                assert (await it.alias())["stable"] == first != second
        assert (await it.rollout())["phase"] == "stopped"


async def test_an_adapter_is_added_as_the_page_says(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        await it.add(1, promote=True)
        version = await it.add(2)
        for words in lines_of(SECTIONS[1]):
            await run(*_filled(words, it, version))

        assert (await it.alias())["stable"] == version


def _filled(words: list[str], it: Living, version: str) -> list[str]:
    """The words with the gateway's own names in the place of the page's."""
    known = {
        "NAME": "triage",
        "NAME@VERSION": version,
        "./folder-or-url": str(it.folder / "sources" / "triage-2"),
    }
    inside = "--config" in words
    return [*(known.get(word, word) for word in words), *([] if inside else ["--url", str(it.http.base_url)])]


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
