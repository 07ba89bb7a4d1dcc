"""What the knowledge commands print for people."""

from collections.abc import Callable, Sequence

import typer

from serving.cli.printing import age, cell, console, new_table, say, size
from serving.cli.stores import View, reason_of, source_of

_STATUS_STYLES = {"completed": "green", "in_progress": "yellow", "failed": "bold red", "expired": "bold red"}
_ARMS = {"dense": "by meaning", "lexical": "by words"}
_SCORES = {"dense": "cosine", "lexical": "BM25"}
_STAGES = ("dense", "lexical", "fused", "reranked")
_SHOWN_TEXT = 160


def print_stores(answer: View) -> None:
    """Every store."""
    if not answer["data"]:
        say("No vector stores yet: `loraplex ingest FOLDER --to NAME` makes one.")
        return
    table = new_table("Name", "Documents", "Failed", "In progress", "Size", "Status", "Age", "Id")
    for store in answer["data"]:
        counts = store["file_counts"]
        table.add_row(
            f"[bold]{cell(store['name'])}[/]",
            str(counts["completed"]),
            f"[bold red]{counts['failed']}[/]" if counts["failed"] else "0",
            str(counts["in_progress"]),
            size(store["usage_bytes"]),
            _status(store["status"]),
            age(store["created_at"]),
            store["id"],
        )
    console().print(table)


def print_content(answer: View) -> None:
    """One store and what is in it."""
    store, counts = answer["store"], answer["store"]["file_counts"]
    say(store["name"] or store["id"], style="bold")
    say(
        f"  {store['id']} · {_documents(counts['total'])} ({counts['completed']} completed, {counts['failed']} failed, "
        f"{counts['in_progress']} in progress) · {size(store['usage_bytes'])} · {store['status']}"
    )
    if answer["documents"]:
        table = new_table("Source", "Status", "Passages", "Size", "Labels", "Age", "File")
        for one in answer["documents"]:
            labels = str(one["attributes"].get("labels", ""))
            cells = (str(one["passages"]), size(one["usage_bytes"]), cell(labels), age(one["created_at"]), one["id"])
            table.add_row(cell(source_of(one)), _status(one["status"]), *cells)
        console().print(table)
    if len(answer["documents"]) < counts["total"]:
        say(f"the {len(answer['documents'])} newest of {counts['total']}; --all lists all", style="dim")
    for one in answer["failed"]:
        say(f"{source_of(one)}: {reason_of(one)}", style="red")


def print_found(answer: View) -> None:
    """Passages, best first."""
    if not answer["data"]:
        say("Nothing was found.")
    for position, one in enumerate(answer["data"], start=1):
        source = one["attributes"].get("source") or one["filename"]
        say(f"{position}. {source}  ({one['score']:.2f})", style="bold")
        say(f"   {_short(one['content'][0]['text'])}")


def print_explained(answer: View) -> None:
    """Passages with the score of every stage, what was left out, and why the first is first."""
    hits, superseded = answer["data"], answer["superseded"]
    if hits:
        stages = [stage for stage in _STAGES if any(stage in one["scores"] for one in (*hits, *superseded))]
        table = new_table("#", "Source", "Passage", *(stage.capitalize() for stage in stages), "Text")
        for position, one in enumerate(hits, start=1):
            table.add_row(str(position), *_cells(one, stages))
        for one in superseded:
            table.add_row("[dim]-[/]", *_cells(one, stages))
        console().print(table)
    names = {one["file_id"]: one["source"] for one in (*hits, *superseded)}
    for one in superseded:
        by = names.get(one["superseded_by"], one["superseded_by"])
        say(f"{_place(one)} is superseded by {by}", style="yellow")
    if answer["expired"]:
        say(f"left out because they have expired: {_documents(answer['expired'])}", style="yellow")
    for note in answer.get("notes", ()):
        say(f"note: {note}", style="yellow")
    seconds = [f"{stage} {1000 * spent:.1f} ms" for part in answer["seconds"] for stage, spent in part.items()]
    if seconds:
        say(", ".join(seconds), style="dim")
    say(why(answer))


