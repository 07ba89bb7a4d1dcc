"""Places in a JSON value, addressed by pointer. Pure. How JSON is read and compared: ``monitoring.json_text``."""

from collections.abc import Sequence
from typing import Any, Final


class Missing:
    """What a pointer finds where there is nothing."""


MISSING: Final = Missing()


def split_pointer(pointer: str) -> tuple[str, ...]:
    """The tokens of a JSON pointer (RFC 6901). Raises ValueError."""
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"a JSON pointer starts with `/`: {pointer!r}")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def join_pointer(tokens: Sequence[str]) -> str:
    """The pointer of some tokens."""
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def at(value: Any, pointer: str) -> Any:
    """What stands at ``pointer``; MISSING where nothing does."""
    for token in split_pointer(pointer):
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdecimal() and token.isascii() and int(token[:9]) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value
