"""The checks from outside, in order: each goes by HTTP alone."""

from collections.abc import Callable, Iterator

from serving.doctor import access, answers, parts, reach, replicas, telling
from serving.doctor.finding import Finding, Level, fail
from serving.doctor.visit import Visit
from serving.doctor.wire import Unreachable

Check = Callable[[Visit], Iterator[Finding]]

_FIRST: tuple[tuple[str, Check], ...] = (("connection", reach.connection), ("health", reach.health))
"""Without these, the others say nothing."""

_CHECKS: tuple[tuple[str, Check], ...] = (
    ("readiness", reach.readiness),
    ("clock", reach.clock),
    ("authentication", access.authentication),
    ("models", access.models),
    ("admin API", access.administration),
    ("replicas", replicas.presence),
    ("residency", replicas.residency),
    ("rollouts", replicas.rollouts),
    ("request", answers.request),
    ("stream", answers.stream),
    ("metrics", telling.metrics),
    ("release", telling.release),
    ("monitoring", telling.observation),
    ("knowledge", parts.knowledge),
    ("jobs", parts.jobs),
)


def examine(visit: Visit) -> Iterator[Finding]:
    """Every finding about a gateway, as the checks come to it. Raises nothing that a gateway can cause."""
    for name, check in _FIRST:
        found = list(_findings(name, check, visit))
        yield from found
        if any(finding.level is Level.FAIL for finding in found):
            return
    for name, check in _CHECKS:
        yield from _findings(name, check, visit)


def _findings(name: str, check: Check, visit: Visit) -> Iterator[Finding]:
    try:
        yield from check(visit)
    except Unreachable as error:
        yield fail(name, str(error), error.next_step)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        yield fail(
            name,
            f"The answer is not one that a gateway of this release gives ({error!r}).",
            "Is it another release, or does a proxy rewrite answers? `loraplex --version` tells this one's.",
        )
