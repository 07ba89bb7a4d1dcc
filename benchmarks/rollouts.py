"""Automatic rollouts on simulated truths: how often good versions are rolled back, how soon broken ones are.

The gateway's own plan and tests, fed with simulated requests and looked at after every ``--look`` of them:
``python -m benchmarks.rollouts``. Prints JSON.
"""

import argparse
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.rollout_types import Phase, RoleCounts
from adapters.types import Alias
from benchmarks.stats import percentile
from serving.config import RolloutSettings
from serving.life.controller import sequential_tests
from serving.life.evidence import Evidence
from serving.life.plan import Seen, State, decide, share_of

NEW, OLD = "triage@22222222", "triage@11111111"
USUAL = {"errors": 0.002, "contract": 0.005, "refusal": 0.02, "incomplete": 0.02}
"""By signal: the stable version's rate of bad outcomes."""


@dataclass(frozen=True, slots=True)
class End:
    """How one rollout ended."""

    phase: Phase
    candidate_requests: int
    requests: int


def simulate(rng: random.Random, rates: Mapping[str, float], policy: RolloutSettings, look: int, most: int) -> End:
    """One rollout of a version with these rates of bad outcomes, from its first step to its end."""
    evidence = Evidence(policy, sequential_tests())
    totals = {"canary": RoleCounts(), "stable": RoleCounts()}
    state = State(Phase.CANARY, NEW, OLD, started=0.0)
    requests = 0
    while state.phase is Phase.CANARY and requests < most:
        share = share_of(state, policy)
        for _ in range(look if state.applied else 0):
            canary = rng.random() < share
            for signal, rate in (rates if canary else USUAL).items():
                totals["canary" if canary else "stable"].note(signal, bad=rng.random() < rate)
        requests += look if state.applied else 0
        alias = Alias("triage", stable=OLD, canary=NEW, canary_share=share)
        evidence.enter(alias, NEW)
        evidence.fold(totals)
        answered = _answered(totals["canary"])
        state = decide(state, Seen(0.0, alias, evidence.readings(), answered, replicas=1), policy)
    return End(state.phase, _answered(totals["canary"]), requests)


def _answered(counts: RoleCounts) -> int:
    return counts.signals.get("errors", [0, 0])[0]


def summary(ends: list[End]) -> dict[str, Any]:
    """Shares of the ends, and the requests until a rollback."""
    back = [end for end in ends if end.phase is Phase.ROLLING_BACK]
    found: dict[str, Any] = {
        "rollouts": len(ends),
        "rolled_back": len(back) / len(ends),
        "promoted": sum(end.phase is Phase.PROMOTING for end in ends) / len(ends),
    }
    for name in ("candidate_requests", "requests") if back else ():
        numbers = [getattr(end, name) for end in back]
        found[name] = {"median": percentile(numbers, 0.5), "p90": percentile(numbers, 0.9)}
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--look", type=int, default=20, help="requests between two looks")
    parser.add_argument("--most", type=int, default=20_000, help="requests after which a rollout is given up")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng, policy = random.Random(arguments.seed), RolloutSettings()
    result = {}
    for broken in (0.0, 0.05, 0.1, 0.3):
        rates = USUAL | {"contract": USUAL["contract"] + broken}
        ends = [simulate(rng, rates, policy, arguments.look, arguments.most) for _ in range(arguments.rollouts)]
        result[f"contract broken in {broken:.0%} more"] = summary(ends)
    print(json.dumps({"policy": policy.model_dump(mode="json"), "usual": USUAL, "result": result}, indent=2))


if __name__ == "__main__":
    main()
