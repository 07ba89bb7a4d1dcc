"""The decision procedure, rule by rule."""

from dataclasses import replace

import pytest

from training.diagnosis.attribution import Cause, attribute, attribute_case, believed
from training.diagnosis.findings import Findings, Trial, measured_noise
from training.diagnosis.reading import Kind
from training.diagnosis.types import Cell, Context, Subject, cells_for

RIGHT = Trial(right=True, content=True, said="79")
WRONG = Trial(right=False, content=False, said="69")
FORM = Trial(right=False, content=True, said="79")
SILENT = Trial(right=False, content=False)
FAILED = Trial(right=False, content=False, error=True)
PRODUCTION = Cell(Context.RETRIEVED, Subject.ADAPTER)
NOISE = 0.05


def findings(**cells: tuple[Trial, ...]) -> Findings:
    """A fact that its passages state, found by retrieval; answers by ``context_subject``, wrong where not given."""
    trials = {cell: cells.get(f"{cell.context}_{cell.subject}", (WRONG,)) for cell in cells_for(retrieval=True)}
    return Findings("c", PRODUCTION, trials, "79", Kind.TEXT, has_context=True, stated=True, coverage=1.0)


def cause(case: Findings) -> Cause:
    return attribute_case(case, NOISE).cause


def test_evidence_that_was_not_retrieved_and_would_have_mended_it_was_missed() -> None:
    assert cause(replace(findings(oracle_adapter=(RIGHT,)), coverage=0.0)) is Cause.RETRIEVAL


def test_evidence_that_was_there_was_ignored() -> None:
    assert cause(findings(oracle_adapter=(RIGHT,))) is Cause.CONTEXT


def test_evidence_that_was_missed_and_would_have_been_ignored_was_ignored() -> None:
    found = attribute_case(replace(findings(), coverage=0.0), NOISE)

    assert found.cause is Cause.CONTEXT
    assert found.cell == Cell(Context.ORACLE, Subject.ADAPTER)


def test_right_content_in_a_wrong_form_is_a_broken_format() -> None:
    assert cause(findings(retrieved_adapter=(FORM,))) is Cause.FORMAT
    assert cause(replace(findings(oracle_adapter=(FORM,)), coverage=0.0)) is Cause.FORMAT


def test_an_answer_in_which_no_label_can_be_read_is_a_broken_format() -> None:
    assert cause(replace(label(retrieved_adapter=(SILENT,)), near={})) is Cause.FORMAT


def label(**cells: tuple[Trial, ...]) -> Findings:
    return replace(findings(**cells), kind=Kind.LABEL, has_context=False, stated=False, coverage=0.0)


def test_a_label_that_the_base_gets_right_was_misjudged() -> None:
    assert cause(label(none_base=(RIGHT,), oracle_base=(RIGHT,), retrieved_base=(RIGHT,))) is Cause.JUDGMENT


def test_a_label_that_all_cells_contradict_is_doubtful_unless_neighbours_speak_for_it() -> None:
    assert cause(label()) is Cause.LABEL
    assert cause(replace(label(), near={"79": 3, "69": 1})) is Cause.JUDGMENT


def test_a_label_that_neighbours_contradict_with_the_model_is_doubtful() -> None:
    split = label(none_base=(RIGHT,), oracle_base=(RIGHT,), retrieved_base=(RIGHT,))

    assert cause(replace(split, near={"69": 4, "79": 1})) is Cause.LABEL
    assert cause(replace(split, near={"69": 2})) is Cause.JUDGMENT, "two neighbours are too few"


def test_near_duplicates_with_the_given_answer_make_the_label_doubtful() -> None:
    split = label(none_base=(RIGHT,), oracle_base=(RIGHT,), retrieved_base=(RIGHT,))

    assert cause(replace(split, twins={"69": 1})) is Cause.LABEL
    assert cause(replace(split, twins={"69": 1, "79": 1})) is Cause.JUDGMENT


