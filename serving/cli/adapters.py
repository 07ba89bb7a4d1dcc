"""``loraplex adapters``: the adapter lifecycle over the admin API."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.cli import client
from serving.cli.client import AdminClient, Failed, path_part
from serving.cli.command import EXIT_CODES, Json, Url, run

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"An administrator's API key comes from the environment variable {client.API_KEY_ENV}. {EXIT_CODES}",
)

Name = Annotated[str, typer.Argument(help="Name of the adapter.", show_default=False)]
Version = Annotated[str, typer.Argument(help="Such as triage@3f9a1c2e.", show_default=False)]
NameOrVersion = Annotated[
    str, typer.Argument(metavar="NAME|VERSION", help="Adapter, or version such as triage@3f9a1c2e.", show_default=False)
]
MaybeVersion = Annotated[
    str | None,
    typer.Argument(metavar="VERSION", help="Version, or its digest; not needed after name@digest.", show_default=False),
]


@app.command("ls")
def list_adapters(*, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """What there is: versions, their roles, and where they are loaded."""
    _run(lambda: AdminClient(url).get("/adapters"), "adapters", as_json=as_json)


@app.command()
def show(name: NameOrVersion, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """One adapter or one version, in full."""
    _run(lambda: AdminClient(url).get(f"/adapters/{path_part(name)}"), "detail", as_json=as_json)


@app.command()
def add(
    name: Name,
    source: Annotated[str, typer.Argument(help="Folder, hub id or fsspec URL.", show_default=False)],
    *,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the stable version at once.")] = False,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Fetch, validate and store an adapter."""
    body = {"name": name, "source": _absolute(source), "promote": promote}
    _run(lambda: AdminClient(url).post("/adapters", body), "added", as_json=as_json)


@app.command()
def promote(
    name: NameOrVersion, version: MaybeVersion = None, *, url: Url = client.DEFAULT_URL, as_json: Json = False
) -> None:
    """Make a version the stable one, once every replica is ready to serve it."""
    adapter, version = _target(name, version)
    _roll(url, f"/adapters/{path_part(adapter)}/promote", {"version": version}, as_json=as_json)


