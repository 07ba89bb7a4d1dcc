"""What the commands that talk to a gateway share."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from serving.cli.client import REFUSED, SERVER_FAILED, UNREACHABLE, Failed, fail

EXIT_CODES = (
    f"Exit codes: {REFUSED} refused, {UNREACHABLE} no gateway answers, {SERVER_FAILED} the gateway could not do it now."
)

Url = Annotated[str, typer.Option("--url", help="Address of the gateway.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def run(call: Callable[[], Any], show: Callable[[Any], None], *, as_json: bool) -> Any:
    """Do it, print what came of it, and return it; end the command where it fails."""
    try:
        answer = call()
    except Failed as error:
        fail(error, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        show(answer)
    return answer
