"""From the configuration to what the libraries of drift and quality are asked for. Pure."""

from monitoring.observed import Contract
from monitoring.quality.options import (
    FormOptions,
    GroundingOptions,
    LanguageOptions,
    QualityOptions,
    RefusalOptions,
    ScoreOptions,
)
from serving.config import OutputContract, TaskSettings
from serving.settings.monitoring import QualitySettings

_ANY = "any"
_PROMPT = "prompt"


def quality_options(settings: QualitySettings, task: TaskSettings | None) -> QualityOptions:
    """How answers are checked. ``task``: None for what is no task, which states no refusal of its own."""
    retrieval = None if task is None else task.retrieval
    expected = None if settings.language in (_ANY, _PROMPT) else settings.language
    return QualityOptions(
        disabled=frozenset(settings.off),
        form=FormOptions(expects_json=settings.expects_json),
        refusal=RefusalOptions(stated=() if retrieval is None else (retrieval.refusal,)),
        language=LanguageOptions(expected=expected, enabled=settings.language != _ANY),
        grounding=GroundingOptions(requires_citations=settings.requires_citations),
    )


def score_options(settings: QualitySettings) -> ScoreOptions:
    """How checks become a score."""
    weights = {str(name): weight for name, weight in settings.checks.items()}
    return ScoreOptions(half_life=settings.half_life_requests, weights=weights, fewest=settings.min_requests)


def contract_of(output: OutputContract | None) -> Contract | None:
    """A task's contract."""
    if output is None:
        return None
    if output.json_schema is not None:
        return Contract("json_schema", output.json_schema)
    if output.regex is not None:
        return Contract("regex")
    return Contract("choice" if output.choice is not None else "grammar")
