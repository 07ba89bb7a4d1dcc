"""The simulation of automatic rollouts."""

import random

from adapters.rollout_types import Phase
from benchmarks.rollouts import USUAL, End, simulate, summary
from serving.config import RolloutSettings


def test_a_version_that_breaks_everything_is_rolled_back_in_the_first_step() -> None:
    end = simulate(random.Random(1), USUAL | {"contract": 1.0}, RolloutSettings(), look=20, most=2000)
    assert end.phase is Phase.ROLLING_BACK
    assert end.candidate_requests < 20


def test_a_version_as_good_as_the_stable_one_is_promoted() -> None:
    policy = RolloutSettings(min_requests=20)
    end = simulate(random.Random(1), USUAL, policy, look=20, most=5000)
    assert end.phase is Phase.PROMOTING


def test_ends_are_summed_up() -> None:
    ends = [End(Phase.ROLLING_BACK, 10, 100), End(Phase.ROLLING_BACK, 20, 200), End(Phase.PROMOTING, 30, 300)]
    found = summary(ends)
    assert (found["rolled_back"], found["promoted"]) == (2 / 3, 1 / 3)
    assert found["candidate_requests"] == {"median": 15, "p90": 19}
