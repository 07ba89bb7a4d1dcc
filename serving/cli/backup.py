"""``loraplex backup`` and ``loraplex restore``."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.command import Json
from serving.config import load_config
from serving.errors import ConfigInvalid

if TYPE_CHECKING:
    from serving.backup.manifest import Manifest
    from serving.backup.passages import PassageSource
    from serving.backup.vault import Vault
    from serving.config import GatewayConfig
    from serving.settings.knowledge import IndexSettings

REFUSED = 1
BAD_CONFIG = 2
UNREACHABLE = 3
INCOMPLETE = 4

_Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="LORAPLEX_CONFIG", help="The gateway's YAML file.", show_default=False)
]
_WITHOUT = (
    "give the gateway's address with --gateway and an administrator's key in LORAPLEX_API_KEY, or leave the passages "
    "out with --without-index: they are embedded again after a restore."
)


def backup(
    config: _Config,
    to: Annotated[
        str, typer.Option("--to", metavar="URL", help="A folder, or an fsspec URL such as s3://bucket/backups.")
    ],
    *,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, metavar="N", help="Remove all but the newest N backups afterwards.")
    ] = None,
    without_index: Annotated[
        bool, typer.Option("--without-index", help="Leave passages and vectors out; a restore embeds them again.")
    ] = False,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway", metavar="URL", help="The gateway that has the embedded index open.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Back up state, adapters, files, passages and fine-tuning jobs, while the gateway serves.

    Several backups share one place: what is there already is not copied again. What stands in the configuration file
    is not in a backup, nor are secrets, the base model and what Prometheus holds. A place that is of the same kind as
    `artifacts.url` is opened with `artifacts.options`. An embedded index that a running gateway has open is read
    through that gateway, by an administrator's key in the environment variable LORAPLEX_API_KEY.

    Exit codes: 0 done; 1 refused; 2 the configuration is not valid; 3 the state, the artifact store, the index or the
    place of the backups cannot be used; 4 done, and the installation itself has lost what stderr names.
    """
    with _told(as_json=as_json):
        from serving.backup.save import Backup, keep_newest

        settings = load_config(config)
        vault = _vault(settings, to)
        with _passages(settings, gateway, left_out=without_index) as source:
            work = Backup(settings, vault, source, _say(as_json=as_json))
            made = work.make()
        removed = [] if keep is None else keep_newest(vault, keep)
        summary = _summary(made) | {"added_bytes": work.added, "removed": removed}
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        typer.echo(f"Backup {made.id}: {_in_words(summary)}; {summary['added_bytes']} bytes were new")
    for problem in made.missing:
        typer.echo(f"Lost: {problem}", err=True)
    if made.missing:
        raise typer.Exit(INCOMPLETE)


