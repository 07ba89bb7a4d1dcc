"""Streams at once are streams one by one."""

import numpy as np
import pytest

from benchmarks.gate_streams import cut, first_claims
from training.gating.sequential import RateTest


@pytest.mark.parametrize(("candidate", "current"), [(0.3, 0.1), (0.05, 0.15)])
def test_many_streams_at_once_come_to_the_same_as_one_by_one(candidate: float, current: float) -> None:
    rng = np.random.default_rng(1)
    to_candidate = rng.random((12, 600)) < 0.3
    bad = rng.random((12, 600)) < np.where(to_candidate, candidate, current)
    worse, not_worse = [], []
    for arms, outcomes in zip(to_candidate.tolist(), bad.tolist(), strict=True):
        test, claims = RateTest(0.05, 0.02), [-1, -1]
        for place, (arm, outcome) in enumerate(zip(arms, outcomes, strict=True), start=1):
            test.update(*((outcome, 1, 0, 0) if arm else (0, 0, outcome, 1)))
            claims = [place if now and claim < 0 else claim
                      for claim, now in zip(claims, (test.worse, test.not_worse), strict=True)]  # fmt: skip
        worse.append(claims[0])
        not_worse.append(claims[1])

    blocks = cut(to_candidate, bad)

    assert first_claims(blocks, 0.0, 0.05, candidate_first=True).tolist() == worse
    assert first_claims(blocks, -0.02, 0.05, candidate_first=False).tolist() == not_worse
    assert max(worse) > 0 or max(not_worse) > 0
