"""What the adapter commands print for people."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from rich.table import Table

from serving.cli.life_tables import print_automatic, print_report, print_reports
from serving.cli.printing import age, cell, console, new_table, say, size

_ROLE_STYLES = {"stable": "bold green", "canary": "yellow", "shadow": "cyan", "previous": "dim", "pinned": "magenta"}
_STATUS_STYLES = {"ready": "green", "loading": "yellow", "draining": "yellow", "failed": "bold red"}

View = dict[str, Any]


def print_adapters(answer: View) -> None:
    """Every version of every adapter: role, size, age, where it is loaded."""
    if not answer["data"]:
        say("No adapters yet: `loraplex adapters add NAME SOURCE --promote` adds one.")
        return
    table = new_table("Version", "Role", "Loaded", "In flight", "Rank", "Size", "Age")
    for adapter in answer["data"]:
        for version in adapter["versions"]:
            table.add_row(
                f"[bold]{cell(version['name'])}[/]",
                _roles(version, adapter["alias"]),
                _loaded(version["residency"], len(answer["replicas"])),
                str(sum(holding["in_flight"] for holding in version["residency"])),
                str(version["rank"]),
                size(version["size_bytes"]),
                age(version["created_at"]),
            )
    console().print(table)
    replicas = answer["replicas"]
    ready = sum(replica["ready"] for replica in replicas)
    say(f"live replicas: {len(replicas)}, {ready} ready · revision {answer['revision']}", style="dim")


def print_detail(answer: View) -> None:
    """One adapter or one version."""
    if answer["object"] == "adapter":
        print_adapter(answer)
    else:
        print_version(answer)


def print_adapter(answer: View) -> None:
    """One adapter: its alias, then its versions."""
    alias = answer["alias"]
    say(answer["name"], style="bold")
    if alias is None:
        say(f"  no version is promoted yet: `loraplex adapters promote {answer['name']} VERSION`")
    else:
        for role in ("stable", "canary", "shadow", "previous"):
            if alias[role]:
                share = f" ({alias['canary_share']:.0%} of callers)" if role == "canary" else ""
                say(f"  {role:<9}{alias[role]}{share}")
    table = new_table("Version", "Role", "Loaded", "Rank", "Size", "Age", "Source")
    for version in answer["versions"]:
        table.add_row(
            f"[bold]{cell(version['name'])}[/]",
            _roles(version, alias),
            _holdings(version["residency"]),
            str(version["rank"]),
            size(version["size_bytes"]),
            age(version["created_at"]),
            cell(version["source"]),
        )
    console().print(table)


def print_version(answer: View) -> None:
    """One version, everything."""
    grid = Table.grid(padding=(0, 2))
    rows = {
        "version": f"[bold]{cell(answer['name'])}[/]",
        "role": _roles(answer, None) or "none",
        "digest": answer["digest"],
        "base model": cell(answer["base_model"]),
        "rank, alpha": f"{answer['rank']}, {answer['alpha']:g}",
        "targets": cell(", ".join(answer["target_modules"])),
        "size": size(answer["size_bytes"]),
        "added": f"{answer['created_at']} ({age(answer['created_at'])} ago)",
        "source": cell(answer["source"]),
        "loaded": _holdings(answer["residency"]) or "nowhere",
    }
    rows |= {f"· {cell(str(key))}": cell(str(value)) for key, value in answer["metadata"].items()}
    for label, value in rows.items():
        grid.add_row(f"[dim]{label}[/]", value)
    console().print(grid)
    print_reports(answer.get("reports", []))


def print_added(answer: View) -> None:
    """What adding came to."""
    version = answer["version"]
    name = version["name"]
    if answer["new"]:
        say(f"added {name} (rank {version['rank']}, {size(version['size_bytes'])})")
    else:
        say(f"{name} was added before: the content is the same")
    if answer["rollout"] is not None:
        print_rollout(answer["rollout"])
    elif "stable" not in version["roles"]:
        say(f"nothing serves it yet: `loraplex adapters promote {name}`")


def print_rollout(answer: View) -> None:
    """What a change came to."""
    what = _OUTCOMES.get(answer["action"], str(answer["action"])).format(**_facts(answer))
    where = ", ".join(answer["replicas"]) or "no live replica"
    say(f"{what} ({where}, {answer['seconds']:.1f} s)")
    for note in answer["notes"]:
        say(f"note: {note}", style="yellow")


def print_verification(answer: View) -> None:
    """Whether the files are as they should be."""
    if answer["ok"]:
        say(f"{answer['version']} is good (sha256 {answer['digest'][:16]}…)")
        unproved = [holding for holding in answer["residency"] if holding["error_code"] == "not_probed"]
        for holding in unproved:
            say(f"note: {holding['replica']}: {holding['error']}", style="yellow")
    else:
        say(f"{answer['version']} is damaged: {answer['problem']}", style="bold red")
        say("Add the adapter again from its source: that repairs the stored copy.")


def print_history(answer: View) -> None:
    """Who changed what."""
    if not answer["data"]:
        say("Nothing has been changed yet.")
        return
    table = new_table("When", "Who", "What", "Adapter", "Version", "Detail")
    for event in answer["data"]:
        when = datetime.fromisoformat(event["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        cells = (when, event["actor"], event["action"], event["alias"], event["version"] or "", event["detail"])
        table.add_row(*map(cell, cells))
    console().print(table)


def print_replicas(answer: View) -> None:
    """The live replicas."""
    if not answer["data"]:
        say("No replica is live: the engine is starting, or it is down.")
        return
    table = new_table("Replica", "Ready", "Revision", "Version", "Status", "Tier", "In flight", "Why")
    for replica in answer["data"]:
        head = (cell(replica["replica"]), "yes" if replica["ready"] else "no", str(replica["revision"]))
        for holding in replica["holdings"] or [None]:
            table.add_row(*head, *(_holding_cells(holding) if holding else ("holds nothing", "", "", "", "")))
            head = ("", "", "")
    console().print(table)


PRINTERS: dict[str, Callable[[View], None]] = {
    "adapters": print_adapters,
    "detail": print_detail,
    "added": print_added,
    "rollout": print_rollout,
    "verification": print_verification,
    "history": print_history,
    "replicas": print_replicas,
    "report": print_report,
    "automatic": print_automatic,
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
        why = f": {cell(holding['error'])}" if holding["error"] else ""
        lines.append(f"{cell(holding['replica'])} {status} in {holding['tier']}{why}")
    return "\n".join(lines)


def _holding_cells(holding: View) -> tuple[str, ...]:
    status = f"[{_STATUS_STYLES[holding['status']]}]{holding['status']}[/]"
    name = cell(holding["version"]) + (" [magenta]pinned[/]" if holding["pinned"] else "")
    return name, status, holding["tier"], str(holding["in_flight"]), cell(holding["error"] or "")


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
