"""Whether retrieved passages hold the oracle's evidence."""

from training.diagnosis.evidence import FOUND_AT, coverage
from training.diagnosis.reading import References
from training.evaluation.types import Case

NONE = References.of([])
FACT = Case(
    "c",
    ({"role": "user", "content": "How much is the Team plan?"},),
    "79 EUR",
    context=("The Team plan costs 79 EUR per month.",),
)
POLICY = Case(
    "d",
    ({"role": "user", "content": "May goods from Borduria come back after 40 days?"},),
    "refuse",
    context=("Goods from Borduria may be sent back within 30 days.",),
)


def test_a_passage_that_is_cut_otherwise_holds_the_evidence() -> None:
    longer = (
        "Plans and prices.\nThe Team plan costs 79 EUR per month. It includes 25 seats. Upgrades take effect at once."
    )

    assert coverage(FACT, NONE, ("Something else.", longer)) == 1.0


def test_an_outdated_statement_is_no_evidence() -> None:
    assert coverage(FACT, NONE, ("The Team plan costs 69 EUR per month.",)) == 0.0


def test_the_same_value_of_something_else_is_no_evidence() -> None:
    assert coverage(FACT, NONE, ("The Starter plan costs 79 EUR per month.",)) == 0.0
    assert coverage(POLICY, NONE, ("Goods from Syldavia may be sent back within 30 days.",)) == 0.0


def test_what_must_be_judged_needs_the_whole_passage_with_its_numbers() -> None:
    assert coverage(POLICY, NONE, ("As of May, goods from Borduria may be sent back within 30 days.",)) >= FOUND_AT
    assert coverage(POLICY, NONE, ("Goods from Borduria may be sent back within 20 days.",)) == 0.0


def test_nothing_retrieved_holds_nothing() -> None:
    assert coverage(FACT, NONE, ()) == 0.0
