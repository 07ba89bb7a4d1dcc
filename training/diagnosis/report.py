"""A diagnosis as people read it: one document, as a page and as Markdown."""

from collections.abc import Sequence

from training.diagnosis.attribution import MEANING, Attribution, Cause
from training.diagnosis.costs import Cost
from training.diagnosis.diagnosis import Diagnosis
from training.diagnosis.estimates import Estimate
from training.diagnosis.prompt import question_of
from training.diagnosis.recommendation import Advice, Remedy
from training.diagnosis.types import CaseGrid, Cell, Context, Subject
from training.reports.document import Block, Callout, Details, Figure, Output, Section, Table, Text
from training.reports.markdown import render_markdown
from training.reports.page import render_page

EXAMPLES = 3
"""Of each cause, the surest."""
_MOST_PASSAGES = 6

_CONTEXTS = {
    Context.NONE: "no context",
    Context.RETRIEVED: "retrieved context",
    Context.ORACLE: "oracle context",
}


def diagnosis_page(diagnosis: Diagnosis) -> str:
    """One HTML file: numbers, a plot of the causes, examples with prompt, passages and answers."""
    from training.reports.plots import Interval, bars, intervals

    causes = [cause for cause in Cause if diagnosis.count(cause)]
    figures: list[Block] = []
    if causes:
        counts = {MEANING[cause]: {str(cause): float(diagnosis.count(cause))} for cause in causes}
        figures.append(Figure(bars(counts, label="failed cases"), "Why cases fail in production."))
    rows = [Interval(str(cell), one.value, one.low, one.high) for cell, one in diagnosis.accuracies().items()]
    accuracies = Figure(intervals(rows, label="share of right cases"), "With 95 % intervals.")
    return render_page(_title(diagnosis), _sections(diagnosis, accuracies, figures, examples=EXAMPLES))


def diagnosis_markdown(diagnosis: Diagnosis) -> str:
    """The same without plots and examples, for a pull request or a terminal."""
    return render_markdown(_title(diagnosis), _sections(diagnosis, None, (), examples=0))


def percent(value: float) -> str:
    """A share for people: ``62.5 %``."""
    return f"{100 * value:.1f} %"


def _title(diagnosis: Diagnosis) -> str:
    return f"Diagnosis of {diagnosis.grid.suite}"


def _sections(
    diagnosis: Diagnosis, accuracies: Figure | None, causes: Sequence[Block], *, examples: int
) -> list[Section]:
    sections = [
        Section("", (_verdict(diagnosis), Text(_asked(diagnosis)))),
        Section("Accuracy", [_accuracy_table(diagnosis), *([accuracies] if accuracies else [])]),
        Section("Causes", [_cause_table(diagnosis), *causes]),
        Section("What to do", [Text(line) for line in _advice(diagnosis)]),
        Section("What a request costs", [_cost_table(diagnosis)]),
    ]
    if examples and diagnosis.attributions:
        sections.append(Section("Examples", _examples(diagnosis, examples)))
        sections.append(Section("Every failure", [_every_failure(diagnosis)]))
    return sections


def _verdict(diagnosis: Diagnosis) -> Callout:
    failures, cases = len(diagnosis.attributions), len(diagnosis.findings)
    advice = diagnosis.recommendation.advice
    return Callout(
        f"Recommendation: {advice}",
        f"{failures} of {cases} cases fail in {diagnosis.production}.",
        "good" if advice is Advice.NEITHER and not failures else "unsure",
    )


def _asked(diagnosis: Diagnosis) -> str:
    models = diagnosis.grid.models
    noise = (
        "No case was repeated, so noise is assumed and not measured: see --repeats."
        if diagnosis.noise is None
        else f"A single answer strays from what its cell mostly gives in {percent(diagnosis.noise)} of the trials."
    )
    return f"Base: {models[Subject.BASE]}. Adapter: {models[Subject.ADAPTER]}. {noise}"


def _accuracy_table(diagnosis: Diagnosis) -> Table:
    found = diagnosis.accuracies()
    contexts = [one for one in Context if Cell(one, Subject.BASE) in found]
    rows = [[str(subject), *(_interval(found[Cell(one, subject)]) for one in contexts)] for subject in Subject]
    return Table(["model", *(_CONTEXTS[one] for one in contexts)], rows, frozenset(range(1, len(contexts) + 1)))


