"""What the story may not show, and what is counted of it. Pure: judged after the run."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.load import Sample
from benchmarks.story_rows import EDITION, Prompt
from benchmarks.swap_check import VERSION_HEADER, Timeline, Violation
from examples.datasets.ticket_triage import TEAMS

Rating = Literal["up", "down"]
Hand = Callable[[str], str]
"""By whose hand an answer is, told from its text alone."""

_EDITION = re.compile(rf'"{EDITION}":\s*(\d+)')


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of a caller, and what became of it."""

    sample: Sample
    caller: str
    prompt: Prompt
    rating: Rating | None = None
    """What the caller said of the answer; None where it said nothing."""

    @property
    def version(self) -> str:
        """The version that the answer says it is of."""
        return self.sample.headers.get(VERSION_HEADER, "")

    @property
    def at(self) -> float:
        """When it was sent, in seconds of ``time.perf_counter``."""
        return self.sample.started_at


def by_edition(text: str) -> str:
    """The hand of a version that writes its own number into its answers; whole or broken off."""
    found = _EDITION.search(text)
    return f"edition {found[1]}" if found else "no edition"


def by_team(text: str) -> str:
    """The hand of the example's adapters, of which version 2 alone names a team."""
    return "with a team" if '"team"' in text else "without a team"


def rating(text: str, category: str) -> Rating:
    """What a caller who forwards answers to a queue says of one: it must parse, and name category and team."""
    try:
        answer = json.loads(text)
    except ValueError:
        return "down"
    wanted = (category, TEAMS[category])
    good = isinstance(answer, dict) and (answer.get("category"), answer.get("team")) == wanted
    return "up" if good else "down"


def violations(
    exchanges: Iterable[Exchange], hands: Mapping[str, str], hand_of: Hand, timeline: Timeline
) -> list[Violation]:
    """Everything wrong with the answers that did not fail.

    Args:
        hands: version → the hand that its answers must show.
        timeline: who may answer, and when.
    """
    return [
        violation
        for exchange in exchanges
        if exchange.sample.error is None
        for violation in _judge(exchange, hands, hand_of, timeline)
    ]


def _judge(exchange: Exchange, hands: Mapping[str, str], hand_of: Hand, timeline: Timeline) -> Iterable[Violation]:
    sample, reported = exchange.sample, exchange.version
    where = f"{exchange.caller}, reported {reported or 'nothing'}, text {sample.text!r}"
    if sample.fingerprint != reported:
        yield Violation("header and fingerprint differ", f"{where}, fingerprint {sample.fingerprint}")
    shown = hand_of(sample.text)
    if shown != hands.get(reported):
        yield Violation("the answer is not of the version reported", f"{where}, by the hand of {shown}")
    allowed = timeline.between(sample.started_at, sample.started_at + sample.e2e_s)
    if reported not in allowed:
        yield Violation("a version that should not answer then", f"{where}, allowed {sorted(allowed)}")


def is_broken(exchange: Exchange) -> bool:
    """Whether an answer is not whole JSON, or failed."""
    try:
        json.loads(exchange.sample.text)
    except ValueError:
        return True
    return exchange.sample.error is not None


def count_until(exchanges: Sequence[Exchange], version: str, since: float, until: float) -> dict[str, Any]:
    """What callers met of a canary between its beginning and the decision against it, both in seconds."""
    met = [exchange for exchange in exchanges if since <= exchange.at <= until]
    own = [exchange for exchange in met if exchange.version == version]
    return {
        "requests": len(met),
        "candidate_requests": len(own),
        "candidate_answers_broken": sum(is_broken(exchange) for exchange in own),
        "candidate_answers_judged_down": sum(exchange.rating == "down" for exchange in own),
        # Those that were under way when the decision was made, and until every replica had heard of it.
        "candidate_requests_in_all": sum(exchange.version == version for exchange in exchanges),
    }


def describe(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Requests by version, how many failed, how many callers there were and what they said."""
    ratings = Counter((exchange.version, exchange.rating) for exchange in exchanges if exchange.rating)
    return {
        "requests": len(exchanges),
        "failed": sum(exchange.sample.error is not None for exchange in exchanges),
        "callers": len({exchange.caller for exchange in exchanges}),
        "forwarded_mails": sum(exchange.prompt.forwarded for exchange in exchanges),
        "by_version": dict(Counter(exchange.version for exchange in exchanges if exchange.sample.error is None)),
        "not_whole_by_version": dict(Counter(exchange.version for exchange in exchanges if is_broken(exchange))),
        "judged": {f"{version} {said}": count for (version, said), count in sorted(ratings.items())},
    }
