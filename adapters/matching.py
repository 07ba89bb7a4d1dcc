"""PEFT's rules for which modules a name, a list of names or a pattern means."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise

from adapters.errors import AdapterRejected

_TIMEOUT_S = 30.0
_MAX_PATTERN = 20_000
_LITERAL = re.compile(r"[A-Za-z0-9_.]+")
_SCRIPT = (
    "import json,re,resource,sys; resource.setrlimit(resource.RLIMIT_CPU,(1,1)); "
    "p,n=json.load(sys.stdin); c=re.compile(p); "
    "json.dump([x for x in n if c.fullmatch(x)],sys.stdout)"
)


def named(modules: Iterable[str], names: Iterable[str]) -> set[str]:
    """The modules that are called, or end in, one of ``names``."""
    wanted = set(names)
    return {module for module in modules if any(tail in wanted for tail in _tails(module))}


def matching(modules: Iterable[str], pattern: str, *, field: str) -> set[str]:
    """The modules whose whole name matches the regular expression ``pattern``.

    An adapter's patterns are not ours: one can be made to run for ever. Anything but a plain name is therefore tried in
    a process of its own, with a second of processor time.

    Raises:
        AdapterRejected: ``pattern_invalid``: it does not compile, or takes too long.
    """
    names = sorted(modules)
    if _LITERAL.fullmatch(pattern) and "." not in pattern:
        return {name for name in names if name == pattern}
    if len(pattern) > _MAX_PATTERN:
        raise AdapterRejected("pattern_invalid", f"`{field}` has a pattern of {len(pattern)} characters; shorten it.")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SCRIPT],
            input=json.dumps([pattern, names]),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise _refuse(field, "takes too long to match") from None
    if done.returncode < 0:
        raise _refuse(field, "takes too long to match")
    if done.returncode > 0:
        raise _refuse(field, "is not a regular expression")
    return set(json.loads(done.stdout))


def _refuse(field: str, problem: str) -> AdapterRejected:
    return AdapterRejected("pattern_invalid", f"`{field}` has a pattern that {problem}; list the modules by name.")


def by_pattern_key(modules: Sequence[str], keys: Iterable[str], *, field: str) -> dict[str, str]:
    """For each module that one of a ``rank_pattern``'s or ``alpha_pattern``'s keys means: the first such key.

    Raises AdapterRejected with ``pattern_invalid``.
    """
    found: dict[str, str] = {}
    for key in keys:
        # PEFT reads a dot in a key as "any character"; in a module's name that is always a dot.
        literal = _LITERAL.fullmatch(key) is not None
        means = named(modules, [key]) if literal else matching(modules, rf"(.*\.)?({key})", field=field)
        for module in means:
            found.setdefault(module, key)
    return found


def layer_of(module: str, patterns: Sequence[str]) -> int | None:
    """The layer that a module belongs to: its first number, or the first one behind one of ``patterns``."""
    parts = module.split(".")
    for before, part in pairwise(parts[:-1]):
        if part.isdigit() and (not patterns or before in patterns):
            return int(part)
    return None


def _tails(module: str) -> Iterable[str]:
    yield module
    start = module.find(".")
    while start >= 0:
        yield module[start + 1 :]
        start = module.find(".", start + 1)
