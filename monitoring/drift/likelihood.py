"""Likelihood ratios of counts."""

from typing import Any

import numpy as np

from monitoring.drift.types import FloatArray


def xlogx(counts: Any) -> FloatArray:
    """``x * log(x)`` of whole numbers, with its limit 0 at 0."""
    values: FloatArray = np.asarray(counts, dtype=np.float64)
    found: FloatArray = values * np.log(np.maximum(values, 1.0))
    return found


def log_likelihood_ratio(live_inside: Any, inside: Any, live: int, rows: int) -> FloatArray:
    """How much likelier the labels are if live rows are commoner inside a zone than outside; 0 where they are not.

    The Bernoulli model of the spatial scan statistic (Kulldorff, Communications in Statistics 26, 1997).

    Args:
        live_inside: live rows in the zone; any shape.
        inside: all rows in the zone; of the same shape, or one number.
        live: live rows in all.
        rows: all rows.
    """
    cases: FloatArray = np.asarray(live_inside, dtype=np.float64)
    size: FloatArray = np.asarray(inside, dtype=np.float64)
    apart = xlogx(cases) + xlogx(size - cases) - xlogx(size)
    apart = apart + xlogx(live - cases) + xlogx(rows - size - live + cases) - xlogx(rows - size)
    together = xlogx(live) + xlogx(rows - live) - xlogx(rows)
    found: FloatArray = np.where(cases * rows > live * size, apart - together, 0.0)
    return found