def restore(
    config: _Config,
    source: Annotated[str, typer.Option("--from", metavar="URL", help="Where the backups are.")],
    *,
    wanted: Annotated[
        str | None, typer.Option("--backup", metavar="ID", help="Which one. Default: the newest.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read the backup from end to end.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Only list the backups.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a backup into an installation that was never started: empty database, artifact store and index.

    Every piece is checked before anything is changed, and the rows come last, in one transaction. One that broke off
    goes on when it is begun again; until it has ended no gateway starts on the database. State may move between
    SQLite and PostgreSQL, artifacts between folders and S3, passages between Milvus Lite and a server.

    Exit codes: 0 done; 1 the installation is not empty, or the backup is damaged or newer than this Loraplex; 2 the
    configuration is not valid; 3 the state, the artifact store, the index or the place of the backups cannot be used.
    """
    with _told(as_json=as_json):
        from serving.backup.restore import Restore, check_backup

        settings = load_config(config)
        vault = _vault(settings, source)
        say = _say(as_json=as_json)
        if list_all:
            _list(vault, as_json=as_json)
            return
        manifest = _find(vault, source, wanted)
        if check:
            check_backup(vault, manifest, say)
            summary = _summary(manifest)
            done = f"The backup {manifest.id} is whole"
        else:
            index = None if settings.knowledge is None else settings.knowledge.index
            opener = None if index is None else lambda: _open_index(index)
            restored = Restore(settings, vault, manifest, opener, say).run()
            summary = _summary(manifest) | {"rows": restored.rows, "to_embed": restored.to_embed}
            done = f"Restored the backup {manifest.id}"
    typer.echo(json.dumps(summary, indent=2) if as_json else f"{done}: {_in_words(summary)}")


def _vault(config: "GatewayConfig", url: str) -> "Vault":
    from fsspec.core import split_protocol

    from serving.backup.vault import Vault

    is_alike = split_protocol(url)[0] == split_protocol(config.artifacts.url)[0]
    return Vault(url, config.artifacts.options if is_alike else None)


def _find(vault: "Vault", url: str, wanted: str | None) -> "Manifest":
    from serving.backup.errors import BackupInvalid
    from serving.backup.manifest import Manifest

    there = vault.backups()
    if wanted is None and not there:
        raise BackupInvalid(f"there is no backup in {url}: what a backup that broke off left is none; check --from.")
    name = there[-1] if wanted is None else wanted
    return Manifest.read(vault.manifest(name), name)


def _list(vault: "Vault", *, as_json: bool) -> None:
    found = [_summary(_find(vault, "", name)) for name in vault.backups()]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for one in found:
            typer.echo(f"{one['backup']}: {_in_words(one)}")
        if not found:
            typer.echo("There is no backup here.")


@contextmanager
def _passages(config: "GatewayConfig", gateway: str | None, *, left_out: bool) -> "Iterator[PassageSource | None]":
    """Where passages are read: the index, or the gateway that has it open."""
    from retrieval.errors import IndexUnavailable
    from serving.backup.passages import GatewayPassages, IndexPassages

    if config.knowledge is None or left_out:
        yield None
        return
    index = config.knowledge.index
    store = None
    if not index.is_embedded or Path(index.uri).exists():
        try:
            store = _open_index(index)
        except IndexUnavailable:
            if not index.is_embedded:
                raise
    try:
        yield IndexPassages(store) if store is not None else GatewayPassages(_asking(config, gateway, index))
    finally:
        if store is not None:
            store.close()


def _open_index(index: "IndexSettings") -> Any:
    import logging

    from serving.knowledge.indexes import open_milvus

    # It tells at length what is no failure here: that a gateway has the embedded index open.
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    return open_milvus(index)


def _asking(config: "GatewayConfig", gateway: str | None, index: "IndexSettings") -> Any:
    from serving.backup.errors import PassagesUnreadable
    from serving.cli.client import ApiClient, Failed, path_part

    host = config.server.host if config.server.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    url = gateway or f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}"
    client = ApiClient(url, "/v1")

    def ask(store_id: str, file_id: str) -> Mapping[str, Any] | None:
        try:
            path = f"/vector_stores/{path_part(store_id)}/files/{path_part(file_id)}/passages"
            return dict(client.get(path))
        except Failed as error:
            if error.code in ("not_found", "vector_store_not_found"):
                return None
            raise PassagesUnreadable(
                f"the embedded index {index.uri} can only be read by the gateway that has it open, and {url} does not "
                f"tell its passages ({str(error).rstrip('.')}): {_WITHOUT}"
            ) from error

    return ask


def _summary(manifest: "Manifest") -> dict[str, Any]:
    return {
        "backup": manifest.id,
        "created_at": manifest.created_at,
        "loraplex": manifest.loraplex,
        "rows": sum(table.rows for table in manifest.tables.values()),
        "adapters": len(manifest.adapters),
        "files": len(manifest.files),
        "documents": sum(len(index.editions) for index in manifest.indexes.values()),
        "to_embed": manifest.to_embed,
        "jobs": len(manifest.jobs),
        "bytes": sum(manifest.pieces.values()),
        "missing": manifest.missing,
    }


def _in_words(summary: Mapping[str, Any]) -> str:
    told = (
        f"{summary['rows']} rows, {summary['adapters']} adapter versions, {summary['files']} files, "
        f"{summary['documents']} documents with their vectors, {summary['jobs']} job folders, {summary['bytes']} bytes"
    )
    again = summary["to_embed"]
    return f"{told}; {again} documents will be embedded again" if again else told


def _say(*, as_json: bool) -> Any:
    return (lambda _: None) if as_json else typer.echo


@contextmanager
def _told(*, as_json: bool) -> Iterator[None]:
    """Failures in one sentence and an exit code."""
    from adapters.errors import AdapterError
    from retrieval.errors import KnowledgeError
    from serving.backup.errors import BackupError, PassagesUnreadable, VaultUnavailable

    try:
        yield
    except ConfigInvalid as error:
        _end(error, BAD_CONFIG, as_json=as_json)
    except (VaultUnavailable, PassagesUnreadable, AdapterError, KnowledgeError, OSError) as error:
        _end(error, UNREACHABLE, as_json=as_json)
    except BackupError as error:
        _end(error, REFUSED, as_json=as_json)


def _end(error: Exception, status: int, *, as_json: bool) -> None:
    text = str(error)
    if as_json:
        typer.echo(json.dumps({"error": {"message": text}}, indent=2))
    else:
        typer.echo(text[:1].upper() + text[1:], err=True)
    raise typer.Exit(status) from None
