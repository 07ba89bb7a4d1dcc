"""Whether a text is derived from a grammar, for the check after decoding.

Engines take EBNF as llama.cpp and xgrammar write it (``root ::= "a" | [0-9]+``), and vLLM takes Lark grammars too.
Both end up in Lark's Earley parser here.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator

from lark import Lark
from lark.exceptions import LarkError

_TOKENS = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<define>::=)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<set>\[(?:[^\]\\]|\\.)*\])
    |(?P<repeat>\{\s*\d+\s*(?:,\s*\d*\s*)?\})
    |(?P<sign>[()|*+?.])
    |(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)""",
    re.VERBOSE | re.DOTALL,
)
_SET_SIGNS = re.compile(r"\\.|[\[&~|/]", re.DOTALL)


def grammar_matcher(grammar: str) -> Callable[[str], bool]:
    """A function that tells whether a whole text is derived from ``grammar``. Raises ValueError."""
    try:
        if "::=" in grammar:
            source, start = _to_lark(grammar)
        else:
            source, start = grammar, _first_lark_rule(grammar)
        parser = Lark(source, start=start, parser="earley", lexer="dynamic_complete")
    except LarkError as error:
        raise ValueError(f"cannot be read: {str(error).splitlines()[0]}") from error

    def matches(text: str) -> bool:
        try:
            parser.parse(text)
        except LarkError:
            return False
        return True

    return matches


def _first_lark_rule(grammar: str) -> str:
    names = re.findall(r"^\s*[?!]?([a-z_][a-z0-9_]*)\s*(?:\.\d+)?\s*:", grammar, re.MULTILINE)
    if not names:
        raise ValueError("has no rules")
    return "start" if "start" in names else str(names[0])


def _to_lark(grammar: str) -> tuple[str, str]:
    """The same grammar in Lark's notation, and its start rule."""
    tokens = list(_tokens(grammar))
    defined = [tokens[i][1] for i in range(len(tokens) - 1) if tokens[i + 1][0] == "define"]
    if not defined:
        raise ValueError("has no rules")
    names = {name: f"r{number}" for number, name in enumerate(dict.fromkeys(defined))}
    out: list[str] = []
    for position, (kind, text) in enumerate(tokens):
        follows = tokens[position + 1][0] if position + 1 < len(tokens) else ""
        if kind == "name":
            if text not in names:
                raise ValueError(f"uses the rule `{text}`, which it does not define")
            out.append(f"\n{names[text]}" if follows == "define" else names[text])
        else:
            out.append(_translate(kind, text))
    return " ".join(out), names["root" if "root" in names else defined[0]]


def _tokens(grammar: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(grammar):
        match = _TOKENS.match(grammar, position)
        if match is None or match.lastgroup is None:
            raise ValueError(f"cannot be read at {grammar[position : position + 20]!r}")
        position = match.end()
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()


def _translate(kind: str, text: str) -> str:
    match kind:
        case "define":
            return ":"
        case "string":
            # Lark knows no empty terminal; an empty alternative says the same.
            return json.dumps(_unquote(text), ensure_ascii=False) if text != '""' else ""
        case "set":
            return "/" + "[" + _SET_SIGNS.sub(_escape, text[1:-1]) + "]/s"
        case "repeat":
            return _repeat(text.strip("{} \t\n"))
        case _:
            return "/./s" if text == "." else text


def _unquote(literal: str) -> str:
    try:
        return str(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        raise ValueError(f"has a string that cannot be read: {literal}") from None


def _escape(match: re.Match[str]) -> str:
    found = match.group()
    return found if found.startswith("\\") else "\\" + found


def _repeat(bounds: str) -> str:
    low, comma, high = (part.strip() for part in bounds.partition(","))
    if comma and not high:
        raise ValueError("repeats `{n,}`: write it as `{n}` followed by `*`")
    return f"~ {low}..{high}" if comma else f"~ {low}"
