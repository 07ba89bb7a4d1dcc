"""What the commands about reports and automatic rollouts print for people."""

from datetime import UTC, datetime
from typing import Any

from serving.cli.printing import cell, console, new_table, say

View = dict[str, Any]

_STYLES = {
    "passed": "green",
    "promoted": "green",
    "failed": "bold red",
    "refused": "bold red",
    "rolled_back": "bold red",
    "undecided": "yellow",
    "stopped": "yellow",
}


def print_reports(reports: list[View]) -> None:
    """A version's story: what was found out about it, oldest first."""
    if not reports:
        return
    table = new_table("When", "Report", "Verdict", "Summary")
    for report in reversed(reports):
        table.add_row(_when(report["at"]), cell(report["kind"]), _verdict(report["verdict"]), cell(report["summary"]))
    console().print(table)


def print_report(answer: View) -> None:
    """A report that was attached."""
    verdict = f", {answer['verdict']}" if answer["verdict"] else ""
    say(f"attached to {answer['version']}: {answer['kind']}{verdict}")
    say(f"  {answer['summary']}")


def print_automatic(answer: View) -> None:
    """An automatic rollout: where it is, how it came there."""
    share = f", {answer['share']:.0%} of callers" if answer["share"] else ""
    say(f"{answer['candidate']}: {answer['phase'].replace('_', ' ')}{share}", style="bold")
    say(f"  against {answer['stable'] or 'nothing'}, begun by {answer['started_by']} {_when(answer['started_at'])}")
    if answer["reason"]:
        say(f"  {answer['reason']}")
    if answer["history"]:
        table = new_table("When", "Phase", "Step", "Why")
        for entry in answer["history"]:
            when = datetime.fromtimestamp(entry["at"], UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            step = str(entry["step"] + 1) if entry["phase"] == "canary" else ""
            table.add_row(when, cell(entry["phase"]), step, cell(entry["reason"]))
        console().print(table)


def _when(text: str | None) -> str:
    return "" if text is None else datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _verdict(verdict: str | None) -> str:
    style = _STYLES.get(verdict or "")
    return f"[{style}]{cell(verdict or '')}[/]" if style else cell(verdict or "")
