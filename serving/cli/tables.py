"""What the adapter commands print for people."""

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PIPE_WIDTH = 160
_ROLE_STYLES = {"stable": "bold green", "canary": "yellow", "shadow": "cyan", "previous": "dim", "pinned": "magenta"}
_STATUS_STYLES = {"ready": "green", "loading": "yellow", "draining": "yellow", "failed": "bold red"}

View = dict[str, Any]


def print_adapters(answer: View) -> None:
    """Every version of every adapter: role, size, age, where it is loaded."""
    if not answer["data"]:
        _say("No adapters yet: `loraplex adapters add NAME SOURCE --promote` adds one.")
        return
    table = _table("Version", "Role", "Loaded", "In flight", "Rank", "Size", "Age")
    for adapter in answer["data"]:
        for version in adapter["versions"]:
            table.add_row(
                f"[bold]{escape(version['name'])}[/]",
                _roles(version, adapter["alias"]),
                _loaded(version["residency"], len(answer["replicas"])),
                str(sum(holding["in_flight"] for holding in version["residency"])),
                str(version["rank"]),
                size(version["size_bytes"]),
                age(version["created_at"]),
            )
    _console().print(table)
    replicas = answer["replicas"]
    ready = sum(replica["ready"] for replica in replicas)
    _say(f"live replicas: {len(replicas)}, {ready} ready · revision {answer['revision']}", style="dim")


def print_detail(answer: View) -> None:
    """One adapter or one version."""
    if answer["object"] == "adapter":
        print_adapter(answer)
    else:
        print_version(answer)


def print_adapter(answer: View) -> None:
    """One adapter: its alias, then its versions."""
    alias = answer["alias"]
    _say(answer["name"], style="bold")
    if alias is None:
        _say(f"  no version is promoted yet: `loraplex adapters promote {answer['name']} VERSION`")
    else:
        for role in ("stable", "canary", "shadow", "previous"):
            if alias[role]:
                share = f" ({alias['canary_share']:.0%} of callers)" if role == "canary" else ""
                _say(f"  {role:<9}{alias[role]}{share}")
    table = _table("Version", "Role", "Loaded", "Rank", "Size", "Age", "Source")
    for version in answer["versions"]:
        table.add_row(
            f"[bold]{escape(version['name'])}[/]",
            _roles(version, alias),
            _holdings(version["residency"]),
            str(version["rank"]),
            size(version["size_bytes"]),
            age(version["created_at"]),
            escape(version["source"]),
        )
    _console().print(table)


def print_version(answer: View) -> None:
    """One version, everything."""
    grid = Table.grid(padding=(0, 2))
    rows = {
        "version": f"[bold]{escape(answer['name'])}[/]",
        "role": _roles(answer, None) or "none",
        "digest": answer["digest"],
        "base model": escape(answer["base_model"]),
        "rank, alpha": f"{answer['rank']}, {answer['alpha']:g}",
        "targets": escape(", ".join(answer["target_modules"])),
        "size": size(answer["size_bytes"]),
        "added": f"{answer['created_at']} ({age(answer['created_at'])} ago)",
        "source": escape(answer["source"]),
        "loaded": _holdings(answer["residency"]) or "nowhere",
    }
    rows |= {f"· {escape(str(key))}": escape(str(value)) for key, value in answer["metadata"].items()}
    for label, value in rows.items():
        grid.add_row(f"[dim]{label}[/]", value)
    _console().print(grid)


def print_added(answer: View) -> None:
    """What adding came to."""
    version = answer["version"]
    name = version["name"]
    if answer["new"]:
        _say(f"added {name} (rank {version['rank']}, {size(version['size_bytes'])})")
    else:
        _say(f"{name} was added before: the content is the same")
    if answer["rollout"] is not None:
        print_rollout(answer["rollout"])
    elif "stable" not in version["roles"]:
        _say(f"nothing serves it yet: `loraplex adapters promote {name}`")


def print_rollout(answer: View) -> None:
    """What a change came to."""
    what = _OUTCOMES.get(answer["action"], str(answer["action"])).format(**_facts(answer))
    where = ", ".join(answer["replicas"]) or "no live replica"
    _say(f"{what} ({where}, {answer['seconds']:.1f} s)")
    for note in answer["notes"]:
        _say(f"note: {note}", style="yellow")


def print_verification(answer: View) -> None:
    """Whether the files are as they should be."""
    if answer["ok"]:
        _say(f"{answer['version']} is good (sha256 {answer['digest'][:16]}…)")
        unproved = [holding for holding in answer["residency"] if holding["error_code"] == "not_probed"]
        for holding in unproved:
            _say(f"note: {holding['replica']}: {holding['error']}", style="yellow")
    else:
        _say(f"{answer['version']} is damaged: {answer['problem']}", style="bold red")
        _say("Add the adapter again from its source: that repairs the stored copy.")


