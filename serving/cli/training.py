"""``loraplex train``: what is done on this machine before and around a training."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serving.cli.client import REFUSED, Failed, fail
from serving.cli.command import Json, run
from serving.cli.printing import say

if TYPE_CHECKING:
    from training.data.encoding import ChatTokenizer

app = typer.Typer(no_args_is_help=True, help="Check training data, and train on this machine.")

_STYLES = {"error": "bold red", "warning": "yellow", "note": None}

_MISTAKE = 2
"""Exit code of a training: the caller's to mend, as ``training.tuning.run`` has it."""


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


@app.command("run")
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, YAML; its paths start at its folder.", show_default=False)],
    *,
    base: Annotated[Path, typer.Option("--base", metavar="FOLDER", help="Base checkpoint.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Becomes the adapter; must hold none.", show_default=False)
    ],
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="CODE", help="A finding in the data to train in spite of.")
    ] = None,
) -> None:
    """Train an adapter on this machine, by a recipe for SFT or DPO.

    Ctrl-C and SIGTERM have it write a checkpoint into OUT.work, beside the output folder; the same command goes on from
    the newest, whatever ended the training. Exit codes: 0 the adapter is written, 2 recipe, data, base or output folder
    want mending, 75 stopped after a checkpoint."""
    try:
        raise typer.Exit(_trained(recipe, base, out, tuple(allow or ())))
    except Failed as error:
        fail(error, as_json=False)


def _trained(recipe: Path, base: Path, out: Path, allow: Collection[str]) -> int:
    """The exit code of a training. Raises Failed where none was begun."""
    try:
        from training.data.findings import JUDGMENTS
        from training.tuning.run import run_file

        _require_judgments(allow, JUDGMENTS, _MISTAKE)
        return run_file(recipe, base, out, typer.echo, allow=allow)
    except ModuleNotFoundError as error:
        raise _not_installed(error, _MISTAKE) from error


def _checked(
    file: Path,
    validation: Path | None,
    kind: Literal["chat", "preference"],
    base: Path | None,
    max_length: int | None,
    tokens_per_second: float | None,
    allow: Collection[str],
) -> dict[str, Any]:
    """What was found, as ``--json`` prints it. Raises Failed."""
    try:
        from training.data.check import check_file
        from training.data.findings import JUDGMENTS
        from training.errors import TrainingError

        tokenizer = None if base is None else _tokenizer(base)
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    _require_judgments(allow, JUDGMENTS)
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


def _not_installed(error: ModuleNotFoundError, exit_code: int = REFUSED) -> Failed:
    message = f"{error.name} is not installed: install `loraplex[train]`."
    return Failed(exit_code, "training_not_installed", message)


def _require_judgments(codes: Collection[str], judgments: Collection[str], exit_code: int = REFUSED) -> None:
    """Raises Failed for a code that can never be allowed."""
    for code in codes:
        if code not in judgments:
            message = f"`{code}` cannot be allowed; what can be: {', '.join(judgments)}."
            raise Failed(exit_code, "not_a_judgment", message)


def _tokenizer(base: Path) -> "ChatTokenizer":
    from training.data.tokenizer import load_chat_tokenizer
    from training.errors import TrainingError

    try:
        return load_chat_tokenizer(base)
    except TrainingError as error:
        raise Failed(REFUSED, "base_model_invalid", f"{error}.") from error


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
