"""What answers are scored by."""

from typing import Annotated

from pydantic import Field

from training.evaluation.scorers.citations import CitationsSettings
from training.evaluation.scorers.classification import ClassificationSettings
from training.evaluation.scorers.groundedness import GroundednessSettings
from training.evaluation.scorers.json_answers import JsonSettings
from training.evaluation.scorers.judge import JudgeSettings
from training.evaluation.scorers.text import ExactSettings, NormalisedSettings, RegexSettings
from training.evaluation.scorers.tool_calls import ToolCallsSettings

ScorerSettings = Annotated[
    ExactSettings
    | NormalisedSettings
    | RegexSettings
    | ClassificationSettings
    | JsonSettings
    | ToolCallsSettings
    | CitationsSettings
    | GroundednessSettings
    | JudgeSettings,
    Field(discriminator="kind"),
]
