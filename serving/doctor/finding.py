"""What a check says."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """Requests are answered; something should be looked at."""
    FAIL = "fail"
    """A fault."""
    SKIP = "skip"
    """Could not be checked, or there is nothing to check; the message says which."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    """The check's name, one word or two."""
    level: Level
    message: str
    """One sentence."""
    next: str = ""
    """What to type or to do about it; empty where nothing has to be done."""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, message)


def warn(check: str, message: str, next_step: str = "") -> Finding:
    """Worth a look."""
    return Finding(check, Level.WARN, message, next_step)


def fail(check: str, message: str, next_step: str = "") -> Finding:
    """A fault."""
    return Finding(check, Level.FAIL, message, next_step)


def skip(check: str, message: str, next_step: str = "") -> Finding:
    """Not checked."""
    return Finding(check, Level.SKIP, message, next_step)


def has_fault(findings: Iterable[Finding]) -> bool:
    """Whether any of them is a fault."""
    return any(finding.level is Level.FAIL for finding in findings)


def counted(number: float, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"