def print_history(answer: View) -> None:
    """Who changed what."""
    if not answer["data"]:
        _say("Nothing has been changed yet.")
        return
    table = _table("When", "Who", "What", "Adapter", "Version", "Detail")
    for event in answer["data"]:
        when = datetime.fromisoformat(event["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        cells = (when, event["actor"], event["action"], event["alias"], event["version"] or "", event["detail"])
        table.add_row(*map(escape, cells))
    _console().print(table)


def print_replicas(answer: View) -> None:
    """The live replicas."""
    if not answer["data"]:
        _say("No replica is live: the engine is starting, or it is down.")
        return
    table = _table("Replica", "Ready", "Revision", "Version", "Status", "Tier", "In flight", "Why")
    for replica in answer["data"]:
        head = (escape(replica["replica"]), "yes" if replica["ready"] else "no", str(replica["revision"]))
        for holding in replica["holdings"] or [None]:
            table.add_row(*head, *(_holding_cells(holding) if holding else ("holds nothing", "", "", "", "")))
            head = ("", "", "")
    _console().print(table)


PRINTERS: dict[str, Callable[[View], None]] = {
    "adapters": print_adapters,
    "detail": print_detail,
    "added": print_added,
    "rollout": print_rollout,
    "verification": print_verification,
    "history": print_history,
    "replicas": print_replicas,
}

_OUTCOMES = {
    "promote": "{version} serves {alias}",
    "canary": "{version} answers {share} of {alias}'s callers",
    "end-canary": "the canary of {alias} ended, {stable} answers everybody",
    "shadow": "{version} shadows {alias}",
    "end-shadow": "the shadow of {alias} ended",
    "rollback": "{alias} is back on {stable}",
    "pin": "{version} is pinned",
    "unpin": "{version} is no longer pinned",
    "remove": "{version} is removed",
}


def size(count: int) -> str:
    """Bytes for people: ``9.8 MiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def age(moment: str) -> str:
    """Time since an ISO 8601 moment, in its largest unit: ``3 h``."""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _console() -> Console:
    # A pipe has no width of its own; a narrow default would cut names short.
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def _say(text: str, *, style: str | None = None) -> None:
    _console().print(escape(text), style=style, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=column in ("Version", "Age", "Size"), overflow="fold")
    return table


def _roles(version: View, alias: View | None) -> str:
    roles = []
    for role in version["roles"]:
        share = f" {alias['canary_share']:.0%}" if role == "canary" and alias is not None else ""
        roles.append(f"[{_ROLE_STYLES[role]}]{role}{share}[/]")
    if version["pinned"]:
        roles.append(f"[{_ROLE_STYLES['pinned']}]pinned[/]")
    if version["staged"]:
        roles.append("staged")
    return ", ".join(roles)


def _loaded(residency: list[View], live: int) -> str:
    """Where a version is, in a few words: ``2/2 slot``."""
    if not residency:
        return "-"
    ready = [holding for holding in residency if holding["status"] == "ready"]
    others = _unique(holding["status"] for holding in residency if holding["status"] != "ready")
    parts = (
        [f"[green]{len(ready)}/{live}[/] {'+'.join(_unique(holding['tier'] for holding in ready))}"] if ready else []
    )
    return " ".join([*parts, *(f"[{_STATUS_STYLES[status]}]{status}[/]" for status in others)])


def _holdings(residency: list[View]) -> str:
    """Where a version is, replica by replica."""
    lines = []
    for holding in residency:
        status = f"[{_STATUS_STYLES[holding['status']]}]{holding['status']}[/]"
        why = f": {escape(holding['error'])}" if holding["error"] else ""
        lines.append(f"{escape(holding['replica'])} {status} in {holding['tier']}{why}")
    return "\n".join(lines)


def _holding_cells(holding: View) -> tuple[str, ...]:
    status = f"[{_STATUS_STYLES[holding['status']]}]{holding['status']}[/]"
    name = escape(holding["version"]) + (" [magenta]pinned[/]" if holding["pinned"] else "")
    return name, status, holding["tier"], str(holding["in_flight"]), escape(holding["error"] or "")


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _facts(answer: View) -> dict[str, str]:
    alias = answer["alias"] or {}
    return {
        "version": answer["version"] or "",
        "alias": alias.get("name") or "",
        "stable": alias.get("stable") or "nothing",
        "share": f"{alias.get('canary_share', 0):.0%}",
    }
