"""The swaps of a run."""

from collections import Counter

import pytest

from benchmarks.swap_plan import plan

VERSIONS = ["v1", "v2", "v3", "v4", "v5"]


def test_a_plan_has_as_many_swaps_as_asked_for_and_every_kind() -> None:
    swaps = plan("v1", VERSIONS, 24)
    assert len(swaps) == 24
    assert set(Counter(swap.action for swap in swaps)) == {"promote", "canary", "rollback"}


def test_no_swap_repeats_what_is_stable_already() -> None:
    stable, previous, canary = "v1", "", None
    for swap in plan("v1", VERSIONS, 50):
        assert swap.version != stable
        if swap.action == "promote":
            assert swap.version is not None
            stable, previous, canary = swap.version, stable, None
        elif swap.action == "canary":
            canary = swap.version
        elif canary is not None:
            canary = None
        else:
            stable, previous = previous, stable


def test_versions_come_back_after_they_were_replaced() -> None:
    promoted = Counter(swap.version for swap in plan("v1", VERSIONS, 50) if swap.action == "promote")
    assert max(promoted.values()) > 1


def test_too_few_versions_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        plan("v1", VERSIONS[:3], 10)
