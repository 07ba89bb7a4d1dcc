"""Latencies as counts in buckets that grow by a tenth, so that processes can add them up. Pure."""

import math
from collections.abc import Mapping

FIRST_TOKEN = "first_token"  # noqa: S105  (a kind of latency)
WHOLE = "whole"

_GROWTH = 1.1
_SMALLEST_S = 1e-4


def bucket_of(seconds: float) -> int:
    """The bucket of a latency."""
    return max(0, math.ceil(math.log(max(seconds, _SMALLEST_S) / _SMALLEST_S, _GROWTH) - 1e-9))


def upper_edge(bucket: int) -> float:
    """The longest latency in a bucket, in seconds."""
    return float(_SMALLEST_S * _GROWTH**bucket)


def quantile_bucket(counts: Mapping[int, int], quantile: float) -> int:
    """The bucket that holds the quantile, in (0, 1]. Raises ValueError where nothing was counted."""
    total = sum(counts.values())
    if total == 0:
        raise ValueError("there is no quantile of nothing")
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= quantile * total:
            break
    return bucket


def above(counts: Mapping[int, int], bucket: int) -> int:
    """How many latencies are longer than all of a bucket."""
    return sum(n for other, n in counts.items() if other > bucket)
