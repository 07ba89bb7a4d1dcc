"""``loraplex eval`` against a real server."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serving.cli.main import build_app
from tests.suite_factory import Json, ScriptedEndpoint, ask, refusal, scripted, write_suite
from training.evaluation.journal import journal_path
from training.evaluation.run_file import read_run

ROWS = [
    ask("a red apple", "apple", tags=["red"]),
    ask("a yellow banana", "banana"),
    ask("a green apple", "apple"),
    ask("bananas, many", "banana"),
]
TRAIN = [ask(f"{fruit} {number}", fruit) for fruit in ("apple", "banana") for number in range(3)]
LABELS = {"kind": "classification"}


def reply(body: Json) -> str:
    """Apple, whatever is asked."""
    return "apple"


async def _call(*arguments: Any) -> Result:
    words = ["eval", *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, build_app("eval"), words)


async def _eval(server: ScriptedEndpoint, suite: Path, *arguments: Any) -> Result:
    return await _call(suite, "--model", "fruit", "--url", server.url, *arguments)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    train = "".join(json.dumps(row) + "\n" for row in TRAIN)
    (tmp_path / "train.jsonl").write_text(train, encoding="utf-8")
    return write_suite(tmp_path, ROWS, LABELS, baseline={"train": "train.jsonl"})


async def test_it_prints_metrics_intervals_baseline_slices_and_worst_cases(suite: Path) -> None:
    async with scripted(reply) as server:
        found = await _eval(server, suite)
    assert found.exit_code == 0, found.output
    for part in (
        "accuracy",
        "0.500",
        "0.150 to 0.850",
        "macro_f1",
        "baseline: accuracy",
        "by tag",
        "Worst case",
        "bananas, many",
    ):
        assert part in found.stdout


async def test_it_prints_json(suite: Path) -> None:
    async with scripted(reply) as server:
        found = await _eval(server, suite, "--json", "--repeats", 2, "--concurrency", 2)
    answer = json.loads(found.stdout)
    assert (answer["object"], answer["cases"], answer["repeats"]) == ("suite.summary", 4, 2)
    assert answer["baseline"]["accuracy"] == 1.0
    assert server.most_at_once <= 2


async def test_it_writes_the_run_and_the_summary(suite: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "runs" / "run.json", tmp_path / "page.md"
    async with scripted(reply) as server:
        found = await _eval(server, suite, "--out", out, "--markdown", page)
    assert found.exit_code == 0
    assert read_run(out).model == "fruit"
    assert page.read_text(encoding="utf-8").startswith("# suite: fruit")


async def test_a_limit_takes_the_first_cases(suite: Path) -> None:
    async with scripted(reply) as server:
        found = await _eval(server, suite, "--limit", 2, "--json")
    assert json.loads(found.stdout)["cases"] == 2
    assert len(server.bodies) == 2


async def test_the_key_comes_from_the_environment(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_API_KEY", "sk-mine")
    async with scripted(reply) as server:
        await _eval(server, suite)
    assert set(server.keys) == {"Bearer sk-mine"}


async def test_cases_without_an_answer_make_it_fail(suite: Path, tmp_path: Path) -> None:
    async with scripted(lambda body: refusal(404, "no such model")) as server:
        found = await _eval(server, suite, "--out", tmp_path / "run.json")
    assert found.exit_code == 1
    assert "4 answers are missing and score 0: 404 code_404: no such model" in found.stdout


async def test_a_suite_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [ask("1", "a"), {"promt": "2"}])
    found = await _call(path, "--model", "m")
    assert found.exit_code == 1
    assert "cases.jsonl:2: unknown key `promt`: did you mean `prompt`?" in found.stderr


async def test_a_suite_that_cannot_be_is_refused_in_json(tmp_path: Path) -> None:
    found = await _call(tmp_path / "none.yaml", "--model", "m", "--json")
    assert json.loads(found.stdout)["error"]["code"] == "suite_invalid"


async def test_where_nothing_answers_it_says_so(suite: Path) -> None:
    async with scripted(reply) as server:
        url = server.url
    found = await _call(suite, "--model", "m", "--url", url)
    assert found.exit_code == 3
    assert f"Nothing answers at {url}/v1" in found.stderr


async def test_answers_of_another_run_are_refused(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    journal_path(out).write_text('{"suite": "other"}\n', encoding="utf-8")
    async with scripted(reply) as server:
        found = await _eval(server, suite, "--out", out)
    assert found.exit_code == 1
    assert "holds answers of another run" in found.stderr


async def test_a_page_that_cannot_be_written_is_told(suite: Path, tmp_path: Path) -> None:
    async with scripted(reply) as server:
        found = await _eval(server, suite, "--markdown", tmp_path / "none" / "page.md")
    assert found.exit_code == 1
    assert "Cannot write" in found.stderr


async def test_what_a_model_says_cannot_command_the_terminal(suite: Path) -> None:
    async with scripted(lambda body: "\x1b[2J[bold]x[/]") as server:
        found = await _eval(server, suite)
    assert found.exit_code == 0, found.output
    assert "\x1b" not in found.stdout
    assert "?[2J[bold]x[/]" in found.stdout