def test_a_reference_that_the_passages_contradict_is_doubtful() -> None:
    said = replace(WRONG, in_context=True)
    case = replace(findings(oracle_adapter=(said,), oracle_base=(said,)), stated=False)

    assert cause(case) is Cause.LABEL
    assert cause(replace(case, trials=findings(oracle_adapter=(SILENT,)).trials)) is not Cause.LABEL


def test_a_judgment_that_ignores_the_passages_which_decide_it_ignored_the_context() -> None:
    derived = replace(findings(oracle_base=(RIGHT,), none_base=(SILENT,)), kind=Kind.LABEL, stated=False)

    assert cause(derived) is Cause.CONTEXT
    reads = replace(derived, trials={**derived.trials, Cell(Context.NONE, Subject.ADAPTER): (SILENT,)})
    assert cause(reads) is Cause.JUDGMENT


def test_no_answer_at_all_is_no_fault_of_the_model() -> None:
    assert cause(findings(retrieved_adapter=(FAILED,), oracle_adapter=(RIGHT,))) is Cause.UNANSWERED


def test_without_passages_in_production_what_the_oracle_mends_wants_retrieval() -> None:
    alone = Cell(Context.NONE, Subject.ADAPTER)
    case = replace(findings(oracle_adapter=(RIGHT,)), production=alone, coverage=0.0)

    assert cause(case) is Cause.RETRIEVAL


def test_only_cases_that_mostly_fail_are_attributed() -> None:
    mostly_right = findings(retrieved_adapter=(RIGHT, RIGHT, WRONG))
    half = replace(findings(retrieved_adapter=(RIGHT, WRONG), oracle_adapter=(RIGHT, RIGHT)), case_id="half")

    assert [one.case_id for one in attribute([mostly_right, half])] == ["half"]


def test_repeats_that_agree_make_it_surer() -> None:
    once = attribute_case(replace(findings(oracle_adapter=(RIGHT,)), coverage=0.0), 0.2)
    thrice = attribute_case(
        replace(findings(retrieved_adapter=(WRONG,) * 3, oracle_adapter=(RIGHT,) * 3), coverage=0.0), 0.2
    )

    assert once.confidence < thrice.confidence


def test_neighbours_with_the_same_cause_make_it_surer_and_others_less_sure() -> None:
    cases = [replace(findings(oracle_adapter=(RIGHT,)), case_id=name) for name in ("a", "b")]
    other = replace(findings(oracle_adapter=(RIGHT,)), case_id="o", coverage=0.0)
    plain = {one.case_id: one.confidence for one in attribute([*cases, other])}
    heard = {one.case_id: one.confidence for one in attribute([*cases, other], {"a": ["b"], "b": ["o"]})}

    assert heard["a"] > plain["a"]
    assert heard["b"] < plain["b"]
    assert heard["o"] == pytest.approx(plain["o"])


@pytest.mark.parametrize(("hits", "count", "belief"), [(1, 1, 0.95), (3, 3, 0.99985), (1, 2, 0.5), (0, 1, 0.05)])
def test_a_verdict_is_believed_by_the_odds_of_noise(hits: int, count: int, belief: float) -> None:
    assert believed(hits, count, NOISE) == pytest.approx(belief, abs=1e-4)


def test_noise_is_measured_by_repeats_that_differ_and_unknown_without_any() -> None:
    steady = findings(**{f"{cell.context}_{cell.subject}": (WRONG,) * 3 for cell in cells_for(retrieval=True)})
    shaky = findings(**{f"{cell.context}_{cell.subject}": (WRONG, RIGHT) for cell in cells_for(retrieval=True)})

    assert measured_noise([findings()]) is None
    assert measured_noise([steady]) == pytest.approx(0.0135, abs=0.002)
    assert measured_noise([steady, shaky]) > 0.05  # type: ignore[operator]
