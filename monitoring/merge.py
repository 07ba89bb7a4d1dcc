"""Several replicas' metrics as one exposition, so that one scrape sees them all."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from monitoring.exposition import Format

_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount")
_HAS_REPLICA = re.compile(r'[{,]\s*replica="')
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABELS = re.compile(r'\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}')
_ESCAPED = re.compile(r"\\(.)")
_EXEMPLAR = " # "
_OPENMETRICS_END = "# EOF"

_OPENMETRICS_TYPES = {"untyped": "unknown"}
_TEXT_TYPES = {"unknown": "untyped", "info": "gauge", "stateset": "gauge", "gaugehistogram": "histogram"}
_TEXT_SUFFIXES = {"counter": "_total", "info": "_info"}
"""What the text format has in a family's name, and OpenMetrics in the names of its samples alone."""


@dataclass(slots=True)
class _Family:
    """One metric family, over all replicas. Its name and its type are those of OpenMetrics."""

    help: str | None = None
    """As it is, without escapes for quotes."""
    type: str | None = None
    samples: dict[str, "_Sample"] = field(default_factory=dict)
    """By series (name and labels): a series appears once."""


@dataclass(frozen=True, slots=True)
class _Sample:
    value: str
    at_s: float | None
    """The time that the sample itself carries, in Unix seconds."""
    exemplar: str
    """What follows the mark of an exemplar; empty where there is none."""


def merge(expositions: Iterable[tuple[str, bytes]], form: Format = Format.TEXT) -> bytes:
    """One valid exposition from those of several replicas, given as pairs of a replica and what it exposes.

    Each may be in either format, whatever ``form`` the result has; a replica may appear several times (itself, its
    engine). Every family appears once, with the samples of all. A sample without the label ``replica`` gets it. Where
    two replicas say different types for one family (two releases during an upgrade), the first one's samples stand.
    Lines that are no samples are left out; the text format has no exemplars.
    """
    families: dict[str, _Family] = {}
    for replica, exposition in expositions:
        _read(exposition.decode("utf-8", "replace"), _escape(replica), families)
    write = _openmetrics if form is Format.OPENMETRICS else _text
    lines = [line for name, family in families.items() if family.samples for line in write(name, family)]
    if form is Format.OPENMETRICS:
        lines.append(_OPENMETRICS_END)
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _read(text: str, replica: str, families: dict[str, _Family]) -> None:
    # Nothing but a line feed ends a line: a label value may hold what else Python takes for one.
    lines = [line.strip() for line in text.split("\n")]
    openmetrics = _OPENMETRICS_END in lines
    types = _types(lines)
    current: str | None = None
    refused: set[str] = set()
    for line in lines:
        if line.startswith("#"):
            parts = line.split(" ", 3)
            if len(parts) > 2 and parts[1] in ("HELP", "TYPE"):
                current = _family_name(parts[2], types.get(parts[2]))
                rest = parts[3] if len(parts) > 3 else ""
                if not _describe(families.setdefault(current, _Family()), parts[1], rest, openmetrics=openmetrics):
                    refused.add(current)
            continue
        match = _NAME.match(line)
        if match is None:
            continue
        name = _family_of(match.group(), current)
        if name not in refused:
            series, rest = _with_replica(match.group(), line[match.end() :], replica)
            if (sample := _sample(rest, openmetrics=openmetrics)) is not None:
                families.setdefault(name, _Family()).samples.setdefault(series, sample)


def _types(lines: Iterable[str]) -> dict[str, str]:
    """What the TYPE lines say, by the name that they have."""
    declared = (line.split(" ", 3) for line in lines if line.startswith("# TYPE "))
    return {parts[2]: parts[3] for parts in declared if len(parts) == 4}


def _family_name(name: str, kind: str | None) -> str:
    """A family's name in OpenMetrics, from the one that its HELP and TYPE lines have."""
    return name.removesuffix("_total") if kind == "counter" else name


def _describe(family: _Family, keyword: str, text: str, *, openmetrics: bool) -> bool:
    """Take a HELP or TYPE line. False where the type contradicts what another replica said."""
    if keyword == "HELP":
        if family.help is None:
            family.help = _ESCAPED.sub(_unquoted, text) if openmetrics else text
        return True
    kind = _OPENMETRICS_TYPES.get(text, text)
    if family.type is None and not family.samples:
        family.type = kind
    return family.type == kind


def _unquoted(escaped: re.Match[str]) -> str:
    return '"' if escaped[1] == '"' else escaped[0]


def _family_of(sample: str, current: str | None) -> str:
    if current is not None and (sample == current or sample.removeprefix(current) in _SUFFIXES):
        return current
    return sample


def _with_replica(name: str, rest: str, replica: str) -> tuple[str, str]:
    """The series with the label ``replica``, and what follows it."""
    match = _LABELS.match(rest)
    labels, value = (match.group(), rest[match.end() :]) if match else ("", rest)
    if not _HAS_REPLICA.search(labels):
        inner = labels[1:-1].strip().rstrip(",")
        labels = "{" + (f"{inner}," if inner else "") + f'replica="{replica}"' + "}"
    return name + labels, value.strip()


def _sample(text: str, *, openmetrics: bool) -> _Sample | None:
    """Value, time and exemplar; None where the first two are not numbers."""
    numbers, _, exemplar = text.partition(_EXEMPLAR) if openmetrics else (text, "", "")
    value, _, at = numbers.strip().partition(" ")
    try:
        float(value)
        at_s = float(at) / (1 if openmetrics else 1000) if at else None
    except ValueError:
        return None
    return _Sample(value, at_s, exemplar)


def _text(name: str, family: _Family) -> Iterator[str]:
    kind = _TEXT_TYPES.get(family.type or "", family.type)
    suffix = _TEXT_SUFFIXES.get(family.type or "", "")
    # A counter of the text format need not end in the suffix; it is then the family's name that its samples have.
    shown = f"{name}{suffix}" if any(series.startswith(f"{name}{suffix}{{") for series in family.samples) else name
    if family.help is not None:
        yield f"# HELP {shown} {family.help}"
    if kind is not None:
        yield f"# TYPE {shown} {kind}"
    for series, sample in family.samples.items():
        yield f"{series} {sample.value}" + ("" if sample.at_s is None else f" {round(sample.at_s * 1000)}")


def _openmetrics(name: str, family: _Family) -> Iterator[str]:
    kind = family.type
    if kind == "counter" and not all(series.startswith(f"{name}_") for series in family.samples):
        kind = "unknown"  # OpenMetrics knows no counter without the suffix
    if family.help is not None:
        quoted = family.help.replace('"', '\\"')
        yield f"# HELP {name} {quoted}"
    if kind is not None:
        yield f"# TYPE {name} {kind}"
    for series, sample in family.samples.items():
        at = "" if sample.at_s is None else f" {sample.at_s:.3f}"
        exemplar = f"{_EXEMPLAR}{sample.exemplar}" if sample.exemplar else ""
        yield f"{series} {sample.value}{at}{exemplar}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
