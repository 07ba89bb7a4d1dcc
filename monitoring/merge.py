"""Several replicas' metrics as one exposition, so that one scrape sees them all."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount")
_HAS_REPLICA = re.compile(r'[{,]\s*replica="')
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABELS = re.compile(r'\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}')


@dataclass(slots=True)
class _Family:
    """One metric family, over all replicas."""

    help: str | None = None
    type: str | None = None
    samples: dict[str, str] = field(default_factory=dict)
    """Line by series (name and labels): a series appears once."""


def merge(expositions: Mapping[str, bytes]) -> bytes:
    """One valid exposition from those of several replicas, by replica name.

    Every family appears once, with the samples of all. A sample without the label ``replica`` gets it. Where two
    replicas say different types for one family (two releases during an upgrade), the first one's samples stand.
    Lines that are no samples are left out.
    """
    families: dict[str, _Family] = {}
    for replica, exposition in expositions.items():
        _read(exposition.decode("utf-8", "replace"), _escape(replica), families)
    lines: list[str] = []
    for name, family in families.items():
        if not family.samples:
            continue
        if family.help is not None:
            lines.append(f"# HELP {name} {family.help}")
        if family.type is not None:
            lines.append(f"# TYPE {name} {family.type}")
        lines.extend(family.samples.values())
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _read(text: str, replica: str, families: dict[str, _Family]) -> None:
    current: str | None = None
    refused: set[str] = set()
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("#"):
            parts = line.split(" ", 3)
            if len(parts) > 2 and parts[1] in ("HELP", "TYPE"):
                current = parts[2]
                rest = parts[3] if len(parts) > 3 else ""
                if not _describe(families.setdefault(current, _Family()), parts[1], rest):
                    refused.add(current)
            continue
        match = _NAME.match(line)
        if match is None:
            continue
        name = _family_of(match.group(), current)
        if name not in refused:
            series, sample = _with_replica(match.group(), line[match.end() :], replica)
            families.setdefault(name, _Family()).samples.setdefault(series, sample)


def _describe(family: _Family, keyword: str, text: str) -> bool:
    """Take a HELP or TYPE line. False where the type contradicts what another replica said."""
    if keyword == "HELP":
        if family.help is None:
            family.help = text
        return True
    if family.type is None and not family.samples:
        family.type = text
    return family.type == text


def _family_of(sample: str, current: str | None) -> str:
    if current is not None and (sample == current or sample.removeprefix(current) in _SUFFIXES):
        return current
    return sample


def _with_replica(name: str, rest: str, replica: str) -> tuple[str, str]:
    """The series and the whole line, with the label ``replica``."""
    match = _LABELS.match(rest)
    labels, value = (match.group(), rest[match.end() :]) if match else ("", rest)
    if not _HAS_REPLICA.search(labels):
        inner = labels[1:-1].strip().rstrip(",")
        labels = "{" + (f"{inner}," if inner else "") + f'replica="{replica}"' + "}"
    return name + labels, f"{name}{labels} {value.strip()}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
