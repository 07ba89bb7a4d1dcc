"""When more answers are bad than usual: the rule that the alerts on output quality follow, and what it sees. Pure.

Alerts are Prometheus rules over counters of verdicts. Of ``n`` answers of a window ``bad`` are bad; the share that is
usual is that of a reference period. The rule fires where

    (bad - n * usual) / sqrt(n * usual * (1 - usual) + 1) > 4

which is the normal deviate of a binomial count, with one verdict's variance added: it keeps few verdicts from firing,
and stands for what the reference itself does not know. A share below 0.5 % counts as 0.5 %.
"""

import math

THRESHOLD = 4.0
LEAST_USUAL = 0.005
"""A check that has hardly ever failed must not fire at its first failures."""


def excess(bad: float, n: float, usual: float) -> float:
    """How many standard deviations more are bad than usual. ``usual`` is a share."""
    share = max(usual, LEAST_USUAL)
    return (bad - n * share) / math.sqrt(n * share * (1 - share) + 1)


def chance_to_fire(n: int, rate: float, usual: float) -> float:
    """Probability that the rule fires on ``n`` independent answers of which each is bad with probability ``rate``."""
    share = max(usual, LEAST_USUAL)
    limit = n * share + THRESHOLD * math.sqrt(n * share * (1 - share) + 1)
    return math.fsum(_binomial(bad, n, rate) for bad in range(math.floor(limit) + 1, n + 1))


def _binomial(bad: int, n: int, rate: float) -> float:
    if not 0 < rate < 1:
        return float(bad == n * rate)
    ways = math.lgamma(n + 1) - math.lgamma(bad + 1) - math.lgamma(n - bad + 1)
    return math.exp(ways + bad * math.log(rate) + (n - bad) * math.log1p(-rate))
