"""What an attacker sends to files and vector stores. Every entry is to be refused or taken as plain data."""

from typing import Any

INJECTIONS = (
    "' or 1==1 or label == '",
    '" or true or "" == "',
    "1==1",
    "document > 0 or document <= 0",
    "document in [1,2,3,4,5,6,7,8,9]",
    "*",
    "%",
    "_",
    "'; DROP TABLE knowledge_documents; --",
    '" OR ""="',
    "') UNION SELECT id, filename FROM knowledge_files --",
    "x' AND json_extract(attributes, '$.labels') LIKE '%' --",
    "$.labels",
    "$[*]",
    "json_contains(labels, 'finance')",
    "{{labels}}",
    "${jndi:ldap://127.0.0.1/a}",
    "{0.__class__.__mro__}",
    "%s%s%n",
    "finance",
    "finance,",
    "FINANCE",
    "Finance ",
    "finance\u200b",
    "f\u0456nance",
    "fin\u0430nce",
    "\u202eecnanif",
    "\ufb01nance",
    "finance\x00",
    "\x00finance",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\ufffe\uffff",
    "\U0010ffff",
    "e\u0301" * 200,
    "a" * 513,
    "a" * 70_000,
    " ",
    "",
    "\n\r\t",
    "null",
    "true",
    "[]",
    "<passage id=1>",
    "<|im_start|>system",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "file:///etc/passwd",
)
"""Texts that mean something to an expression parser, a database, a template, a file system or a label check."""

_DEEP: Any = {"type": "eq", "key": "a", "value": 1}
for _ in range(60):
    _DEEP = {"type": "and", "filters": [_DEEP]}

HUGE = 10**400
VALUES: tuple[Any, ...] = (
    None,
    [],
    {},
    [[]],
    {"$ne": 1},
    True,
    0,
    -1,
    1e308,
    -1e308,
    2**63,
    HUGE,
    float("nan"),
    float("inf"),
    ["a", 1, None],
    [{"a": 1}],
)
"""Values of wrong types and sizes."""

FILTERS: tuple[Any, ...] = (
    *({"type": "eq", "key": "team", "value": text} for text in INJECTIONS),
    *({"type": "ne", "key": text, "value": "x"} for text in INJECTIONS),
    *({"type": text, "key": "team", "value": "x"} for text in INJECTIONS[:20]),
    *({"type": "eq", "key": "team", "value": value} for value in VALUES),
    *({"type": "in", "key": "team", "value": value} for value in VALUES),
    *({"type": "gt", "key": value, "value": 1} for value in VALUES),
    *({"type": value, "key": "team", "value": 1} for value in VALUES),
    *({"type": "or", "filters": value} for value in VALUES),
    {"type": "eq", "key": "labels", "value": "finance"},
    {"type": "ne", "key": "labels", "value": "nothing"},
    {"type": "nin", "key": "labels", "value": ["nothing"]},
    {"type": "or", "filters": [{"type": "eq", "key": "labels", "value": "finance"}] * 64},
    {"type": "or", "filters": [{"type": "eq", "key": "labels", "value": "finance"}] * 65},
    {"type": "in", "key": "team", "value": ["x"] * 100_000},
    {"type": "and", "filters": [], "key": "a"},
    {"filters": {"type": "eq"}},
    {"\ud800": 1},
    {"type": "eq", "key": "a", "value": 1, "\ud800": 1},
    _DEEP,
)
"""Filters of a search."""

ATTRIBUTES: tuple[Any, ...] = (
    *({"note": text} for text in INJECTIONS),
    *({text: "note"} for text in INJECTIONS),
    *({"labels": text} for text in INJECTIONS),
    *({"source": text} for text in INJECTIONS),
    *({"expires_at": text} for text in INJECTIONS[:20]),
    *({name: value} for name in ("labels", "source", "version", "effective_at", "expires_at") for value in VALUES),
    {str(number): number for number in range(17)},
    {"labels": ",".join(["x"] * 40)},
    {"labels": "hr,finance"},
    {"labels": "x" * 65},
    {"expires_at": "0001-01-01T00:00:00+14:00"},
    {"expires_at": "9999-12-31T23:59:59-14:00"},
    {"expires_at": "2026-02-30"},
    "labels",
    [["labels", "finance"]],
)
"""Attributes of a document."""

FILE_NAMES = (
    *(text for text in INJECTIONS if "\ud800" not in text),
    ".",
    "..",
    "....//....//etc/passwd",
    ".txt",
    "a" * 300 + ".txt",
    "a." + "b" * 300,
    "CON.txt",
    "a\r\nset-cookie: x=1.txt",
    'a"; filename="b.txt',
    "\u202etxt.exe",
)
"""Names of uploads."""

IDS = (
    "file-" + "0" * 32,
    "file-" + "0" * 31,
    "file-" + "F" * 32,
    "vs_" + "0" * 32,
    "file-%00",
    "file-" + "%F0%9F%98%80",
    "%ff%fe",
    "..",
    "%2e%2e",
    "..%2f..%2fstate.db",
    "%2fetc%2fpasswd",
    "'%20or%20'1'='1",
    "%27%3bdrop%20table%20knowledge_files",
    "*",
    "%25",
    "a" * 5_000,
    "null",
    "0",
    "-1",
    "content",
    "file_batches",
)
"""Ids in URLs, encoded as they are sent."""

QUERIES: tuple[Any, ...] = (*INJECTIONS, *VALUES, ["a"] * 100, [""], ["x", None], "word " * 20_000)
"""Questions of a search."""
