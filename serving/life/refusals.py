"""Whether an answer is a refusal: a stated list of beginnings, and the task's own words. Pure.

It finds the ways in which instruction-tuned models decline in English, and nothing else. What matters to a rollout is
the difference between two versions, which a detector that misses some refusals still shows.
"""

import re

_BEGINNINGS = re.compile(
    r"""\W*(?:
      (?:i['’]?m|i\ am|we['’]?re|we\ are)\ (?:very\ |so\ |really\ )?(?:sorry|afraid|unable|not\ able|not\ allowed)
    | (?:sorry|apologies|unfortunately)\b[,.!]?\ (?:but\ )?(?:i|we)\ (?:can|could|am|are|do|will|must|have)\b
    | (?:my\ )?apologies,
    | i\ apologi[sz]e
    | (?:i|we)\ (?:can(?:['’]t|not|\ not)|could(?:n['’]t|\ not)|won['’]t|will\ not|must\ decline|have\ to\ decline)\b
    | (?:i|we)\ (?:do\ not|don['’]t)\ (?:have\ (?:enough|access|any|the)|know\b)
    | as\ an?\ (?:ai|language\ model|artificial\ intelligence)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_LOOKED_AT = 200
"""Characters of an answer that are looked at."""


def is_refusal(text: str, stated: str | None = None) -> bool:
    """Whether ``text`` begins like a refusal, or with ``stated``: what the task says where its documents are silent."""
    head = text[:_LOOKED_AT]
    if stated and text.lstrip().startswith(stated):
        return True
    return _BEGINNINGS.match(head) is not None
