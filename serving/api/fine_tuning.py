"""``/v1/fine_tuning/jobs``. Who calls is known before it is reached."""

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from serving.api.files import Order, caller_of, list_view
from serving.api.fine_tuning_models import (
    CHECKPOINT_PREFIX,
    EVENT_PREFIX,
    CreateJobBody,
    checkpoint_view,
    event_view,
    job_view,
)
from serving.errors import InvalidRequest, ObjectNotFound
from serving.jobs.desk import JobDesk
from serving.jobs.orders import JobRequest
from serving.rollout import Rollouts

PREFIX = "/v1/fine_tuning/jobs"

Limit = Annotated[int, Query(ge=1, le=1000)]

_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_LONGEST_NUMBER = 18


class FineTuningApi:
    """The routes, over one ``JobDesk``; a checkpoint is published through the rollouts."""

    def __init__(self, desk: JobDesk, rollouts: Rollouts) -> None:
        self._desk = desk
        self._rollouts = rollouts

    def router(self) -> APIRouter:
        """All routes under ``/v1/fine_tuning/jobs``."""
        router = APIRouter(prefix=PREFIX)
        router.add_api_route("", self.create, methods=["POST"])
        router.add_api_route("", self.list_jobs, methods=["GET"])
        router.add_api_route("/{job_id}", self.show, methods=["GET"])
        router.add_api_route("/{job_id}/cancel", self.cancel, methods=["POST"])
        router.add_api_route("/{job_id}/pause", self.pause, methods=["POST"])
        router.add_api_route("/{job_id}/resume", self.resume, methods=["POST"])
        router.add_api_route("/{job_id}/events", self.events, methods=["GET"])
        router.add_api_route("/{job_id}/checkpoints", self.checkpoints, methods=["GET"])
        router.add_api_route("/{job_id}/checkpoints/{checkpoint_id}/publish", self.publish, methods=["POST"])
        return router

    def create(self, request: Request, body: CreateJobBody) -> dict[str, Any]:
        """Take a job on."""
        asked = JobRequest(
            model=body.model,
            training_file=body.training_file,
            method=body.chosen_method,
            hyperparameters=body.chosen_hyperparameters,
            validation_file=body.validation_file,
            suffix=body.suffix,
            seed=body.seed,
            metadata=body.metadata,
            adapter=body.loraplex.adapter,
            recipe=body.loraplex.recipe,
            allow=tuple(body.loraplex.allow),
            integrations=len(body.integrations or ()),
        )
        return job_view(self._desk.create(caller_of(request), asked))

    def list_jobs(self, request: Request, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
        """The jobs that the caller may see, the newest first."""
        page = self._desk.page(caller_of(request), after=after, limit=limit, metadata=_metadata(request))
        return list_view([job_view(job) for job in page.entries], has_more=page.has_more)

    def show(self, request: Request, job_id: str) -> dict[str, Any]:
        """One job."""
        return job_view(self._desk.job(caller_of(request), job_id))

    def cancel(self, request: Request, job_id: str) -> dict[str, Any]:
        """End a job for good."""
        return job_view(self._desk.cancel(caller_of(request), job_id))

    def pause(self, request: Request, job_id: str) -> dict[str, Any]:
        """Have a job write a checkpoint and give up its place."""
        return job_view(self._desk.pause(caller_of(request), job_id))

    def resume(self, request: Request, job_id: str) -> dict[str, Any]:
        """Let a paused job go on."""
        return job_view(self._desk.resume(caller_of(request), job_id))

    def events(
        self, request: Request, job_id: str, after: str | None = None, limit: Limit = 20, order: Order = "desc"
    ) -> dict[str, Any]:
        """What happened, the newest first. ``order=asc`` is ours: to follow a job."""
        found, has_more = self._desk.events(
            caller_of(request),
            job_id,
            after=_number(after, EVENT_PREFIX, "event"),
            ascending=order == "asc",
            limit=limit,
        )
        return list_view([event_view(event) for event in found], has_more=has_more)

    def checkpoints(self, request: Request, job_id: str, after: str | None = None, limit: Limit = 10) -> dict[str, Any]:
        """The states that the job can go on from, the newest first."""
        job, found, has_more = self._desk.checkpoints(
            caller_of(request), job_id, after=_number(after, CHECKPOINT_PREFIX, "checkpoint"), limit=limit
        )
        return list_view([checkpoint_view(job, one) for one in found], has_more=has_more)

    async def publish(self, request: Request, job_id: str, checkpoint_id: str) -> dict[str, Any]:
        """Make an adapter version of a checkpoint, which can be called then. Ours; not in OpenAI's API."""
        caller = caller_of(request)
        caller.require_writer()
        number = _number(checkpoint_id, CHECKPOINT_PREFIX, "checkpoint") or 0
        job, found, folder = await asyncio.to_thread(self._desk.checkpoint, caller, job_id, number)
        if found.version is None:
            if folder is None:
                raise ObjectNotFound("The files of this checkpoint are gone.", param="checkpoint_id")
            added = await self._rollouts.add(job.adapter, str(folder), actor=caller.name)
            await asyncio.to_thread(self._desk.published, found, added.version.name)
            job, found, _ = await asyncio.to_thread(self._desk.checkpoint, caller, job_id, number)
        return checkpoint_view(job, found)


def _number(text: str | None, prefix: str, what: str) -> int | None:
    """The number in an id of ours. Raises ObjectNotFound."""
    if text is None:
        return None
    digits = text.removeprefix(prefix)
    if digits == text or not (digits.isascii() and digits.isdecimal()) or len(digits) > _LONGEST_NUMBER:
        raise ObjectNotFound(f"No such {what}: {text[:80]}", param="after" if what == "event" else None)
    return int(digits)


def _metadata(request: Request) -> dict[str, str] | None:
    """The filter ``metadata[key]=value``; empty for ``metadata=null``, which is for jobs without; None without one.

    Raises:
        InvalidRequest: another form of it.
    """
    wanted: dict[str, str] = {}
    given = False
    for name, value in request.query_params.multi_items():
        if name == "metadata":
            if value != "null":
                raise InvalidRequest("`metadata` is `metadata[key]=value`, or `metadata=null`.", param="metadata")
            given = True
        elif match := _METADATA.fullmatch(name):
            wanted[match[1]] = value
    return wanted if wanted or given else None
