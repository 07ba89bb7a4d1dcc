"""Fine-tuning as the benchmarks have it done: through a gateway's API, or in a process of its own beside it."""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import openai
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.fleet import REPOSITORY, Fleet, Server, ServerFailed, free_port, idle_cores, say
from serving.settings.adapters import AdapterSettings
from training.tuning.recipe import SftRecipe

NAME = "SmolLM2-135M-Instruct"
START_TIMEOUT_S = 400.0
ENDED = ("succeeded", "failed", "cancelled")
_LOOK_S = 1.0
_DECIDED_ELSEWHERE = {"name", "base_model", "train", "heldout", "seed", "method"}
"""Fields of a recipe that a job is told by OpenAI's own."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One training that succeeded."""

    how: str
    version: str | None
    """What the job made; None where no gateway took part."""
    seconds: float
    """From the request, or the start of the process, until the result could be used."""
    measured: Mapping[str, Any]
    """What the trainer measured: ``training`` in the adapter's metrics.json."""
    adapter: Path
    """Its folder."""

    def report(self) -> dict[str, Any]:
        """Times, speed, memory and losses."""
        train = self.measured["train"]
        kept = ("steps", "train_loss", "heldout_loss_base", "heldout_loss", "heldout_accuracy", "tokens_per_second")
        return {
            "how": self.how,
            "minutes": round(self.seconds / 60, 2),
            "optimiser_minutes": round(self.measured["seconds"] / 60, 2),
            "rows": train["rows"],
            "tokens_per_epoch": train["tokens"],
            **{name: self.measured[name] for name in kept},
            "peak_memory_mib": round(self.measured["peak_memory_bytes"] / 2**20),
        }


def served_rank(rank: int) -> int:
    """The smallest ``adapters.max_rank`` that serves adapters of this rank. Raises ValueError above the largest."""
    allowed: tuple[int, ...] = get_args(AdapterSettings.model_fields["max_rank"].annotation)
    fits = [one for one in sorted(allowed) if one >= rank]
    if not fits:
        raise ValueError(f"no gateway serves rank {rank}")
    return fits[0]


async def start(fleet: Fleet, model: Path, rank: int) -> Server:
    """``loraplex serve --local`` with vLLM, adapters up to ``rank`` and a fine-tuning API. Raises ServerFailed."""
    settings = gateway.vllm_settings(fleet.folder, free_port(), model, NAME, gateway.ARGUMENTS, gateway.ENVIRONMENT)
    settings["adapters"] |= {"slots": 2, "cpu_slots": 4, "max_rank": served_rank(rank)}
    settings["training"] = {"folder": str(jobs_folder(fleet))}
    server = gateway.loraplex(fleet, settings, local=True)
    took = await server.wait_ready(gateway.READY, START_TIMEOUT_S)
    say(f"ready after {took:.0f} s")
    return server


def jobs_folder(fleet: Fleet) -> Path:
    """Where the gateway's jobs lie."""
    return fleet.folder / "jobs"


def job_recipe(recipe: SftRecipe) -> dict[str, Any]:
    """What of a recipe goes into ``loraplex.recipe`` of a new job: all that is chosen and that no other field says."""
    return recipe.model_dump(mode="json", exclude=_DECIDED_ELSEWHERE, exclude_defaults=True)


async def train_by_job(server: Server, jobs: Path, recipe: SftRecipe) -> Trained:
    """Upload the rows, create a job and follow its events, by OpenAI's SDK. Raises ServerFailed where it fails."""
    began = time.perf_counter()
    async with openai.AsyncOpenAI(base_url=f"http://{server.address}/v1", api_key="none") as client:
        heldout = None if recipe.heldout is None else await _upload(client, recipe.heldout)
        wishes = {"adapter": recipe.name, "recipe": job_recipe(recipe)}
        job = await client.fine_tuning.jobs.create(
            model=NAME,
            training_file=await _upload(client, recipe.train),
            validation_file=heldout,
            seed=recipe.seed,
            extra_body={"loraplex": wishes},
        )
        async for event in follow(client, job.id):
            say(f"{job.id[:14]} {event.message}")
        job = await client.fine_tuning.jobs.retrieve(job.id)
    seconds = time.perf_counter() - began
    version, adapter = version_of(job), jobs / job.id / "adapter"
    return Trained("job", version, seconds, _measured(adapter), adapter)


