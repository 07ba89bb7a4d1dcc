"""What the bodies of knowledge requests have in common."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

KeptText = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Text that a database keeps: not every one takes NUL."""


class Body(BaseModel):
    """A JSON body without unknown fields, and of text that can be encoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, data: Any) -> Any:
        # An escape such as \\ud800 alone is valid JSON; nothing that is made of it could be written or told again.
        for text in _texts(data):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError("it holds half of a surrogate pair") from None
        return data


def _texts(data: Any) -> Iterator[str]:
    """All keys and values that are strings, however deep."""
    rest = [data]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            rest += (*one.keys(), *one.values())
        elif isinstance(one, list):
            rest += one
