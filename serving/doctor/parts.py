"""What not every gateway has: knowledge and fine-tuning."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from monitoring.catalogue import JOB_SILENCE
from monitoring.catalogue_knowledge import RETRIEVALS
from serving.doctor.finding import Finding, counted, fail, ok, skip, warn
from serving.doctor.visit import Visit
from serving.doctor.wire import Reply

_STORES, _JOBS = "/v1/vector_stores", "/v1/fine_tuning/jobs"
_QUESTION = "What is written here?"
_SILENCE_S = 1800
"""As long as the alert LoraplexJobStuck waits."""
_LATELY_S = 86_400
_UNKNOWN_KEY = 401
_NEXT = {
    "index_unavailable": "Is the Milvus at `knowledge.index.uri` up? See docs/runbooks/LoraplexRetrievalDegraded.md.",
    "embedder_unavailable": "Are the models of `knowledge.embedder` and `knowledge.reranker` there? The log says more.",
    "reranker_unavailable": "Is the model of `knowledge.reranker` there? To do without: `kind: off`.",
}
_LOG = "Its log says why."


def knowledge(visit: Visit) -> Iterator[Finding]:
    """Vector stores are listed, whole, and can be searched. Raises Unreachable."""
    reply = visit.line.get(f"{_STORES}?limit=100")
    if (instead := _absent("knowledge", reply, "knowledge")) is not None:
        yield instead
        return
    stores = reply.data["data"]
    found = [*_documents(stores), *_searched(visit, stores), *_degraded(visit)]
    yield from found or [ok("knowledge", _well(stores))]


def _well(stores: Sequence[Any]) -> str:
    filled = any(store["file_counts"]["completed"] for store in stores)
    return f"{counted(len(stores), 'vector store')}{', and a search in one is answered' if filled else ''}."


def _documents(stores: Sequence[Any]) -> Iterator[Finding]:
    for store in stores:
        failed = store["file_counts"]["failed"]
        if failed:
            name = store["name"] or store["id"]
            yield warn(
                "knowledge",
                f"{counted(failed, 'document')} of {name} could not be read.",
                f"`loraplex knowledge show {name} --all` tells which and why.",
            )


def _searched(visit: Visit, stores: Sequence[Any]) -> Iterator[Finding]:
    filled = [store for store in stores if store["file_counts"]["completed"]]
    if not filled:
        return
    body = {"query": _QUESTION, "max_num_results": 1}
    # Administrators are told what had to be left out.
    reply = visit.line.post(f"{_STORES}/{filled[0]['id']}/search?explain=true", body)
    name = filled[0]["name"] or filled[0]["id"]
    if reply.is_good:
        for note in reply.data.get("notes", ()):
            yield warn(
                "knowledge", f"{name} is searched, with less than it should be: {note}", _NEXT["embedder_unavailable"]
            )
    else:
        yield fail("knowledge", f"{name} cannot be searched: {reply.message}", _NEXT.get(reply.code, _LOG))


def _degraded(visit: Visit) -> Iterator[Finding]:
    bad = sum(
        value for labels, value in visit.gauge(RETRIEVALS.name) if labels.get("outcome") in ("degraded", "failed")
    )
    if bad:
        yield warn(
            "knowledge",
            f"{counted(bad, 'request')} found retrieval down since their replicas started.",
            "See docs/runbooks/LoraplexRetrievalDegraded.md.",
        )


def jobs(visit: Visit) -> Iterator[Finding]:
    """No fine-tuning job stands still or failed lately. Raises Unreachable."""
    reply = visit.line.get(f"{_JOBS}?limit=20")
    if (instead := _absent("jobs", reply, "training")) is not None:
        yield instead
        return
    found = []
    silent = max((value for _, value in visit.gauge(JOB_SILENCE.name)), default=0.0)
    if silent > _SILENCE_S:
        found.append(
            warn(
                "jobs",
                f"A job at work has told nothing for {silent / 60:.0f} minutes.",
                "`loraplex jobs ls`, then `loraplex jobs events JOB`; docs/runbooks/LoraplexJobStuck.md.",
            )
        )
    for job in reply.data["data"]:
        if job["status"] == "failed" and time.time() - (job["finished_at"] or 0) < _LATELY_S:
            why = (job["error"] or {}).get("message", "no reason was told")
            found.append(warn("jobs", f"{job['id']} failed: {why}", f"`loraplex jobs events {job['id']}`"))
    yield from found or [ok("jobs", f"{counted(len(reply.data['data']), 'job')} lately, none of them stuck or failed.")]


def _absent(check: str, reply: Reply, section: str) -> Finding | None:
    """What to say where there is nothing to look at."""
    if reply.is_good:
        return None
    if reply.code == "unknown_url":
        return skip(check, f"The configuration has no section `{section}`.")
    if reply.status == _UNKNOWN_KEY:
        return skip(check, "Without a key that is known, it is not told.")
    return fail(check, f"It does not answer ({reply.status}): {reply.message}", _NEXT.get(reply.code, _LOG))
