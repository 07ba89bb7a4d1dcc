"""Which knowledge a task answers from, and what happens when there is none."""

from typing import Any, Literal

from pydantic import Field, field_validator

from serving.settings.base import Items, Settings


class RetrievalSettings(Settings):
    """Passages put before a task's question, and the citations in its answers."""

    knowledge: Items[str] = Field(
        min_length=1, description="Knowledge bases (vector stores) to search: names or `vs_...` ids."
    )
    top_k: int = Field(default=5, ge=1, le=50, description="Passages that a question gets at most.")
    max_tokens: int = Field(
        default=1024, ge=64, description="Room for the passages in the prompt, in tokens of the base model."
    )
    min_score: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Passages whose cosine with the question is below it are not relevant. Default: the knowledge "
        "base's own.",
    )
    filters: dict[str, Any] | None = Field(
        default=None, description="A filter on the documents' attributes, in OpenAI's form."
    )
    citations: bool | None = Field(
        default=None,
        description="Whether answers cite passages as `[1]`. Default: wherever the task has no output contract.",
    )
    when_empty: Literal["answer", "say_so", "refuse"] = Field(
        default="say_so",
        description="Nothing relevant found: `answer` without passages; `say_so`: the model is told to say that the "
        "documents do not tell; `refuse`: the gateway answers `refusal` without the model.",
    )
    refusal: str = Field(
        default="The documents that I may use do not answer this.",
        min_length=1,
        description="What `when_empty: refuse` answers.",
    )
    when_down: Literal["degrade", "fail"] = Field(
        default="degrade",
        description="Retrieval cannot be reached: `degrade` answers without passages, `fail` answers 503.",
    )
    timeout_s: float = Field(default=5.0, gt=0, description="How long a question waits for its passages, in seconds.")

    @field_validator("filters")
    @classmethod
    def _filters_are_filters(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        from retrieval.errors import FilterInvalid
        from retrieval.filters import parse_filter

        if value is not None:
            try:
                parse_filter(value)
            except FilterInvalid as error:
                raise ValueError(str(error)) from None
        return value
