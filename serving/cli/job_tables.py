"""What ``loraplex jobs`` prints for people."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from serving.cli.printing import age, cell, console, new_table, say

_COLOURS = {"succeeded": "green", "failed": "red", "running": "cyan"}


def print_jobs(answer: Any) -> None:
    """A line for each."""
    if not answer["data"]:
        say("There are no fine-tuning jobs.")
        return
    table = new_table("Id", "State", "Adapter", "Method", "Age", "Result")
    for job in answer["data"]:
        table.add_row(
            cell(job["id"]),
            _state(job["status"]),
            cell(job["loraplex"]["adapter"]),
            cell(job["method"]["type"]),
            age(job["created_at"]),
            cell(_result(job)),
        )
    console().print(table)


def print_job(job: Any) -> None:
    """Everything about one."""
    table = new_table("", "")
    for name, value in (
        ("Id", job["id"]),
        ("State", job["status"]),
        ("Adapter", job["loraplex"]["adapter"]),
        ("Method", job["method"]["type"]),
        ("Base", job["model"]),
        ("Files", ", ".join(file for file in (job["training_file"], job["validation_file"]) if file)),
        ("Seed", str(job["seed"])),
        ("Created", f"{age(job['created_at'])} ago"),
        ("Ready", _moment(job["estimated_finish"])),
        ("Tokens", job["trained_tokens"] and f"{job['trained_tokens']:,}"),
        ("Result", _result(job)),
    ):
        if value:
            table.add_row(name, cell(str(value)))
    console().print(table)


def print_events(answer: Any) -> None:
    """A line for each, the oldest first."""
    for event in reversed(answer["data"]):
        mark = {"warn": "! ", "error": "!! "}.get(event["level"], "")
        say(f"{_moment(event['created_at'])}  {mark}{event['message']}")


def _state(status: str) -> str:
    colour = _COLOURS.get(status)
    return f"[{colour}]{cell(status)}[/]" if colour else cell(status)


def _result(job: Mapping[str, Any]) -> str:
    if job["error"] is not None:
        where = f" (line {job['error']['line']})" if "line" in job["error"] else ""
        return f"{job['error']['message'].splitlines()[0]}{where}"
    return job["fine_tuned_model"] or ""


def _moment(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


PRINTERS: Mapping[str, Callable[[Any], None]] = {"jobs": print_jobs, "job": print_job, "events": print_events}