@app.command()
def canary(
    name: NameOrVersion,
    version: MaybeVersion = None,
    *,
    share: Annotated[float, typer.Option("--share", min=0.0, max=1.0, help="Share of the callers.")] = 0.1,
    end: Annotated[bool, typer.Option("--end", help="End the canary.")] = False,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Let a version answer a share of the callers."""
    if end:
        path = f"/adapters/{path_part(name.partition('@')[0])}/canary"
        _roll(url, path, {"share": 0}, as_json=as_json)
        return
    if share == 0:
        raise typer.BadParameter("a share of 0 is no canary; use --end to end one")
    adapter, version = _target(name, version)
    _roll(url, f"/adapters/{path_part(adapter)}/canary", {"version": version, "share": share}, as_json=as_json)


@app.command()
def shadow(
    name: NameOrVersion,
    version: MaybeVersion = None,
    *,
    end: Annotated[bool, typer.Option("--end", help="End the shadow.")] = False,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Send a copy of the traffic to a version; its answers are measured and dropped."""
    if end:
        path = f"/adapters/{path_part(name.partition('@')[0])}/shadow"
        _roll(url, path, {"version": None}, as_json=as_json)
        return
    adapter, version = _target(name, version)
    _roll(url, f"/adapters/{path_part(adapter)}/shadow", {"version": version}, as_json=as_json)


@app.command()
def rollback(name: Name, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Drop the canary or, where there is none, return to the previous stable version."""
    _roll(url, f"/adapters/{path_part(name)}/rollback", {}, as_json=as_json)


@app.command()
def pin(version: Version, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Keep a version loaded on every replica."""
    _roll(url, f"/versions/{path_part(version)}/pin", {}, as_json=as_json)


@app.command()
def unpin(version: Version, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Let a version leave the engine when its place is needed."""
    _roll(url, f"/versions/{path_part(version)}/unpin", {}, as_json=as_json)


@app.command("rm")
def remove(version: Version, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Forget a version that no alias and no pin uses."""
    _run(lambda: AdminClient(url).delete(f"/versions/{path_part(version)}"), "rollout", as_json=as_json)


@app.command()
def verify(
    target: Annotated[
        str,
        typer.Argument(metavar="VERSION|FOLDER", help="Stored version, or a folder with --base.", show_default=False),
    ],
    *,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="Checkpoint of the base model: check a folder without a gateway."),
    ] = None,
    max_rank: Annotated[int, typer.Option("--max-rank", min=1, help="With --base: largest LoRA rank.")] = 16,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Check a stored version's files again, or a folder before it is added."""
    if base is None and "@" not in target and Path(target).is_dir():
        raise typer.BadParameter(f"{target} is a folder: give the base model's checkpoint with --base")
    if base is not None:
        _run(lambda: _verify_folder(Path(target), base, max_rank), "verification", as_json=as_json)
        return
    answer = _run(
        lambda: AdminClient(url).post(f"/versions/{path_part(target)}/verify"), "verification", as_json=as_json
    )
    if not answer["ok"]:
        raise typer.Exit(client.REFUSED)


@app.command()
def history(
    name: Annotated[str | None, typer.Argument(help="One adapter's; default: all.", show_default=False)] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many events.")] = 20,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Who changed what, newest first."""
    query = {"limit": str(limit)} | ({"alias": name} if name is not None else {})
    _run(lambda: AdminClient(url).get("/history", query), "history", as_json=as_json)


@app.command()
def report(
    version: Version,
    file: Annotated[
        Path, typer.Argument(help="A suite's run, a gate's verdict, or a report, as JSON.", exists=True, dir_okay=False)
    ],
    *,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Attach what was found out about a version to it."""

    def send() -> Any:
        return AdminClient(url).post(f"/versions/{path_part(version)}/reports", _report(file))

    _run(send, "report", as_json=as_json)


@app.command()
def rollout(
    name: NameOrVersion,
    version: MaybeVersion = None,
    *,
    shadow: Annotated[bool, typer.Option("--shadow", help="A shadow comes before the canary.")] = False,
    steps: Annotated[
        str, typer.Option("--steps", help="Shares of the callers, such as 0.05,0.25,0.5; default: the policy's.")
    ] = "",
    examine: Annotated[bool, typer.Option("--examine", help="The policy's suite and gate come first.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the one in progress; the alias stays as it is.")] = False,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Have a version rolled out by itself, and back where it is worse; without a version, tell how it goes."""
    adapter = name.partition("@")[0]
    path = f"/adapters/{path_part(adapter)}/rollout"
    if stop:
        _run(lambda: AdminClient(url).delete(path), "automatic", as_json=as_json)
    elif version is None and "@" not in name:
        _run(lambda: AdminClient(url).get(path), "automatic", as_json=as_json)
    else:
        body = {"version": version or name, "shadow": shadow, "steps": _shares(steps), "examine": examine}
        _run(lambda: AdminClient(url).post(path, body), "automatic", as_json=as_json)


@app.command()
def replicas(*, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """The live replicas, and what each holds by its engine's own account."""
    _run(lambda: AdminClient(url).get("/replicas"), "replicas", as_json=as_json)


def _roll(url: str, path: str, body: dict[str, Any], *, as_json: bool) -> None:
    _run(lambda: AdminClient(url).post(path, body), "rollout", as_json=as_json)


def _run(call: Callable[[], Any], view: str, *, as_json: bool) -> Any:
    def show(answer: Any) -> None:
        from serving.cli import tables

        tables.PRINTERS[view](answer)

    return run(call, show, as_json=as_json)


def _target(name: str, version: str | None) -> tuple[str, str]:
    """The adapter and the version that ``NAME VERSION`` or ``NAME@DIGEST`` mean."""
    if version is not None:
        return name.partition("@")[0], version
    adapter, at, _ = name.partition("@")
    if not at:
        raise typer.BadParameter(f"which version of {name}? `loraplex adapters show {name}` lists them")
    return adapter, name


def _absolute(source: str) -> str:
    """A folder of ours by its full path: the gateway may run in another folder."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.is_dir() else source


def _verify_folder(folder: Path, base: Path, max_rank: int) -> dict[str, Any]:
    """What the gateway would say of ``folder``. Raises Failed."""
    from adapters.base_model import BaseModelSpec
    from adapters.errors import AdapterError
    from adapters.sources import fetch_source
    from adapters.validate import AdapterLimits, validate

    if not folder.is_dir():
        raise Failed(client.REFUSED, "source_unavailable", f"There is no folder {folder}.")
    with tempfile.TemporaryDirectory(prefix="loraplex-verify-") as scratch:
        try:
            spec = BaseModelSpec.from_checkpoint(base, base.name)
            copy = fetch_source(str(folder.resolve()), Path(scratch) / "adapter", max_bytes=_NO_LIMIT)
            manifest = validate(copy, spec, AdapterLimits(max_rank=max_rank, max_bytes=_NO_LIMIT))
        except AdapterError as error:
            raise Failed(client.REFUSED, error.code, str(error)) from error
        except OSError as error:
            raise Failed(client.REFUSED, "source_unavailable", f"{folder} cannot be read: {error}") from error
    return {
        "object": "adapter.verification",
        "version": str(folder),
        "ok": True,
        "problem": None,
        "digest": manifest.digest,
        "rank": manifest.rank,
        "alpha": manifest.alpha,
        "target_modules": list(manifest.target_modules),
        "size_bytes": manifest.size_bytes,
        "residency": [],
    }


_NO_LIMIT = 1 << 60


def _shares(text: str) -> list[float] | None:
    """The shares in ``0.05,0.25``; None where there are none."""
    try:
        return [float(part) for part in text.split(",")] if text else None
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of shares such as 0.05,0.25,0.5") from None


def _report(path: Path) -> dict[str, Any]:
    """A report's file, in short: the answers of a suite's run stay where they are. Raises Failed."""
    import json

    from serving.errors import InvalidRequest
    from serving.life.reports import report_of

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        made = report_of("", data if isinstance(data, dict) else {})
    except (OSError, ValueError) as error:
        raise Failed(client.REFUSED, "invalid_json", f"{path} is not JSON: {error}") from error
    except InvalidRequest as error:
        raise Failed(client.REFUSED, "invalid_request", f"{path}: {error}") from error
    return {"kind": made.kind, "verdict": made.verdict, "summary": made.summary, "body": dict(made.body)}
