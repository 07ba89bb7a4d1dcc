"""``Suite``: cases, what good answers are, and how they are asked for, from one YAML file."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, JsonValue, ValidationError, model_validator

from training.errors import SuiteInvalid
from training.evaluation.cases import read_cases
from training.evaluation.scorers import ScorerSettings
from training.evaluation.scorers.json_answers import JsonAnswers
from training.evaluation.scorers.judge import JudgeScorer
from training.evaluation.scorers.protocol import Materials, Scorer
from training.evaluation.strict import Strict, describe
from training.evaluation.types import Case, Json


class Parameters(Strict):
    """What is sent with every request, by OpenAI's names. None leaves a field to the endpoint."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    seed: int | None = Field(default=0, ge=0)
    """Of the first repeat; the others count up from it."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: str | tuple[str, ...] | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: str | None = None
    response_format: dict[str, JsonValue] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None
    extra_body: dict[str, JsonValue] | None = None
    """Fields that OpenAI's API does not have, as they are sent."""

    def request(self) -> Json:
        """The fields that are sent."""
        return self.model_dump(mode="json", exclude_none=True)


class BaselineSettings(Strict):
    """The classical method that a classification is held against."""

    train: Path
    """OpenAI chat JSONL: the last user message is the text, the last message the label."""


class SuiteFile(Strict):
    """The YAML file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    description: str = ""
    cases: Path
    scorers: tuple[ScorerSettings, ...] = Field(min_length=1)
    primary: str | None = None
    parameters: Parameters = Parameters()
    structured: bool = False
    """Whether the endpoint is asked to decode by the JSON scorer's schema."""
    repeats: int = Field(default=1, ge=1, le=100)
    baseline: BaselineSettings | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kinds = [scorer.kind for scorer in self.scorers]
        if self.baseline is not None and "classification" not in kinds:
            raise ValueError("`baseline` is for suites with a classification scorer")
        if self.structured and self.parameters.response_format is not None:
            raise ValueError("`structured` and `parameters.response_format` say the same thing twice")
        schemas = [scorer for scorer in self.scorers if scorer.kind == "json" and scorer.json_schema is not None]
        if self.structured and len(schemas) != 1:
            raise ValueError("`structured` needs exactly one json scorer with a `json_schema`")
        return self


@dataclass(frozen=True, slots=True)
class LoadedScorer:
    """A scorer, ready, and the names that its metrics have in this suite."""

    prefix: str
    """Put before the scorer's own names; empty unless the suite names it."""
    scorer: Scorer | JudgeScorer

    @property
    def metrics(self) -> tuple[str, ...]:
        """Their names in results."""
        return tuple(self.prefix + metric for metric in self.scorer.metrics)


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite, ready to be run."""

    name: str
    description: str
    digest: str
    """SHA-256 over the suite's settings, its cases, schemas and the baseline's rows."""
    cases: tuple[Case, ...]
    scorers: tuple[LoadedScorer, ...]
    primary: str
    """The metric that a gate decides by unless it is told otherwise."""
    parameters: Json
    """Sent with every request."""
    repeats: int
    baseline_rows: Path | None = None
    """Rows for the classical baseline."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric, in the order of the scorers."""
        return tuple(metric for scorer in self.scorers for metric in scorer.metrics)

    def with_cases(self, cases: Sequence[Case]) -> "Suite":
        """The same measure of other cases, or of the same ones asked otherwise; the digest differs."""
        return dataclasses.replace(self, cases=tuple(cases), digest=_digest(self.digest, *map(_case_json, cases)))


def load_suite(path: Path) -> Suite:
    """Read a suite and its cases; relative paths in it start at its folder.

    Raises:
        SuiteInvalid: with one line for each problem; for a problem of a case with its file and line.
    """
    file = _read(path)
    folder = path.resolve().parent
    cases = read_cases(folder / file.cases)
    materials = Materials(folder, cases, folder / file.cases)
    scorers = tuple(
        LoadedScorer(f"{settings.name}." if settings.name else "", settings.build(materials))
        for settings in file.scorers
    )
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    twice = sorted({metric for metric in metrics if metrics.count(metric) > 1})
    if twice:
        raise SuiteInvalid(f"the suite {path}: two scorers measure `{twice[0]}`; give one of them a `name`")
    primary = file.primary or metrics[0]
    if primary not in metrics:
        raise SuiteInvalid(
            f"the suite {path}: `primary`: no scorer measures `{primary}`; there are {', '.join(metrics)}"
        )
    rows = folder / file.baseline.train if file.baseline else None
    return Suite(
        name=file.name,
        description=file.description,
        digest=_digest(_settings_json(file), *map(_case_json, cases), *_schemas(scorers), _content(rows)),
        cases=cases,
        scorers=scorers,
        primary=primary,
        parameters=_parameters(file, scorers),
        repeats=file.repeats,
        baseline_rows=rows,
    )


def _read(path: Path) -> SuiteFile:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SuiteInvalid(f"cannot read the suite {path}: {error}") from error
    if not isinstance(data, dict):
        raise SuiteInvalid(f"the suite {path} must be a mapping")
    try:
        return SuiteFile.model_validate(data)
    except ValidationError as error:
        problems = [f"  - {problem}" for problem in describe(error)]
        raise SuiteInvalid(f"the suite {path} is not valid:\n" + "\n".join(problems)) from error


def _parameters(file: SuiteFile, scorers: Sequence[LoadedScorer]) -> Json:
    request = file.parameters.request()
    if file.structured:
        schema = next(one.scorer.schema for one in scorers if isinstance(one.scorer, JsonAnswers) and one.scorer.schema)
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        }
    return request


def _settings_json(file: SuiteFile) -> str:
    # What the file leaves out is left out: a new setting with a default changes no digest.
    return json.dumps(file.model_dump(mode="json", exclude_unset=True, exclude={"description"}), sort_keys=True)


def _case_json(case: Case) -> str:
    return json.dumps(dataclasses.asdict(case) | {"line": 0}, sort_keys=True)


def _schemas(scorers: Sequence[LoadedScorer]) -> list[str]:
    return [json.dumps(one.scorer.schema, sort_keys=True) for one in scorers if isinstance(one.scorer, JsonAnswers)]


def _content(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SuiteInvalid(f"cannot read the baseline's rows {path}: {error.strerror or error}") from error


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