async def _upload(client: openai.AsyncOpenAI, path: Path) -> str:
    return (await client.files.create(file=path, purpose="fine-tune")).id


async def follow(client: openai.AsyncOpenAI, job_id: str, look_s: float = _LOOK_S) -> AsyncIterator[FineTuningJobEvent]:
    """Every event of a job, the oldest first, until it has ended."""
    after: dict[str, str] = {}
    while True:
        # Looked at first: what a job tells is there before it says that it has ended.
        status = (await client.fine_tuning.jobs.retrieve(job_id)).status
        page = await client.fine_tuning.jobs.list_events(job_id, limit=100, extra_query={"order": "asc", **after})
        for event in page.data:
            yield event
            after = {"after": event.id}
        if not page.data and status in ENDED:
            return
        if not page.data:
            await asyncio.sleep(look_s)


def version_of(job: FineTuningJob) -> str:
    """The version that a job made. Raises ServerFailed where it made none."""
    if job.status != "succeeded" or job.fine_tuned_model is None:
        raise ServerFailed(f"the job {job.status}: {job.error.message if job.error else 'without an error'}")
    return job.fine_tuned_model


async def train_apart(recipe: SftRecipe, model: Path, out: Path) -> Trained:
    """Train into the folder ``out``, with no engine beside it. Raises ServerFailed where it fails."""
    path = out.with_name(f"{out.name}.yaml")
    path.write_text(recipe.record(path.parent), encoding="utf-8")
    command = [sys.executable, "-m", "training.tuning.sft", str(path), "--base", str(model), "--out", str(out)]
    began = time.perf_counter()
    done = await asyncio.to_thread(subprocess.run, command, cwd=REPOSITORY, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"the training ended with {done.returncode}")
    return Trained("apart", None, time.perf_counter() - began, _measured(out), out)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A version, and the gateway that serves it."""

    server: Server
    version: str
    trained: Trained
    at_rest: Mapping[str, Any]
    """What the gateway takes while nobody asks it, trainers aside."""

    def report(self) -> dict[str, Any]:
        """The training, and what stood beside it."""
        return {**self.trained.report(), "gateway_at_rest": dict(self.at_rest)}


async def trained_and_served(fleet: Fleet, recipe: SftRecipe, model: Path, options: argparse.Namespace) -> Tuned:
    """Train as the options of :func:`add_training_options` say, and serve what came of it. Raises ServerFailed."""
    kept = None if options.adapter is None else options.adapter.resolve()
    before = _from_before(kept)
    if before is None and not options.train_apart:
        server = await start(fleet, model, recipe.rank)
        at_rest = await _at_rest(server)
        trained = await train_by_job(server, jobs_folder(fleet), recipe)
        _tell_and_keep(trained, kept)
        return Tuned(server, str(trained.version), trained, at_rest)
    trained = before or await train_apart(recipe, model, fleet.folder / "trained")
    if before is None:
        _tell_and_keep(trained, kept)
    server = await start(fleet, model, recipe.rank)
    version = await Admin(server.address).add(recipe.name, str(trained.adapter))
    return Tuned(server, version, trained, await _at_rest(server))


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Options of every benchmark that trains one adapter."""
    parser.add_argument("--model", type=Path, help="the base checkpoint's folder (default: the demo's)")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--train-apart", action="store_true", help="train before a gateway is up, then add the result")
    parser.add_argument("--adapter", type=Path, help="keep the adapter in this folder, and use it again if it is there")


def _from_before(kept: Path | None) -> Trained | None:
    """What an earlier run left in ``kept``; its time is that of the optimiser alone."""
    if kept is None or not (kept / "metrics.json").exists():
        return None
    measured = _measured(kept)
    return Trained("earlier", None, measured["seconds"], measured, kept)


def _tell_and_keep(trained: Trained, kept: Path | None) -> None:
    # What took so long must not be lost with what follows.
    say(json.dumps(trained.report()))
    if kept is not None:
        shutil.copytree(trained.adapter, kept, dirs_exist_ok=True)


async def _at_rest(server: Server) -> dict[str, Any]:
    cores = (await idle_cores([server], seconds=5.0))[server.name]
    return {"cores": cores, "memory_mib": round(server.resident_bytes() / 2**20)}


def _measured(adapter: Path) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((adapter / "metrics.json").read_text(encoding="utf-8"))["training"]
    return measured
