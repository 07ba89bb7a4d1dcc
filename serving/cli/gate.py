"""``loraplex gate``: may a candidate take the current version's place?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.client import REFUSED, Failed, fail
from serving.cli.command import Json

if TYPE_CHECKING:
    from training.gating.gate import Verdict

GATE_FAILED = 5
"""Exit code: the candidate does not pass."""
GATE_UNDECIDED = 6
"""Exit code: too few cases to tell; the candidate does not pass."""


def gate(
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE_RUN", help="The candidate's run of the suite.")],
    current: Annotated[Path, typer.Argument(metavar="CURRENT_RUN", help="The current version's run of it.")],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="YAML file that says what must be shown.", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.", show_default=False)] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write Markdown to this file.", show_default=False)
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Compare two runs of a suite, case by case, and say whether the candidate may go on.

    Exit codes: 0 passed, 5 failed, 6 undecided for want of cases, 1 the runs cannot be compared.
    """
    try:
        verdict = _decide(candidate, current, policy)
        _write(verdict, html, markdown)
    except Failed as error:
        fail(error, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(verdict.to_json(), indent=2))
    else:
        _show(verdict)
    raise typer.Exit({"passed": 0, "failed": GATE_FAILED, "undecided": GATE_UNDECIDED}[verdict.outcome.value])


def _decide(candidate: Path, current: Path, policy: Path | None) -> "Verdict":
    from training.errors import TrainingError
    from training.evaluation.run_file import read_run
    from training.gating.gate import decide
    from training.gating.policy import GatePolicy

    try:
        wanted = GatePolicy.load(policy) if policy is not None else GatePolicy()
        return decide(read_run(candidate), read_run(current), wanted)
    except TrainingError as error:
        raise Failed(REFUSED, "gate_refused", f"{error}.") from error


def _write(verdict: "Verdict", html: Path | None, markdown: Path | None) -> None:
    from training.gating.report import gate_markdown, gate_page

    for path, render in ((html, gate_page), (markdown, gate_markdown)):
        if path is not None:
            try:
                path.write_text(render(verdict), encoding="utf-8")
            except OSError as error:
                raise Failed(REFUSED, "report_not_written", f"{path} cannot be written: {error.strerror}.") from error


def _show(verdict: "Verdict") -> None:
    typer.echo(f"{verdict.candidate.name} against {verdict.current.name}, suite {verdict.suite}: {verdict.outcome}")
    for line in verdict.reason.splitlines():
        typer.echo(f"  {line}")
    losses = sum(not flip.gained for flip in verdict.flips)
    typer.echo(f"  {len(verdict.flips) - losses} cases better, {losses} worse")
