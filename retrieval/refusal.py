"""What a model's server means by its answer."""

import httpx

from retrieval.errors import TextRejected

_PASSING = (401, 403, 404, 408, 409, 425, 429)
"""Of the client errors those that an operator, or time, mends: the text is not at fault."""


def refuse_rejected(answer: httpx.Response, url: str) -> None:
    """Raises TextRejected where the server found fault with the text that it was sent."""
    if answer.is_client_error and answer.status_code not in _PASSING:
        raise TextRejected(f"{url} refuses the text with status {answer.status_code}: {answer.text[:200]}")
