"""How sure a share of cases is."""

import math
from statistics import NormalDist


def wilson(share: float, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """The score interval of a share of ``n`` cases, wrong with probability ``alpha`` on both sides together.

    Wilson, JASA 22, 1927; Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion", 2001.
    """
    z2 = NormalDist().inv_cdf(1 - alpha / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the formula gives the end itself but for rounding.
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half