def why(answer: View) -> str:
    """Why the first hit is first, in a sentence."""
    if not answer["data"]:
        return "Nothing was found: no document that this key may see and the filter lets through has such a passage."
    first, *rest = answer["data"]
    # Only administrators are told what each arm brought.
    arms = answer["arms"][0] if "arms" in answer else {}
    found = [_standing(first, arm, entries) for arm, entries in arms.items()]
    sentence = f"{_place(first)} is first" + (f": {', '.join(found)}" if found else "")
    if not rest:
        return f"{sentence}; nothing else was found."
    last = next((stage for stage in reversed(_STAGES) if stage in first["scores"]), "")
    if last not in rest[0]["scores"]:
        return f"{sentence}."
    own, other = first["scores"][last], rest[0]["scores"][last]
    how = "the reranker gave it" if last == "reranked" else "together that makes" if found else "it scores"
    against = "as for the next" if own == other else f"against {other:.3g} for the next"
    return f"{sentence}; {how} {own:.3g}, {against}, {_place(rest[0])}."


def _standing(hit: View, arm: str, entries: Sequence[tuple[str, int, float]]) -> str:
    """Where one arm had it."""
    how = _ARMS.get(arm, arm)
    if not entries:
        return f"nothing was found {how}"
    for position, (file_id, number, score) in enumerate(entries, start=1):
        if (file_id, number) == (hit["file_id"], hit["passage"]):
            return f"number {position} of {len(entries)} {how} ({_SCORES.get(arm, 'score')} {score:.2f})"
    return f"not among the {len(entries)} found {how}"


def print_tuned(answer: View) -> None:
    """The setting, and what it is worth."""
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in answer["weights"].items())
    say(f"{answer['fusion']}: {weights}", style="bold")
    say(f"tuned on {answer['tuned_on']} questions; {answer['measure']} on the {answer['reported_on']} others:")
    table = new_table("Setting", answer["measure"])
    table.add_row("[bold]this one[/]", f"[bold]{answer['value']:.3f}[/]")
    table.add_row("the present one", f"{answer['present']:.3f}")
    if answer["answered"] is not None:
        table.add_row("the present one, reranked", f"{answer['answered']:.3f}")
    for arm, value in answer["arms"].items():
        table.add_row(f"{cell(arm)} alone", f"{value:.3f}")
    console().print(table)
    if answer["unknown"]:
        say(f"not in this store: {', '.join(answer['unknown'])}", style="yellow")
    typer.echo("\n" + answer["yaml"], nl=False)


def print_syncing(answer: View) -> None:
    """What was asked for."""
    say(f"the gateway looks at the sources of {answer['name']}; `loraplex knowledge show {answer['name']}` tells more")


def print_removed(answer: View) -> None:
    """What is gone."""
    if answer["object"] == "vector_store.deleted":
        say(f"the vector store {answer['name']} is deleted")
    else:
        say(f"{_documents(len(answer['removed']))} removed from {answer['name']}")


PRINTERS: dict[str, Callable[[View], None]] = {
    "stores": print_stores,
    "content": print_content,
    "found": print_found,
    "explained": print_explained,
    "tuned": print_tuned,
    "syncing": print_syncing,
    "removed": print_removed,
}


def _cells(one: View, stages: Sequence[str]) -> list[str]:
    scores = (f"{one['scores'][stage]:.3f}" if stage in one["scores"] else "" for stage in stages)
    return [cell(one["source"]), str(one["passage"]), *scores, cell(_short(one["content"][0]["text"], 60))]


def _place(one: View) -> str:
    return f"{one['source']}, passage {one['passage']}"


def _short(text: str, length: int = _SHOWN_TEXT) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[:length]}…"


def _status(status: str) -> str:
    return f"[{_STATUS_STYLES.get(status, 'dim')}]{status}[/]"


def _documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count} documents"
