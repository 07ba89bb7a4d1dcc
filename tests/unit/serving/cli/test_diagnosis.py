"""``loraplex diagnose``, against a simulated gateway on loopback."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.diagnosis import write_suite
from benchmarks.diagnosis_families import FAMILIES
from benchmarks.diagnosis_server import ADAPTER_MODEL, BASE_MODEL, STORE
from benchmarks.diagnosis_world import build_world
from serving.cli.main import build_app
from tests.diagnosis_worlds import served

WORLD = build_world(FAMILIES["shop"], 21, 24)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(WORLD) as address:
        yield address.removesuffix("/v1")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(WORLD, tmp_path)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        build_app("diagnose"),
        ["diagnose", *map(str, arguments), "--base", BASE_MODEL, "--adapter", ADAPTER_MODEL],
    )


def test_it_prints_what_fails_and_why_and_writes_a_page(url: str, suite: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = run(suite, "--store", STORE, "--url", url, "--html", page, "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "Recommendation" in result.stdout
    assert "144 of 144 answers" in result.stderr
    assert "<svg" in page.read_text(encoding="utf-8")
    again = run(suite, "--store", STORE, "--url", url, "--out", tmp_path / "out", "--json")
    assert json.loads(again.stdout)["production"] == "retrieved/adapter"


def test_without_a_store_production_has_no_context(url: str, suite: Path) -> None:
    result = run(suite, "--url", url, "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert found["production"] == "none/adapter"
    assert sorted(found["accuracy"]) == ["none/adapter", "none/base", "oracle/adapter", "oracle/base"]


def test_a_store_that_is_not_there_is_told(url: str, suite: Path) -> None:
    result = run(suite, "--url", url, "--store", "nowhere")

    assert result.exit_code == 3
    assert "no vector store" in result.stderr


def test_an_address_where_nothing_answers_is_told(suite: Path) -> None:
    result = run(suite, "--url", "http://127.0.0.1:9")

    assert result.exit_code == 3


def test_a_suite_that_is_not_there_is_told(url: str, tmp_path: Path) -> None:
    result = run(tmp_path / "none.yaml", "--url", url, "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "diagnosis_refused"


def test_a_production_that_is_no_cell_is_wrong_usage(url: str, suite: Path) -> None:
    assert run(suite, "--url", url, "--production", "somewhere").exit_code == 2


def test_a_page_that_cannot_be_written_is_told(url: str, suite: Path, tmp_path: Path) -> None:
    result = run(suite, "--url", url, "--html", tmp_path / "no" / "page.html")

    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_its_help_waits_for_no_heavy_import() -> None:
    program = "import sys; from serving.cli.main import build_app; build_app('diagnose'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert not {"torch", "numpy", "matplotlib", "openai", "httpx", "transformers"} & set(done.stdout.split())
