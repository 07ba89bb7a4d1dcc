"""What the commands about drift and quality print for people."""

from datetime import UTC, datetime
from typing import Any

from serving.cli.printing import age, cell, console, new_table, say

View = dict[str, Any]

_LOW = 0.9
"""A quality below it is shown as one to look at."""
_SHOWN_TEXT = 80


def print_overview(answer: View) -> None:
    """Every task on a line, and a line more for each further version."""
    if not answer["data"]:
        say("No answer was observed yet.")
        return
    table = new_table("Task", "Version", "Quality", "Drift", "Live", "As of")
    for task in answer["data"]:
        versions = sorted(task["quality"].items()) or [("", None)]
        for place, (adapter, quality) in enumerate(versions):
            first = place == 0
            table.add_row(
                cell(task["task"]) if first else "",
                cell(adapter),
                _quality(quality),
                _drifted(task["drift"]) if first else "",
                _live(task["drift"]) if first else "",
                age(task["at"]) if first and task["at"] is not None else "",
            )
    console().print(table)


def print_task(answer: View) -> None:
    """One task in full."""
    say(answer["task"], style="bold")
    if answer["at"] is None:
        say("  nothing is known yet")
    if answer["drift"] is not None:
        _print_drift(answer["drift"])
    for adapter, quality in sorted(answer["quality"].items()):
        _print_quality(adapter, quality)
    for reference in answer["references"][:3]:
        print_reference(reference)


def print_reference(answer: View) -> None:
    """A reference that somebody asked for."""
    of = f"the training data of {answer['version']}" if answer["version"] else "the requests of late"
    detail = f": {answer['detail']}" if answer["detail"] else ""
    when = datetime.fromisoformat(answer["asked_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    say(f"  reference {when}, {of}, asked for by {answer['asked_by']}: {answer['state']}{detail}")


def _print_drift(drift: View) -> None:
    reference, live = drift["reference"], drift["live"]
    of = f"training data of {drift['reference_of']}" if drift["reference_of"] else "requests"
    state = f"{reference['rows']} {of}" if drift["frozen"] else f"being gathered, {reference['rows']} requests so far"
    say(f"  reference: {state}")
    if live is not None:
        error = f", shares within {live['sampling_error']:.1%}" if live["sampling_error"] else ""
        say(f"  live window {drift['window']}: {live['rows']} of {live['seen']} requests{error}")
    if drift["note"]:
        say(f"  {drift['note']}")
    if drift["signals"]:
        table = new_table("Signal", "Drift", "p", "Effect", "Reference", "Live", "Note")
        for signal in drift["signals"]:
            verdict = f"[bold red]since {_moment(signal['since'])}[/]" if signal["detected"] else "no"
            numbers = (f"{signal['p_value']:.2g}", f"{signal['effect']:.3f}")
            sizes = (str(signal["reference_n"]), str(signal["live_n"]))
            table.add_row(signal["name"], verdict, *numbers, *sizes, cell(signal["note"]))
        console().print(table)
    _print_unusual("Most unusual requests", drift["unusual"])
    _print_unusual("Requests where there are more than before", drift["grown"])


def _print_unusual(title: str, requests: list[View]) -> None:
    if not requests:
        return
    table = new_table("Distance", "When", "Language", "Version", title)
    for one in requests:
        text = cell(one["text"][:_SHOWN_TEXT]) if one["text"] else "[dim]not kept[/]"
        table.add_row(f"{one['distance']:.3f}", _moment(one["at"]), cell(one["language"]), cell(one["adapter"]), text)
    console().print(table)


def _print_quality(adapter: str, quality: View) -> None:
    limits = quality["interval"]
    interval = f", {limits[0]:.3f} to {limits[1]:.3f}" if limits is not None else ""
    score = "not enough answers yet" if quality["score"] is None else f"quality {quality['score']:.3f}{interval}"
    say(f"  {adapter}: {score}, {quality['requests']} answers")
    if (difference := quality["beside_stable"]) is not None:
        low, high = difference["interval"]
        why = f", worse by {difference['worst']}" if difference["worst"] else ""
        say(f"    beside the stable version: {difference['value']:+.3f}, {low:+.3f} to {high:+.3f}{why}")
    table = new_table("Part", "Quality", "From", "To", "Verdicts", "Weight")
    for name, part in quality["parts"].items():
        low, high = part["interval"]
        table.add_row(
            name, _graded(part["value"]), f"{low:.3f}", f"{high:.3f}", str(part["verdicts"]), f"{part['weight']:g}"
        )
    console().print(table)


def _quality(quality: View | None) -> str:
    return "" if quality is None or quality["score"] is None else _graded(quality["score"])


def _graded(value: float) -> str:
    return f"[yellow]{value:.3f}[/]" if value < _LOW else f"{value:.3f}"


def _drifted(drift: View | None) -> str:
    if drift is None:
        return ""
    if not drift["frozen"]:
        return "[dim]gathers a reference[/]"
    names = [signal["name"] for signal in drift["signals"] if signal["detected"]]
    return f"[bold red]{', '.join(names)}[/]" if names else "no"


def _live(drift: View | None) -> str:
    return "" if drift is None or drift["live"] is None else str(drift["live"]["seen"])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%m-%d %H:%M")
