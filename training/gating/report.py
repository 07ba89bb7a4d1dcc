"""A verdict as a page and as Markdown."""

from collections.abc import Sequence

from training.gating.comparison import Comparison, Estimate, Outcome
from training.gating.gate import Flip, Verdict
from training.reports.document import Block, Callout, Columns, Details, Figure, Output, Section, Table, Text, Tone
from training.reports.markdown import render_markdown
from training.reports.page import render_page

_TONES: dict[Outcome, Tone] = {Outcome.PASSED: "good", Outcome.FAILED: "bad", Outcome.UNDECIDED: "unsure"}
_TITLES = {
    Outcome.PASSED: "Passed",
    Outcome.FAILED: "Failed",
    Outcome.UNDECIDED: "Undecided: too few cases. The candidate does not pass",
}
_MOST_FLIPS = 200
"""Of one metric and direction that a report shows."""


def gate_page(verdict: Verdict) -> str:
    """The verdict as one HTML file."""
    return render_page(_title(verdict), gate_sections(verdict, figures=True))


def gate_markdown(verdict: Verdict) -> str:
    """The verdict as Markdown."""
    return render_markdown(_title(verdict), gate_sections(verdict, figures=False))


def gate_sections(verdict: Verdict, *, figures: bool) -> list[Section]:
    """The parts of a report, for one that holds more than the gate's; without figures matplotlib is not loaded."""
    tone, title = _TONES[verdict.outcome], _TITLES[verdict.outcome]
    contestants = Table(
        ("", "Version", "Asked for as", "Requests without an answer"),
        [
            (name, one.version or "not said", one.model, str(one.errors))
            for name, one in (("Candidate", verdict.candidate), ("Current", verdict.current))
        ],
        numeric=frozenset({3}),
        caption=f"Suite {verdict.suite}, {verdict.suite_digest[:12]}",
    )
    return [
        Section("", (Callout(title, verdict.reason, tone), contestants)),
        Section("Metrics", (*(_figures(verdict) if figures else ()), *_metrics(verdict))),
        Section("Cases that flipped", _flips(verdict)),
        Section("How it was decided", (Text(_method(verdict)),)),
    ]


def _title(verdict: Verdict) -> str:
    return f"{verdict.candidate.name} against {verdict.current.name}"


def _figures(verdict: Verdict) -> list[Block]:
    from training.reports.plots import Interval, intervals

    versions, differences = [], []
    for one in verdict.comparisons:
        name = one.metric
        versions += [_row(f"{name} · candidate", one.candidate, "plain"), _row("current", one.current, "quiet")]
        tone, difference = _TONES[one.outcome], one.difference
        differences.append(
            Interval(name, difference.mean, difference.lower, difference.upper, tone, mark=one.threshold)
        )
    level = f"{1 - 2 * verdict.policy.alpha:.0%}"
    return [
        Figure(
            intervals([Interval(label, e.mean, e.lower, e.upper, tone) for label, e, tone in versions], label="mean"),
            f"Each version's mean over the cases, with {level} intervals.",
        ),
        Figure(
            intervals(differences, label="candidate minus current", zero=True),
            f"The difference with its {level} interval. A metric passes where the whole interval lies to the right of "
            "its dashed line.",
        ),
    ]


def _row(label: str, estimate: Estimate, tone: str) -> tuple[str, Estimate, str]:
    return label, estimate, tone


def _metrics(verdict: Verdict) -> list[Block]:
    shown = Table(
        ("Metric", "Candidate", "Current", "Difference", "Must exceed", "p", "Outcome"),
        [
            (
                one.metric,
                f"{one.candidate.mean:.3f}",
                f"{one.current.mean:.3f}",
                f"{one.difference.mean:+.3f} [{one.difference.lower:+.3f}, {one.difference.upper:+.3f}]",
                f"{one.threshold:+.3f}",
                f"{one.p_value:.2g}",
                one.outcome.value,
            )
            for one in verdict.comparisons
        ],
        numeric=frozenset({1, 2, 3, 4, 5}),
    )
    sizes = Table(
        ("Metric", "Cases", "Better", "Worse", "No difference at all, p", "Assumed", "Power", "Cases needed"),
        [
            (
                one.metric,
                str(one.cases),
                str(one.wins),
                str(one.losses),
                "" if one.mcnemar is None else f"{one.mcnemar:.2g}",
                f"{one.assumed:+.3f}",
                f"{one.power:.2f}",
                "" if one.cases_needed is None else str(one.cases_needed),
            )
            for one in verdict.comparisons
        ],
        numeric=frozenset(range(1, 8)),
        caption=f"Power: the probability that these cases let a candidate with the assumed difference pass; "
        f"cases needed: for a power of {verdict.policy.power:g}",
    )
    return [shown, sizes]


def _flips(verdict: Verdict) -> list[Block]:
    if not verdict.flips:
        return [Text("None: both versions do equally well on every case.")]
    blocks: list[Block] = []
    for one in verdict.comparisons:
        for gained, name in ((False, "worse"), (True, "better")):
            flips = [flip for flip in verdict.flips if flip.metric == one.metric and flip.gained is gained]
            if flips:
                blocks.append(Text(f"{one.metric}: the candidate does {name} on {len(flips)} of {one.cases} cases."))
                blocks.extend(_details(flips[:_MOST_FLIPS], one, "good" if gained else "bad"))
                if len(flips) > _MOST_FLIPS:
                    blocks.append(Text(f"The {len(flips) - _MOST_FLIPS} smallest are left out."))
    return blocks


def _details(flips: Sequence[Flip], comparison: Comparison, tone: Tone) -> list[Block]:
    digits = 0 if comparison.method == "exact" else 2
    return [
        Details(
            f"{flip.case_id}: {flip.current:.{digits}f} → {flip.candidate:.{digits}f}",
            (Columns((Output("Current", flip.current_answer), Output("Candidate", flip.candidate_answer))),),
            tone,
        )
        for flip in flips
    ]


def _method(verdict: Verdict) -> str:
    policy = verdict.policy
    methods = {one.method for one in verdict.comparisons}
    texts = [
        f"Each metric must exceed its threshold in a one-sided test at {policy.alpha:g}. All must, so a candidate "
        f"that is unfit by any metric passes with probability {policy.alpha:g} at most, without a correction for their "
        f"number (intersection-union test). Either limit of an interval is wrong with probability {policy.alpha:g}."
    ]
    if "exact" in methods:
        texts.append(
            "Metrics that are right or wrong for every case: exact unconditional test for paired proportions, ordered "
            "by Tango's score statistic; the interval is the same test turned round. No difference at all: McNemar's "
            "exact test, two-sided."
        )
    if "bootstrap" in methods:
        texts.append(
            f"Graded metrics: paired bootstrap, BCa, {policy.resamples:,} resamples, seed {policy.seed}, with limits "
            "that also allow for losses so rare that no case showed them."
        )
    return "\n\n".join(texts)
