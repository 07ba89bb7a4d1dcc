"""The suite over the demo's handbook."""

from pathlib import Path

from training.diagnosis.reading import References
from training.evaluation.scoring import score
from training.evaluation.suite import load_suite
from training.evaluation.types import Answer

ROOT = Path(__file__).resolve().parents[3]


def test_every_oracle_stands_in_the_handbook_and_states_its_reference() -> None:
    suite = load_suite(ROOT / "examples/diagnosis/suite.yaml")
    pages = sorted((ROOT / "examples/handbook").glob("*.md"))
    handbook = " ".join(" ".join(page.read_text(encoding="utf-8").split()) for page in pages)
    references = References.of(suite.cases)

    assert len(suite.cases) >= 20
    assert [case.id for case in suite.cases if not all(passage in handbook for passage in case.context)] == []
    assert [case.id for case in suite.cases if not references.states(case, case.context)] == []


def test_an_answer_needs_the_fact_and_nothing_beside_the_handbook() -> None:
    suite = load_suite(ROOT / "examples/diagnosis/suite.yaml")

    def scores(case_id: str, text: str) -> tuple[float, float]:
        found = score(suite, next(case for case in suite.cases if case.id == case_id), Answer(text), 0).scores
        return found["normalised"], found["grounded"]

    assert [case.id for case in suite.cases if scores(case.id, case.context[0]) != (1, 1)] == []
    assert scores("severity-2", "An incident of severity 2 means that a feature is down.") == (0, 1)
    assert scores("starter-price", "29 EUR, or a hundred for pirates.") == (1, 0)
    assert scores("starter-price", "It is.") == (0, 0)
