"""Suites against the gateway itself."""

from pathlib import Path

import pytest

from tests.api.harness import STABLE, config_of, run_gateway
from tests.api.knowledge import REFUNDS, MemoryKnowledge, run_grounded
from tests.suite_factory import ask, make_suite
from training.evaluation.endpoint import Endpoint
from training.evaluation.runner import run_suite


async def test_a_run_names_the_version_that_answered(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, [ask("1", "yes"), ask("2", "yes")], parameters={"max_tokens": 4})
    async with run_gateway(config_of(), tmp_path) as gateway, Endpoint(gateway.url) as endpoint:
        gateway.engine.saying = "yes"
        run = await run_suite(suite, endpoint, model="triage")
    assert set(run.values("exact").values()) == {1.0}
    assert run.version == STABLE


async def test_a_model_that_is_not_there_is_an_error_of_every_case(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, [ask("1", "yes")])
    async with run_gateway(config_of(), tmp_path) as gateway, Endpoint(gateway.url) as endpoint:
        run = await run_suite(suite, endpoint, model="nobody")
    assert (run.results[0].answer.error or "").startswith("404 model_not_found")


@pytest.mark.parametrize(("context", "found"), [([one.text for one in REFUNDS], 1.0), (["Something else."], 0.0)])
async def test_the_gateways_citations_are_held_against_the_context(
    tmp_path: Path, context: list[str], found: float
) -> None:
    suite = make_suite(tmp_path, [ask("How long do refunds take?", context=context)], {"kind": "citations"})
    async with run_grounded(tmp_path, MemoryKnowledge()) as gateway, Endpoint(gateway.url) as endpoint:
        gateway.engine.saying = "Refunds take 30 days [1]."
        run = await run_suite(suite, endpoint, model="help")
    (result,) = run.results
    assert result.answer.citations[0]["url_citation"]["quote"]
    assert result.scores == {"cited": 1.0, "citations_found": found, "cited_passages": found}
