"""The story's acts: a version comes about, and what becomes of it is left to its adapter's policy."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import openai
from openai.types.fine_tuning import FineTuningJob

from benchmarks.admin import Admin
from benchmarks.fleet import REPOSITORY, ServerFailed, say
from benchmarks.story_check import Exchange, count_until, describe
from benchmarks.story_rows import Sizes, as_jsonl, rows_of
from benchmarks.story_traffic import Traffic
from benchmarks.swap_check import Timeline
from benchmarks.wire import Address

ALIAS = "triage"

_LOOK_S = 0.5
_SERVED = ("shadow", "canary", "promoting")
"""Phases in which a candidate may answer callers."""
_RECIPE: Mapping[str, Any] = {
    "rank": 8,
    "alpha": 16,
    "learning_rate": 1e-3,
    "epochs": 1.0,
    "batch_size": 16,
    "max_length": 256,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One version's part in the story."""

    number: int
    what: str
    ends: str
    """The phase in which its rollout should end."""


PARTS = (
    Part(1, "the first version", "promoted"),
    Part(2, "a better version", "promoted"),
    Part(3, "a worse version", "refused"),
    Part(4, "a version that is fine on the suite and breaks online", "rolled_back"),
)


class Maker(Protocol):
    """Brings versions into the catalog, where their adapter's policy takes over."""

    async def make(self, number: int) -> str:
        """The name of a new version. Raises ServerFailed."""
        ...


class Trained:
    """Versions that fine-tuning jobs make, driven by OpenAI's SDK."""

    def __init__(self, address: Address, model: str, sizes: Sizes, patience_s: float) -> None:
        self.jobs: list[dict[str, Any]] = []
        self._model = model
        self._sizes = sizes
        self._patience_s = patience_s
        self._client = openai.AsyncOpenAI(
            base_url=f"http://{address}/v1",
            api_key="none",
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        )

    async def make(self, number: int) -> str:
        """Upload rows, train, wait."""
        rows = rows_of(number, self._sizes)
        began = time.perf_counter()
        try:
            file = await self._client.files.create(file=(f"triage-{number}.jsonl", as_jsonl(rows)), purpose="fine-tune")
            job = await self._client.fine_tuning.jobs.create(
                model=self._model,
                training_file=file.id,
                seed=11,
                extra_body={"loraplex": {"adapter": ALIAS, "recipe": dict(_RECIPE)}},
            )
            done = await self._ended(job.id)
        except openai.OpenAIError as error:
            raise ServerFailed(f"version {number} could not be trained: {error}") from error
        if done.status != "succeeded" or done.fine_tuned_model is None:
            raise ServerFailed(f"the training of version {number} ended as {done.status}: {done.error}")
        seconds = time.perf_counter() - began
        self.jobs.append(
            {"version": number, "rows": len(rows), "trained_tokens": done.trained_tokens, "seconds": round(seconds, 1)}
        )
        return done.fine_tuned_model

    async def close(self) -> None:
        """Let go of the client's connections."""
        await self._client.close()

    async def _ended(self, job_id: str) -> FineTuningJob:
        deadline, told = time.perf_counter() + self._patience_s, ""
        while time.perf_counter() < deadline:
            job = await self._client.fine_tuning.jobs.retrieve(job_id)
            if job.status in ("succeeded", "failed", "cancelled"):
                return job
            newest = (await self._client.fine_tuning.jobs.list_events(job_id, limit=1)).data[0].message
            if newest != told:
                say(f"  {newest}")
                told = newest
            await asyncio.sleep(10 * _LOOK_S)
        raise ServerFailed(f"{job_id} did not end within {self._patience_s:g} s")


class Ready:
    """The example's adapters, added and rolled out through the admin API.

    Version 3 was trained for another task. Version 4 has the weights of version 1, a little stronger: good by a suite
    that is as old as they are, and of no use to callers who need what version 2 has brought.
    """

    def __init__(self, admin: Admin, folder: Path) -> None:
        self._admin = admin
        self._folder = folder

    async def make(self, number: int) -> str:
        """Add the adapter, and have it examined."""
        version = await self._admin.add(ALIAS, str(self._source(number)))
        await self._admin.begin_rollout(ALIAS, version, examine=True)
        return version

    def _source(self, number: int) -> Path:
        adapters = REPOSITORY / "examples" / "adapters"
        match number:
            case 1 | 2:
                return adapters / f"ticket-triage-v{number}"
            case 3:
                return adapters / "release-notes-v1"
            case _:
                return stronger(adapters / "ticket-triage-v1", self._folder / "stronger")


