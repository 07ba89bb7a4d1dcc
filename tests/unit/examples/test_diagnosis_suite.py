"""The suite over the demo's handbook."""

from pathlib import Path

from training.diagnosis.reading import References
from training.evaluation.suite import load_suite

ROOT = Path(__file__).resolve().parents[3]


def test_every_oracle_stands_in_the_handbook_and_states_its_reference() -> None:
    suite = load_suite(ROOT / "examples/diagnosis/suite.yaml")
    pages = sorted((ROOT / "examples/handbook").glob("*.md"))
    handbook = " ".join(" ".join(page.read_text(encoding="utf-8").split()) for page in pages)
    references = References.of(suite.cases)

    assert len(suite.cases) >= 20
    assert [case.id for case in suite.cases if not all(passage in handbook for passage in case.context)] == []
    assert [case.id for case in suite.cases if not references.states(case, case.context)] == []
