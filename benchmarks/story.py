"""The whole life of an adapter, on a real gateway with real vLLM, while many callers ask without a break.

Version 1 of a ticket triage serves. A better version 2 is trained through the fine-tuning API, examined, canaried and
promoted; a version 3, trained on labels that were dealt out at random, passes no gate; a version 4 that is fine on the
suite breaks its output contract on mails that only callers have, and is rolled back. Nobody decides anything meanwhile:
the configuration's policy does. No request may fail, and every answer must be of the version that it reports.

    python -m benchmarks.story                 # everything is trained; about 40 minutes
    python -m benchmarks.story --quick         # the same acts with the example's adapters
    python -m benchmarks.story --local
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.fleet import Fleet, Server, ServerFailed, free_port, say
from benchmarks.report import Target, add_common_options, finish
from benchmarks.story_acts import ALIAS, PARTS, Act, Maker, Ready, Stage, Trained, report, timeline_of
from benchmarks.story_check import Hand, by_edition, by_team, describe, violations
from benchmarks.story_rows import MAX_TOKENS, Sizes, output_schema, prompts, write_suite
from benchmarks.story_traffic import Traffic

NAME = "SmolLM2-135M-Instruct"
TASK = "ticket-triage"
START_TIMEOUT_S = 400.0
PATIENCE_S = 3600.0
"""For one training, and for one rollout."""
PROMPTS = 1000
BETWEEN_ACTS = 40
"""Requests between two acts, which must all be answered by the version that the last one left."""


def policy(suite: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What the configuration says of the adapter's rollouts."""
    return {
        "suite": str(suite),
        "gate": {"metrics": {"fields": {"margin": options.margin}, "schema_valid": {"margin": options.margin}}},
        "on_pass": "canary",
        "steps": [0.2, 0.5],
        "min_requests": options.min_requests,
        # Version 2 says more than version 1 does, and takes longer for it: that is no fault.
        "signals": {"slow": None},
    }


def settings(fleet: Fleet, options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """The gateway's configuration."""
    schema = output_schema(editions=not options.quick)
    suite = write_suite(fleet.folder / "suite", "heldout-v1" if options.quick else "heldout-v2", options.cases, schema)
    made = gateway.vllm_settings(fleet.folder, free_port(), model, NAME, gateway.ARGUMENTS, gateway.ENVIRONMENT)
    made["replicas"] = options.replicas
    rollouts = {ALIAS: policy(suite, options)}
    made["adapters"] |= {"slots": 4, "cpu_slots": 8, "max_rank": 8, "rollouts": rollouts}
    made["life"] = {"folder": str(fleet.folder / "life")}
    made["training"] = {"folder": str(fleet.folder / "jobs")}
    made["tasks"] = {
        TASK: {
            "adapter": ALIAS,
            "sampling": {"temperature": 0, "max_tokens": MAX_TOKENS},
            "output": {"json_schema": schema},
        }
    }
    return made


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Start the gateway, play the story, judge."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    with Fleet(logs=options.logs) as fleet:
        server = gateway.loraplex(fleet, settings(fleet, options, model), local=options.local)
        took = await server.wait_ready(gateway.READY, START_TIMEOUT_S)
        say(f"ready after {took:.0f} s")
        results, problems = await _run(server, fleet, options)
    problems += [f"left behind: {process}" for process in fleet.left_behind]
    return results, _targets(results), problems


async def _run(server: Server, fleet: Fleet, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    admin = Admin(server.address)
    trained = Trained(server.address, NAME, Sizes(), PATIENCE_S)
    maker: Maker = Ready(admin, fleet.folder) if options.quick else trained
    asked = prompts(PROMPTS, options.forwarded)
    traffic = Traffic(server.address, TASK, asked, callers=options.callers, judged=options.judged)
    stage = Stage(admin, maker, traffic, slow_per_s=options.pace, patience_s=PATIENCE_S)
    clock = time.time() - time.perf_counter()
    first, *others = PARTS
    await stage.play(first)
    traffic.pace(None)
    asking = asyncio.create_task(traffic.run(options.connections))
    try:
        await traffic.answered(BETWEEN_ACTS)
        for part in others:
            await stage.play(part)
            traffic.pace(None)
            await traffic.answered(BETWEEN_ACTS)
    finally:
        traffic.stop()
        await asking
        await trained.close()
    history = await admin.history(ALIAS)
    results, problems = _report(stage.acts, traffic, by_team if options.quick else by_edition, clock)
    return results | {"jobs": trained.jobs, "history": history}, problems


def _report(acts: list[Act], traffic: Traffic, hand_of: Hand, clock: float) -> tuple[dict[str, Any], list[str]]:
    found = violations(traffic.exchanges, _hands(acts, hand_of), hand_of, timeline_of(acts))
    for violation in found[:10]:
        say(f"{violation.cause}: {violation.detail}")
    errors = Counter(each.sample.error for each in traffic.exchanges if each.sample.error is not None)
    results = {
        "acts": [report(act, traffic.exchanges, clock) for act in acts],
        "traffic": describe(traffic.exchanges) | {"refused_feedback": len(traffic.refused_feedback)},
        "violations": dict(Counter(violation.cause for violation in found)),
        "violation_examples": [f"{violation.cause}: {violation.detail}" for violation in found[:10]],
    }
    problems = [f"{cause}: {count} requests" for cause, count in errors.items()]
    return results, problems + [f"feedback: {refused}" for refused in traffic.refused_feedback[:10]]


def _hands(acts: list[Act], hand_of: Hand) -> dict[str, str]:
    """Version → the hand by which its answers are known."""
    if hand_of is by_team:
        return {act.version: by_team('"team"' if act.part.number == 2 else "") for act in acts}
    return {act.version: by_edition(f'"rules": {act.part.number}') for act in acts}


def _targets(results: dict[str, Any]) -> list[Target]:
    acts, traffic = results["acts"], results["traffic"]
    right = sum(act["ended_as"] == act["should_end_as"] for act in acts)
    failed = traffic["failed"] + traffic["refused_feedback"]
    until = acts[-1].get("until_rollback", {}).get("candidate_requests", float("inf"))
    return [
        Target("acts that ended as they should", right, len(PARTS), at_least=True),
        Target("failed requests", failed, 0, at_least=False),
        Target("answers that should not have been", sum(results["violations"].values()), 0, at_least=False),
        Target("requests", traffic["requests"], 500, at_least=True),
        Target("callers", traffic["callers"], 100, at_least=True),
        Target("requests of version 4 until it was rolled back", until, 100, at_least=False),
    ]


def main() -> int:
    """Run and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--local", action="store_true", help="`loraplex serve --local`, without Ray")
    parser.add_argument("--callers", type=int, default=400, help="keys that split stable from canary")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--pace", type=float, default=1.0, help="requests a second while versions are made or examined")
    parser.add_argument("--judged", type=float, default=0.5, help="share of the answers that callers judge")
    parser.add_argument("--forwarded", type=float, default=0.25, help="share of the traffic that is forwarded mail")
    parser.add_argument("--cases", type=int, default=120, help="of the suite")
    parser.add_argument("--margin", type=float, default=0.1, help="of the gate")
    parser.add_argument("--min-requests", type=int, default=60, help="of a canary's step")
    parser.add_argument("--model", type=Path, help="the base checkpoint's folder (default: the demo's)")
    options = parser.parse_args()
    if options.quick:
        options.cases, options.margin, options.min_requests = 60, 0.15, 30
    try:
        results, targets, problems = uvloop.run(measure(options))
    except ServerFailed as error:
        say(str(error))
        return 2
    return finish("story", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())
