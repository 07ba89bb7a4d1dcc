"""Whether an engine exposes what the dashboards read: its metrics are its own, and change from release to release."""

from collections.abc import Iterable

_TYPE_LINE = "# TYPE "


def missing_series(expected: Iterable[str], exposition: bytes) -> tuple[str, ...]:
    """The families of ``expected`` that an exposition in the text format does not declare.

    A family counts from its TYPE line on: it has no sample before the first request that it measures.
    """
    lines = exposition.decode("utf-8", "replace").split("\n")
    declared = {line.removeprefix(_TYPE_LINE).partition(" ")[0] for line in lines if line.startswith(_TYPE_LINE)}
    return tuple(name for name in expected if name not in declared)
