"""The replicas against the desired state: who serves, who lacks what, which rollout does not get on."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from adapters.rollout_types import Phase
from monitoring.catalogue import SILENT_REPLICAS
from serving.account import NOT_PROBED
from serving.doctor.finding import Finding, Level, counted, fail, ok, skip, warn
from serving.doctor.visit import ADMIN, Visit
from serving.doctor.wire import Reply

_STUCK_H = 12
"""As long as the alert LoraplexRolloutStuck waits."""
_BESIDE = ("knowledge", "control")
"""Scrape targets that are no replicas."""
_NOT_KNOWN = "The admin API does not tell."


def presence(visit: Visit) -> Iterator[Finding]:
    """Every replica reports, is ready, serves by the present revision, and tells its metrics. Raises Unreachable."""
    yield from _patiently(visit, "replicas", _presence)
    yield from _silent(visit)


def residency(visit: Visit) -> Iterator[Finding]:
    """Every replica holds what it should. Raises Unreachable."""
    yield from _patiently(visit, "residency", _residency)


def _patiently(
    visit: Visit, check: str, look: Callable[[Visit, Mapping[str, Any]], list[Finding]]
) -> Iterator[Finding]:
    """A change takes a moment to reach every replica: what looks wrong is looked at once more."""
    if not visit.adapters.is_good:
        yield skip(check, _NOT_KNOWN)
        return
    found = look(visit, visit.adapters.data)
    if any(finding.level is not Level.OK for finding in found):
        time.sleep(visit.wishes.patience_s)
        again = visit.ask_adapters()
        found = look(visit, again.data) if again.is_good else found
    yield from found


def _presence(visit: Visit, overview: Mapping[str, Any]) -> list[Finding]:
    live, wanted = overview["replicas"], visit.wishes.replicas
    if not live:
        return [fail("replicas", "No replica has reported within the last seconds.", "Their logs say why.")]
    ready = [one for one in live if one["ready"]]
    found = []
    for one in live:
        if not one["ready"]:
            told = "Its log says what it waits for; `loraplex adapters ls` shows what it holds."
            level = warn if ready else fail
            found.append(level("replicas", f"{one['replica']} is not ready.", told))
        elif one["revision"] < overview["revision"]:
            found.append(
                fail(
                    "replicas",
                    f"{one['replica']} serves by revision {one['revision']} of the catalog, which is at "
                    f"{overview['revision']}: promotions and rollbacks do not reach it.",
                    "Can it read the state database? Its log and docs/runbooks/LoraplexCatalogUnreachable.md say more.",
                )
            )
    if wanted is not None and len(live) < wanted:
        missing = f"{len(live)} of {wanted} replicas report."
        found.append(warn("replicas", missing, "The others start, died, or find no room: `ray status` tells."))
    return found or [ok("replicas", f"{len(ready)} ready, all at revision {overview['revision']}.")]


def _silent(visit: Visit) -> Iterator[Finding]:
    told = {name for name in (visit.scrape.replicas if visit.scrape else ()) if name not in _BESIDE}
    silent = max((value for _, value in visit.gauge(SILENT_REPLICAS.name)), default=0.0)
    if silent:
        live = visit.adapters.data["replicas"] if visit.adapters.is_good else ()
        names = [one["replica"] for one in live if one["replica"] not in told]
        who = ", ".join(names) if names else f"{silent:.0f} of them"
        yield fail(
            "replicas",
            f"A replica is silent: {who} does not tell its metrics.",
            "Replicas ask each other on ports of their own; see docs/runbooks/LoraplexReplicaSilent.md.",
        )


def _residency(_: Visit, overview: Mapping[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    wanted = _wanted(overview)
    for replica in overview["replicas"]:
        held = {holding["version"]: holding for holding in replica["holdings"]}
        for version, role in wanted.items():
            finding = _holding(str(replica["replica"]), version, role, held.get(version))
            found += [] if finding is None else [finding]
    if found or not overview["replicas"]:
        return found or [skip("residency", "No replica reports.")]
    if not wanted:
        return [ok("residency", "No adapter has a role, and so nothing has to be loaded.")]
    return [ok("residency", f"Every replica holds what it should: {', '.join(list(wanted)[:6])}.")]


def _wanted(overview: Mapping[str, Any]) -> dict[str, str]:
    """Versions that have a role, and which."""
    found: dict[str, str] = {}
    for adapter in overview["data"]:
        for version in adapter["versions"]:
            roles = [role for role in version["roles"] if role != "previous"]
            if roles:
                found[version["name"]] = f"{roles[0]} of {adapter['name']}"
            elif version["pinned"]:
                found[version["name"]] = "pinned"
            elif version["staged"]:
                found[version["name"]] = "being rolled out"
    return found


def _holding(replica: str, version: str, role: str, holding: Mapping[str, Any] | None) -> Finding | None:
    if holding is None:
        return warn(
            "residency",
            f"{replica} does not hold {version} ({role}): its first request there waits for a load.",
            "If it stays so, more versions are in use than `adapters.cpu_slots`: raise it, or end a role or a pin.",
        )
    match holding["status"]:
        case "failed":
            cause = holding["error"] or holding["error_code"] or "its log says why"
            return fail(
                "residency",
                f"{replica} cannot load {version} ({role}): {cause}",
                f"`loraplex adapters verify {version}`; to go back: `loraplex adapters rollback "
                f"{version.partition('@')[0]}`.",
            )
        case "loading":
            return warn("residency", f"{replica} still loads {version} ({role}).", "Look again in a moment.")
        case "draining":
            return warn("residency", f"{replica} is letting go of {version} ({role}).", "Look again in a moment.")
    if holding["error_code"] == NOT_PROBED:
        return warn(
            "residency",
            f"{replica} holds {version} ({role}), whose effect was not measured: {holding['error']}",
            "See docs/adapters.md on the effect probe.",
        )
    return None


def rollouts(visit: Visit) -> Iterator[Finding]:
    """No automatic rollout stands still or failed. Raises Unreachable."""
    if not visit.adapters.is_good:
        yield skip("rollouts", _NOT_KNOWN)
        return
    names = [str(adapter["name"]) for adapter in visit.adapters.data["data"]]
    replies = {name: visit.line.get(f"{ADMIN}/adapters/{name}/rollout") for name in names}
    known = {name: reply for name, reply in replies.items() if reply.is_good}
    found = [finding for name, reply in known.items() if (finding := _rollout(name, reply)) is not None]
    found += [
        fail(
            "rollouts",
            f"What became of the rollouts of {name} is not told: {reply.message}",
            "The control plane's log says why.",
        )
        for name, reply in replies.items()
        if not reply.is_good and reply.code != "alias_not_found"
    ]
    yield from found
    if not found:
        active = [name for name, reply in known.items() if not Phase(reply.data["phase"]).ended]
        doing = f"in progress: {', '.join(active)}" if active else "none is in progress"
        yield ok("rollouts", f"{counted(len(names), 'adapter')}; {doing}.")


def _rollout(name: str, reply: Reply) -> Finding | None:
    rollout = reply.data
    phase = Phase(rollout["phase"])
    if phase is Phase.FAILED:
        return warn(
            "rollouts",
            f"The rollout of {rollout['candidate']} could not be carried out: {rollout['reason']}",
            f"`loraplex adapters rollout {name}` tells its history.",
        )
    since = datetime.fromisoformat(rollout["updated_at"])
    hours = (_now(reply) - since).total_seconds() / 3600
    if not phase.ended and hours > _STUCK_H:
        return warn(
            "rollouts",
            f"The rollout of {rollout['candidate']} has been in the phase {phase} for {hours:.0f} hours.",
            f"`loraplex adapters rollout {name}` says what it waits for; docs/runbooks/LoraplexRolloutStuck.md.",
        )
    return None


def _now(reply: Reply) -> datetime:
    """The gateway's own clock, where it tells."""
    told = reply.headers.get("date")
    return parsedate_to_datetime(told) if told else datetime.now(UTC)
