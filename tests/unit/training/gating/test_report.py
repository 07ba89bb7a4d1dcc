"""The gate's report."""

from tests.unit.training.gating.runs import make_run
from training.gating.gate import Verdict, decide
from training.gating.policy import GatePolicy, MetricRule
from training.gating.report import gate_markdown, gate_page, gate_sections
from training.reports.document import Details


def _verdict() -> Verdict:
    count = 120
    current = make_run(
        {"exact": [1.0] * 100 + [0.0] * 20, "field_f1": [0.8] * count}, answers=["<b>card_lost</b>"] * count
    )
    candidate = make_run(
        {"exact": [0.0] * 4 + [1.0] * 110 + [0.0] * 6, "field_f1": [0.9, 0.7] * 60},
        version="triage@2",
        answers=["<script>card_stolen</script>"] * count,
    )
    policy = GatePolicy(metrics={"exact": MetricRule(), "field_f1": MetricRule(kind="improvement", margin=0.01)})
    return decide(candidate, current, policy)


def test_the_page_says_all_that_was_found() -> None:
    verdict = _verdict()
    page = gate_page(verdict)

    assert page.count("<svg") == 2
    assert page.count("<details") == len(verdict.flips) == 18 + 120
    assert "&lt;script&gt;card_stolen" in page
    assert "<script" not in page
    assert "intersection-union" in page
    assert "BCa" in page
    assert "triage@2 against triage@1" in page


def test_markdown_says_the_same_without_plots() -> None:
    verdict = _verdict()
    text = gate_markdown(verdict)

    assert "svg" not in text
    assert "# triage@2 against triage@1" in text
    assert all(f"{one.difference.mean:+.3f}" in text for one in verdict.comparisons)
    assert text.count("Candidate:\n\n```text\n<script>") == 138


def test_runs_without_a_flip_say_so() -> None:
    run = make_run({"exact": [1.0] * 60})

    assert "both versions do equally well" in gate_markdown(decide(run, run, GatePolicy()))


def test_a_report_of_thousands_of_flips_stays_readable() -> None:
    current, candidate = make_run({"exact": [1.0] * 900}), make_run({"exact": [0.0] * 900})
    flips = gate_sections(decide(candidate, current, GatePolicy()), figures=False)[2].body

    assert sum(isinstance(block, Details) for block in flips) == 200
    assert "700 smallest" in getattr(flips[-1], "text", "")
