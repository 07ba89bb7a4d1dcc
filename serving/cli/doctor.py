"""``loraplex doctor``: what is wrong with an installation, in plain words."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli import client

if TYPE_CHECKING:
    from serving.config import GatewayConfig
    from serving.doctor.finding import Finding

_CONFIG_ENV = "LORAPLEX_CONFIG"
_FAULTS = 1
_USAGE = 2


_Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help=f"Look at the gateway at this address, from outside. Default without a file: {client.DEFAULT_URL}.",
        show_default=False,
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Look from inside: at what this file names, and at this machine, pod or container. Default without "
        f"--url: the file that {_CONFIG_ENV} names, if it is set.",
        show_default=False,
    ),
]
_Requests = Annotated[
    bool, typer.Option("--request/--no-request", help="Whether real, tiny requests are sent, whole and streamed.")
]
_Model = Annotated[
    str | None, typer.Option("--model", help="Which model they go to. Default: an adapter's.", show_default=False)
]
_Timeout = Annotated[float, typer.Option("--timeout", min=1, help="How long one answer may take, in seconds.")]


def doctor(
    *,
    url: _Url = None,
    config: _Config = None,
    requests: _Requests = True,
    model: _Model = None,
    timeout_s: _Timeout = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check an installation and say what is wrong, and what to do about it.

    From outside it asks the gateway at --url: is it reached, ready and keeping keys; does every replica hold what it
    should; is a real request answered, by the right version, delta by delta; do metrics, knowledge and jobs work. The
    API key comes from the environment variable LORAPLEX_API_KEY; replicas and rollouts need an administrator's.

    From inside it checks what --config names: the state database, the store, the index, models, variables, disk,
    memory, GPUs, ports. With both, both.

    Exit codes: 0 nothing is broken (there may be warnings), 1 something is, 2 the command line or the file is wrong.
    """
    if url is None and config is None and os.environ.get(_CONFIG_ENV):
        config = Path(os.environ[_CONFIG_ENV])
    settings = None if config is None else _load(config)
    if config is not None and url is None and (model is not None or not requests):
        raise typer.BadParameter("--model and --no-request go with --url: from inside, no request is sent")
    address = url or (client.DEFAULT_URL if config is None else None)
    findings = _examine(address, settings, requests=requests, model=model, timeout_s=timeout_s)
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            _show(finding)
    from serving.doctor.finding import has_fault

    if as_json:
        typer.echo(json.dumps(_body(found), indent=2))
    else:
        typer.echo(_summary(found))
    raise typer.Exit(_FAULTS if has_fault(found) else 0)


def _load(file: Path) -> "GatewayConfig":
    from serving.config import load_config
    from serving.errors import ConfigInvalid

    try:
        return load_config(file)
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_USAGE) from None


def _examine(
    url: str | None, config: "GatewayConfig | None", *, requests: bool, model: str | None, timeout_s: float
) -> Iterator["Finding"]:
    if config is not None:
        from serving.doctor import inside

        yield from inside.examine(config)
    if url is not None:
        from serving.doctor import outside
        from serving.doctor.visit import Visit, Wishes
        from serving.doctor.wire import BadAddress, Line

        try:
            line = Line(url, os.environ.get(client.API_KEY_ENV, ""), timeout_s=timeout_s)
        except BadAddress as error:
            raise typer.BadParameter(str(error), param_hint="--url") from None
        replicas = None if config is None else config.replicas
        yield from outside.examine(Visit(line, Wishes(requests=requests, model=model, replicas=replicas)))


def _show(finding: "Finding") -> None:
    from serving.cli.printing import plain

    typer.echo(f"{finding.level:<4}  {finding.check:<14}  {plain(finding.message)}")
    if finding.next:
        typer.echo(f"{'':<22}→ {plain(finding.next)}")


def _body(found: list["Finding"]) -> dict[str, object]:
    from serving.doctor.finding import has_fault

    lines = [
        {"check": one.check, "level": one.level.value, "message": one.message, "next": one.next or None}
        for one in found
    ]
    return {"object": "doctor", "ok": not has_fault(found), "findings": lines}


def _summary(found: list["Finding"]) -> str:
    from serving.doctor.finding import Level

    counts = {level: sum(one.level is level for one in found) for level in Level}
    faults, warnings = counts[Level.FAIL], counts[Level.WARN]
    if faults:
        return f"\n{faults} {'fault' if faults == 1 else 'faults'}, {warnings} to look at, {counts[Level.OK]} well."
    return f"\nNothing is broken: {counts[Level.OK]} well, {warnings} to look at, {counts[Level.SKIP]} not checked."