def stronger(source: Path, out: Path) -> Path:
    """Another version that answers nearly like the adapter in ``source``: a sixteenth more of its weights counts."""
    out.mkdir(parents=True)
    config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    config["lora_alpha"] *= 17 / 16
    (out / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = "adapter_model.safetensors"
    (out / weights).write_bytes((source / weights).read_bytes())
    return out


@dataclass(frozen=True, slots=True)
class Act:
    """What became of one version. Times in seconds of ``time.perf_counter``."""

    part: Part
    version: str
    stable_before: str | None
    begun: float
    made: float
    """When the version was in the catalog."""
    ended: float
    rollout: Mapping[str, Any]
    reports: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def phase(self) -> str:
        """How its rollout ended."""
        return str(self.rollout["phase"])

    @property
    def stable_after(self) -> str | None:
        """Who answers afterwards."""
        return self.version if self.phase == "promoted" else self.stable_before

    @property
    def may_answer(self) -> set[str]:
        """Who may answer meanwhile."""
        served = any(entry["phase"] in _SERVED for entry in self.rollout["history"])
        return {name for name in (self.stable_before, self.version if served else None) if name}


class Stage:
    """Plays the acts, one after the other.

    Args:
        slow_per_s: requests a second while a version is trained or examined, on the same cores as everything else.
    """

    def __init__(self, admin: Admin, maker: Maker, traffic: Traffic, *, slow_per_s: float, patience_s: float) -> None:
        self.acts: list[Act] = []
        self._admin = admin
        self._maker = maker
        self._traffic = traffic
        self._slow_per_s = slow_per_s
        self._patience_s = patience_s

    async def play(self, part: Part) -> Act:
        """One act, from nothing to the end of its rollout. Raises ServerFailed."""
        before = self.acts[-1].stable_after if self.acts else None
        say(f"act {part.number}: {part.what}")
        self._traffic.pace(self._slow_per_s)
        begun = time.perf_counter()
        version = await self._maker.make(part.number)
        made = time.perf_counter()
        say(f"  {version} is made, {made - begun:.0f} s")
        rollout = await self._ended(version)
        ended = time.perf_counter()
        say(f"  {rollout['phase']} after {ended - made:.0f} s: {rollout['reason']}")
        act = Act(part, version, before, begun, made, ended, rollout, await self._admin.reports(version))
        self.acts.append(act)
        return act

    async def _ended(self, version: str) -> dict[str, Any]:
        deadline, told = time.perf_counter() + self._patience_s, ("", -1)
        while time.perf_counter() < deadline:
            rollout = await self._admin.rollout(ALIAS)
            if rollout is not None and rollout["candidate"] == version:
                if rollout["ended_at"] is not None:
                    return rollout
                if (rollout["phase"], rollout["step"]) != told:
                    told = (rollout["phase"], rollout["step"])
                    say(f"  {rollout['phase']} {rollout['share']:.0%}: {rollout['reason']}")
                    self._traffic.pace(None if rollout["phase"] in _SERVED else self._slow_per_s)
            await asyncio.sleep(_LOOK_S)
        raise ServerFailed(f"the rollout of {version} did not end within {self._patience_s:g} s")


def timeline_of(acts: Sequence[Act]) -> Timeline:
    """Who may answer callers, and from when on."""
    line = Timeline()
    for act in acts:
        line.enter(act.begun, act.may_answer)
        line.enter(act.ended, {act.stable_after} if act.stable_after else set())
    return line


def report(act: Act, exchanges: Sequence[Exchange], clock: float) -> dict[str, Any]:
    """One act as JSON.

    Args:
        clock: Unix time at zero of ``time.perf_counter``.
    """
    began = datetime.fromisoformat(act.rollout["started_at"]).timestamp()
    history = act.rollout["history"]
    found: dict[str, Any] = {
        "version": act.version,
        "what": act.part.what,
        "ended_as": act.phase,
        "should_end_as": act.part.ends,
        "reason": act.rollout["reason"],
        "seconds": round(act.ended - act.begun, 1),
        "making_s": round(act.made - act.begun, 1),
        "examining_s": round(history[0]["at"] - began, 1) if history else None,
        "steps": [
            {"after_s": round(entry["at"] - began, 1)} | {name: entry[name] for name in ("phase", "step", "reason")}
            for entry in history
        ],
        "reports": [{name: each[name] for name in ("kind", "verdict", "summary")} for each in act.reports],
        "traffic": describe([each for each in exchanges if act.begun <= each.at <= act.ended]),
    }
    decided = [entry["at"] - clock for entry in history if entry["phase"] == "rolling_back"]
    canary = [entry["at"] - clock for entry in history if entry["phase"] == "canary"]
    if decided and canary:
        found["until_rollback"] = count_until(exchanges, act.version, canary[0], decided[0])
        found["until_rollback"]["seconds"] = round(decided[0] - canary[0], 1)
    return found
