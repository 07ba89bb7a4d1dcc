"""``loraplex knowledge``: what vector stores hold, what they answer and why, and how to search them better."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.cli import client
from serving.cli.client import Failed
from serving.cli.command import EXIT_CODES, Json, Url, run
from serving.cli.stores import StoresClient, View, source_of

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"The API key comes from the environment variable {client.API_KEY_ENV}. {EXIT_CODES}",
)

Store = Annotated[str, typer.Argument(help="Vector store, by name or id.", show_default=False)]
Question = Annotated[str, typer.Argument(help="What a user would ask.", show_default=False)]
Top = Annotated[int, typer.Option("--top", "-n", min=1, max=50, help="How many passages.")]
FilterText = Annotated[
    str | None, typer.Option("--filter", metavar="JSON", help="Only documents whose attributes are so.")
]

_SHOWN = 20
_DEEPEST = 50


@app.command("ls")
def list_stores(*, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """The vector stores: how many documents, how many failed, how large."""
    _run(lambda: {"object": "list", "data": StoresClient(url).stores()}, "stores", as_json=as_json)


@app.command()
def show(
    store: Store,
    *,
    everything: Annotated[bool, typer.Option("--all", help=f"Every document; default: the {_SHOWN} newest.")] = False,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """One vector store: its documents, and why some failed."""

    def work() -> View:
        stores = StoresClient(url)
        found = stores.store(store)
        if everything:
            documents = stores.documents(found["id"])[::-1]
            failed = [one for one in documents if one["status"] == "failed"]
        else:
            documents = stores.latest(found["id"], _SHOWN)
            failed = stores.latest(found["id"], _SHOWN, "failed")
        return {"object": "vector_store.content", "store": found, "documents": documents, "failed": failed}

    _run(work, "content", as_json=as_json)


@app.command()
def search(
    store: Store,
    question: Question,
    *,
    top: Top = 10,
    filter_text: FilterText = None,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """The passages that answer a question, best first."""
    filters = _filter(filter_text)

    def work() -> View:
        stores = StoresClient(url)
        return stores.search(stores.store(store)["id"], question, top, filters)

    _run(work, "found", as_json=as_json)


@app.command()
def explain(
    store: Store,
    question: Question,
    *,
    top: Top = 10,
    filter_text: FilterText = None,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """The same with what every stage made of each passage, and what was left out."""
    filters = _filter(filter_text)

    def work() -> View:
        stores = StoresClient(url)
        return stores.search(stores.store(store)["id"], question, top, filters, explain=True)

    _run(work, "explained", as_json=as_json)


@app.command()
def tune(
    store: Store,
    qrels: Annotated[
        Path,
        typer.Argument(
            help='JSON lines such as {"query": "...", "relevant": ["refunds.md"]}; `relevant` names sources, file '
            "names or file ids, or gives each a grade: {SOURCE: 2}.",
            show_default=False,
        ),
    ],
    *,
    measure: Annotated[str, typer.Option("--measure", help="ndcg@K, recall@K or mrr.")] = "ndcg@10",
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Find the fusion weights that suit a store's questions, and what they are worth on questions not tuned on."""

    def work() -> View:
        from serving.cli.tuning import read_questions, tuned

        questions = read_questions(qrels)
        stores = StoresClient(url)
        found = stores.store(store)
        return tuned(
            found,
            stores.documents(found["id"]),
            questions,
            measure,
            lambda question: stores.search(found["id"], question, _DEEPEST, explain=True),
        )

    _run(work, "tuned", as_json=as_json)


@app.command()
def sync(store: Store, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Have the gateway look now at the sources that its configuration names for a store."""

    def work() -> View:
        stores = StoresClient(url)
        return stores.sync(stores.store(store)["id"])

    _run(work, "syncing", as_json=as_json)


@app.command("rm")
def remove(
    store: Store,
    document: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE|FILE_ID]", help="One document; default: the whole store.", show_default=False),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Remove a document, with its file where no other store holds it; or a whole store, whose files stay."""

    def work() -> View:
        stores = StoresClient(url)
        found = stores.store(store)
        name = found["name"] or found["id"]
        if document is None:
            count = found["file_counts"]["total"]
            _confirm(f"Delete the vector store {name}, with {_documents(count)} in it? Their files stay.", yes=yes)
            return stores.delete(found["id"]) | {"name": name}
        doomed = [one for one in stores.documents(found["id"]) if document in (one["id"], source_of(one))]
        if not doomed:
            raise Failed(client.REFUSED, "document_not_found", f"The vector store {name} holds no `{document}`.")
        _confirm(f"Remove {document} ({_documents(len(doomed))}) from the vector store {name}?", yes=yes)
        stores.remove(found["id"], [one["id"] for one in doomed])
        return {"object": "vector_store.documents.removed", "name": name, "removed": [one["id"] for one in doomed]}

    _run(work, "removed", as_json=as_json)


def _run(call: Any, view: str, *, as_json: bool) -> None:
    def show(answer: Any) -> None:
        from serving.cli import knowledge_tables

        knowledge_tables.PRINTERS[view](answer)

    run(call, show, as_json=as_json)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count} documents"


def _filter(text: str | None) -> Any:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}", param_hint="--filter") from None
    if not isinstance(found, dict):
        raise typer.BadParameter(
            'a filter is an object, such as {"type": "eq", "key": "region", "value": "eu"}', param_hint="--filter"
        )
    return found
