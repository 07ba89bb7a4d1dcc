"""``loraplex train``: what is done on this machine before and around a training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serving.cli.client import REFUSED, Failed
from serving.cli.command import Json, run
from serving.cli.printing import say

if TYPE_CHECKING:
    from training.data.encoding import ChatTokenizer

app = typer.Typer(no_args_is_help=True, help="Check training data.")

_STYLES = {"error": "bold red", "warning": "yellow", "note": None}


@app.callback()
def _training() -> None:
    """Without a callback, typer would make the only command the whole of this app."""


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="Training rows, JSON lines.", show_default=False)],
    *,
    validation: Annotated[
        Path | None, typer.Option("--validation", metavar="FILE", help="Rows that are only measured on.")
    ] = None,
    kind: Annotated[
        Literal["chat", "preference"], typer.Option("--kind", help="OpenAI's chat format, or its preferences for DPO.")
    ] = "chat",
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="FOLDER", help="Base checkpoint, to count tokens with its tokenizer."),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=8, help="Tokens after which rows are cut; needs --base.")
    ] = None,
    tokens_per_second: Annotated[
        float | None, typer.Option("--tokens-per-second", min=0.001, help="Speed of your training; needs --base.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="CODE", help="A judgment that is not to refuse the file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether a file can be trained on, and what it would teach that it should not.

    Nothing is sent anywhere. The exit code is 1 where anything forbids training."""
    if base is None and (max_length is not None or tokens_per_second is not None):
        raise typer.BadParameter("tokens cannot be counted without a tokenizer; give --base", param_hint="--base")

    def work() -> dict[str, Any]:
        return _checked(file, validation, kind, base, max_length, tokens_per_second, tuple(allow or ()))

    answer = run(work, _show, as_json=as_json)
    if answer["refused"]:
        raise typer.Exit(REFUSED)


def _checked(
    file: Path,
    validation: Path | None,
    kind: Literal["chat", "preference"],
    base: Path | None,
    max_length: int | None,
    tokens_per_second: float | None,
    allow: Sequence[str],
) -> dict[str, Any]:
    """What was found, as ``--json`` prints it. Raises Failed."""
    try:
        from training.data.check import check_file
        from training.data.findings import JUDGMENTS
        from training.errors import TrainingError

        tokenizer = None if base is None else _tokenizer(base)
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: install `loraplex[train]`."
        raise Failed(REFUSED, "training_not_installed", message) from error
    for code in allow:
        if code not in JUDGMENTS:
            message = f"`{code}` cannot be allowed; what can be: {', '.join(JUDGMENTS)}."
            raise Failed(REFUSED, "not_a_judgment", message)
    try:
        report = check_file(
            file,
            kind=kind,
            heldout=validation,
            tokenizer=tokenizer,
            max_length=max_length,
            tokens_per_second=tokens_per_second,
        )
    except TrainingError as error:
        raise Failed(REFUSED, "base_model_invalid", f"{error}.") from error
    refused = sorted({finding.code for finding in report.refused(allow)})
    can_be_allowed = [code for code in refused if code in JUDGMENTS]
    return {"object": "train.check", **report.to_json(), "refused": refused, "can_be_allowed": can_be_allowed}


def _tokenizer(base: Path) -> "ChatTokenizer":
    from training.errors import TrainingError
    from training.tuning.base import load_tokenizer

    try:
        tokenizer: ChatTokenizer = load_tokenizer(base)
    except TrainingError as error:
        raise Failed(REFUSED, "base_model_invalid", f"{error}.") from error
    return tokenizer


def _show(answer: dict[str, Any]) -> None:
    for finding in answer["findings"]:
        place = finding["file"] if finding["line"] is None else f"{finding['file']}:{finding['line']}"
        message = f"{place}: {finding['severity']}: {finding['message']} [{finding['code']}]"
        say(message, style=_STYLES[finding["severity"]])
    held = answer["heldout_rows"]
    say(f"{answer['rows']:,} rows" + ("" if held is None else f", {held:,} for validation"))
    lengths = answer["lengths"]
    if lengths is not None:
        say(
            f"tokens in a row: half up to {lengths['p50']:,}, 90% up to {lengths['p90']:,}, 99% up to "
            f"{lengths['p99']:,}, the longest {lengths['longest']:,}"
        )
        seconds = lengths["epoch_seconds"]
        say(
            f"one epoch: {lengths['epoch_tokens']:,} tokens, {lengths['supervised_tokens']:,} of them learnt"
            + ("" if seconds is None else f", {_duration(seconds)}")
        )
    if not answer["refused"]:
        say("This can be trained on.", style="bold green")
        return
    say(f"This cannot be trained on: {', '.join(answer['refused'])}.", style="bold red")
    if answer["can_be_allowed"]:
        options = " ".join(f"--allow {code}" for code in answer["can_be_allowed"])
        say(f"Mend it, or, where you know better, allow it: {options}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
