"""Worlds whose failures have known causes: a small version of benchmarks/diagnosis.py."""

import asyncio

import pytest

from benchmarks.diagnosis import diagnosed, right_share
from benchmarks.diagnosis_families import FAMILIES
from benchmarks.diagnosis_server import STORE
from benchmarks.diagnosis_world import build_world
from tests.diagnosis_worlds import served
from training.diagnosis.diagnosis import Diagnosis, diagnose
from training.diagnosis.recommendation import Advice, Policy
from training.diagnosis.report import diagnosis_markdown, diagnosis_page
from training.diagnosis.search import VectorStoreSearcher
from training.diagnosis.types import Cell, Context, Subject
from training.errors import DiagnosisInvalid, SearchFailed

WORLD = build_world(FAMILIES["clinic"], 11, 60)


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return asyncio.run(diagnosed(WORLD, 0.02, 2))


@pytest.fixture(scope="module")
def page(diagnosis: Diagnosis) -> str:
    return diagnosis_page(diagnosis)


def test_nine_of_ten_failures_are_attributed_to_what_was_planted(diagnosis: Diagnosis) -> None:
    flaws = {one.case.id: one.flaw for one in WORLD.cases}
    pairs = [
        (str(flaws[one.case_id]), str(one.cause), one.confidence, "")
        for one in diagnosis.attributions
        if flaws[one.case_id] is not None
    ]

    assert len(pairs) >= 20
    assert right_share(pairs) >= 0.9


def test_what_retrieval_would_mend_is_right_under_the_oracle(diagnosis: Diagnosis) -> None:
    retrieval, training = diagnosis.recommendation.remedies
    findings = {one.case_id: one for one in diagnosis.findings}
    mended = [one for one in diagnosis.attributions if str(one.cause) == "retrieval"]

    assert diagnosis.recommendation.advice is Advice.BOTH
    assert retrieval.mends == len(mended) > 0
    assert all(findings[one.case_id].right(diagnosis.production.under(Context.ORACLE)) for one in mended)
    assert retrieval.of_failures.low < retrieval.of_failures.value < retrieval.of_failures.high
    assert training.expected is not None
    assert training.expected.value < training.mends
    assert retrieval.cost is not None
    assert retrieval.cost.prompt_tokens.high < 0, "one oracle passage is shorter than four retrieved ones"


def test_a_remedy_that_would_mend_too_little_is_not_recommended(diagnosis: Diagnosis) -> None:
    strict = diagnose(diagnosis.grid, policy=Policy(worthwhile=0.9))

    assert strict.recommendation.advice is Advice.NEITHER


def test_another_production_has_other_failures(diagnosis: Diagnosis) -> None:
    base = diagnose(diagnosis.grid, Cell(Context.ORACLE, Subject.BASE))

    assert all(str(one.cause) != "retrieval" for one in base.attributions)
    assert [one.case_id for one in base.attributions] != [one.case_id for one in diagnosis.attributions]
    assert base.recommendation.remedies[1].cost is not None, "the adapter's requests against the base's"


def test_a_metric_that_the_suite_does_not_have_is_refused(diagnosis: Diagnosis) -> None:
    with pytest.raises(DiagnosisInvalid, match="no metric"):
        diagnose(diagnosis.grid, metrics=("f1",))


def test_the_page_shows_numbers_causes_and_examples_and_the_markdown_no_examples(
    diagnosis: Diagnosis, page: str
) -> None:
    text = diagnosis_markdown(diagnosis)
    missed = next(one for one in diagnosis.attributions if str(one.cause) == "retrieval")

    assert page.lower().startswith("<!doctype html>")
    assert "<svg" in page
    assert missed.case_id in page
    assert "Recommendation: both" in page
    assert "Recommendation: both" in text
    assert "## Causes" in text
    assert "Examples" not in text


def test_what_models_say_is_no_markup_on_the_page(page: str) -> None:
    assert "&lt;answer&gt;" in page
    assert "<answer>" not in page


async def test_a_store_is_found_by_name_or_id_and_one_that_is_not_there_is_an_error() -> None:
    question = WORLD.cases[0].case.messages[0]["content"]
    with served(WORLD) as url:
        async with (
            VectorStoreSearcher(url, "key", STORE, top=2) as named,
            VectorStoreSearcher(url, None, "vs_1", top=2, threshold=0.5) as by_id,
        ):
            found = await named.search(question)
            assert found.passages == (await by_id.search(question)).passages
            assert len(found.passages) == 2
            assert (await named.search("  ")).passages == ()
        with pytest.raises(SearchFailed, match="no vector store"):
            await VectorStoreSearcher(url, None, "nowhere", top=2).__aenter__()
    with pytest.raises(SearchFailed, match="no answer"):
        await VectorStoreSearcher(url, None, STORE, top=2).__aenter__()
