"""What is measured, and who may read it."""

from pydantic import Field

from serving.settings.base import Settings


class MetricsSettings(Settings):
    """`GET /metrics`: who may read it, and how much it may hold."""

    enabled: bool = Field(
        default=True,
        description="Whether the gateway measures requests. `false`: `/metrics` has the engines' own series, and "
        "those of ingestion and fine-tuning jobs.",
    )
    token_env: str | None = Field(
        default=None,
        min_length=1,
        description="Environment variable with a token for scrapers, which send it as `Authorization: Bearer TOKEN`. "
        "With it, `/metrics` and `/metrics/targets` ask for this token or for an admin key, on every address. It may "
        "hold several with spaces between them, each of which is accepted.",
    )
    series_per_family: int = Field(
        default=10_000,
        ge=100,
        description="Most series of one metric and replica, each bucket of a histogram counted; above it, counts go "
        "to the label value `other`.",
    )
    forget_after_s: float = Field(
        default=3600.0,
        gt=0,
        description="How long the series of an adapter version that has left stay after its last request, in seconds.",
    )