def _cause_table(diagnosis: Diagnosis) -> Block:
    shares = diagnosis.causes()
    if not diagnosis.attributions:
        return Text(f"No case fails in {diagnosis.production}.")
    sure = {
        cause: [one.confidence for one in diagnosis.attributions if one.cause is cause]
        for cause in sorted(Cause, key=diagnosis.count, reverse=True)
    }
    rows = [
        [MEANING[cause], str(len(found)), _interval(shares[cause]), f"{sum(found) / len(found):.2f}"]
        for cause, found in sure.items()
        if found
    ]
    return Table(["cause", "failures", "share of failures", "mean confidence"], rows, frozenset((1, 2, 3)))


def _advice(diagnosis: Diagnosis) -> list[str]:
    failures = len(diagnosis.attributions)
    return [*(_remedy(one, failures) for one in diagnosis.recommendation.remedies), *diagnosis.recommendation.notes]


def _remedy(remedy: Remedy, failures: int) -> str:
    at_most = "at most " if remedy.name == "training" else ""
    parts = [
        f"{'Recommended' if remedy.recommended else 'Not recommended'}: {remedy.name}. It would mend {at_most}"
        f"{remedy.mends} of {failures} failures ({_interval(remedy.of_failures)}), {_interval(remedy.of_cases)} of all "
        f"cases. The chance that it is worth while is {percent(remedy.sure)}."
    ]
    if remedy.expected is not None and remedy.mends:
        parts.append(f"With the yield of training so far: {_number(remedy.expected, 1)} failures.")
    if remedy.cost is not None:
        parts.append(
            f"A request takes {_signed(remedy.cost.prompt_tokens, 0)} prompt tokens and "
            f"{_signed(remedy.cost.seconds, 3)} s against production."
        )
    return " ".join(parts)


def _cost_table(diagnosis: Diagnosis) -> Table:
    rows = [
        [str(cell), *(["—"] * 3 if cost is None else _cost_cells(cost))] for cell, cost in diagnosis.costs().items()
    ]
    return Table(["cell", "prompt tokens", "completion tokens", "seconds"], rows, frozenset((1, 2, 3)))


def _cost_cells(cost: Cost) -> list[str]:
    return [_number(cost.prompt_tokens, 0), _number(cost.completion_tokens, 0), _number(cost.seconds, 3)]


def _examples(diagnosis: Diagnosis, count: int) -> list[Block]:
    cases = {one.case.id: one for one in diagnosis.grid.cases}
    blocks: list[Block] = []
    for cause in sorted(Cause, key=diagnosis.count, reverse=True):
        found = sorted(
            (one for one in diagnosis.attributions if one.cause is cause),
            key=lambda one: (-one.confidence, one.case_id),
        )
        if found:
            blocks.append(Text(f"{MEANING[cause].capitalize()}: {len(found)}."))
            blocks.extend(_example(diagnosis, cases[one.case_id], one) for one in found[:count])
    return blocks


def _example(diagnosis: Diagnosis, case: CaseGrid, attribution: Attribution) -> Details:
    body: list[Block] = [Text(f"{attribution.because}.".capitalize()), Output("Prompt", question_of(case.case))]
    if case.case.expected is not None:
        body.append(Output("Reference", case.case.expected))
    body += [
        Output(f"Passages, {_CONTEXTS[context]}", "\n\n".join(passages))
        for context in (Context.ORACLE, Context.RETRIEVED)
        if (passages := case.passages(context)[:_MOST_PASSAGES])
    ]
    for cell in diagnosis.grid.cells:
        label = f"{cell} (production)" if cell == diagnosis.production else str(cell)
        body.extend(Output(label, one.answer.text or one.answer.error or "") for one in case.results[cell][:1])
    return Details(f"{case.case.id}, confidence {attribution.confidence:.2f}", body)


def _every_failure(diagnosis: Diagnosis) -> Details:
    rows = [[one.case_id, str(one.cause), f"{one.confidence:.2f}", one.because] for one in diagnosis.attributions]
    return Details(f"{len(rows)} failures", [Table(["case", "cause", "confidence", "because"], rows, frozenset((2,)))])


def _interval(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def _number(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def _signed(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:+.{digits}f} ({estimate.low:+.{digits}f} to {estimate.high:+.{digits}f})"
