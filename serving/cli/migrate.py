"""``loraplex migrate``."""

from pathlib import Path
from typing import Annotated

import typer

from serving.config import load_config
from serving.errors import ConfigInvalid

BEHIND = 1
BAD_CONFIG = 2
UNREACHABLE = 3


def migrate(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", envvar="LORAPLEX_CONFIG", help="The gateway's YAML file.", show_default=False),
    ],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; end with status 1 where the database is behind.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for a database that is away.")
    ] = 0.0,
) -> None:
    """Bring the state database (`state.url`) to the schema of this Loraplex.

    A gateway does the same when it starts. Before several pods start at once, in a hook or an init container, one run
    of this says what happened, or why it cannot; two at once take turns. A database that a newer Loraplex has
    migrated, or that is not one of Loraplex, is left as it is.

    Exit codes: 0 up to date; 1 behind, with --check; 2 the configuration is not valid; 3 the database cannot be
    reached, or may not be touched.
    """
    from adapters.errors import CatalogUnavailable
    from serving.state import Standing, migrate_state, standings, wait_for_state

    def told(one: Standing) -> str:
        before = one.before or "no tables"
        return f"{one.part}: {f'{before} -> {one.head}' if one.is_behind else one.head}"

    try:
        url = load_config(config).state.url
        wait_for_state(url, wait)
        found = standings(url) if check else migrate_state(url)
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_CONFIG) from None
    except CatalogUnavailable as error:
        typer.echo(_sentence(str(error)), err=True)
        raise typer.Exit(UNREACHABLE) from None
    for one in found:
        typer.echo(told(one))
    if check and any(one.is_behind for one in found):
        typer.echo("The state database is behind: run `loraplex migrate`.", err=True)
        raise typer.Exit(BEHIND)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
