"""Cases of the burn-rate alerts, for an availability of 99.9 %."""

from monitoring.catalogue import SLO_REQUESTS
from monitoring.dashboards.slo import ALERT
from monitoring.slo import Objective
from tests.unit.monitoring.dashboards.alert_cases import JOB, Case, Fires, series

OBJECTIVES = (Objective("support", "availability", 0.999, min_requests=10),)

_BY = {"job": JOB, "task": "support", "slo": "availability"}
_FASTEST = {"long": "1h", "short": "5m"}
_FAST = {"long": "6h", "short": "30m"}
_SLOW = {"long": "1d", "short": "2h"}
_SLOWEST = {"long": "3d", "short": "6h"}


def _requests(good: str, bad: str) -> tuple[tuple[str, str], ...]:
    return (
        series(SLO_REQUESTS, good, replica="r0", task="support", slo="availability", result="good"),
        series(SLO_REQUESTS, bad, replica="r0", task="support", slo="availability", result="bad"),
    )


SLO_CASES = (
    Case(
        ALERT,
        "two in a hundred fail",
        "80m",
        _requests("0+98x90", "0+2x90"),
        tuple(Fires(_BY, "2%", added) for added in (_FASTEST, _FAST, _SLOW, _SLOWEST)),
    ),
    Case(
        ALERT,
        "four in a thousand fail: nobody is woken",
        "200m",
        _requests("0+249x200", "0+1x200"),
        tuple(Fires(_BY, "0.4%", added) for added in (_SLOW, _SLOWEST)),
    ),
    Case(
        ALERT,
        "it is over: the pages end, what it cost is still told",
        "95m",
        _requests("0+98x95", "0+2x60 120+0x35"),
        tuple(Fires(_BY, "1.273%", added) for added in (_SLOW, _SLOWEST)),
    ),
    Case(ALERT, "one in two thousand fails: the budget lasts", "200m", _requests("0+1999x200", "0+1x200")),
    Case(ALERT, "one of three requests at night fails", "80m", _requests("0+0x20 1 2+0x60", "0+0x20 1+0x60")),
)
