"""How answers are checked. The defaults suit free text of a general assistant; none needs to be set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from monitoring.quality.types import NAMES

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        # Failures that nobody can use.
        "parse": 1.0,
        "schema": 1.0,
        "empty": 1.0,
        "repetition": 1.0,
        "tool_call": 1.0,
        # Failures, as far as can be told; each of these checks is sometimes wrong.
        "language": 0.8,
        "citation": 0.8,
        "grounded": 0.7,
        "refusal": 0.7,
        "judge": 0.7,
        # May be what the caller asked for, or one person's mood.
        "truncated": 0.5,
        "feedback": 0.5,
        # Signs of trouble, not trouble.
        "confidence": 0.3,
        "self_consistency": 0.3,
    }
)
"""What share of its worth an answer loses that is wholly bad by a check."""


@dataclass(frozen=True, slots=True)
class FormOptions:
    """JSON, schemas and tool calls."""

    expects_json: bool = False
    """Whether answers without a contract have to be JSON too."""
    allow_fence: bool = False
    """Whether a Markdown fence around the JSON is no mistake."""
    most_characters: int = 200_000
    """Longer answers and arguments are not parsed: no verdict."""
    most_schema: int = 32_768
    """Schemas that are longer as JSON, in characters, are not evaluated: no verdict."""
    seconds: float = 0.25
    """How long one schema may be evaluated for one value; beyond: no verdict."""


@dataclass(frozen=True, slots=True)
class RefusalOptions:
    """Answers that decline."""

    stated: tuple[str, ...] = ()
    """How the task itself words that it cannot answer: what begins with one of these is a refusal."""
    longest: int = 1200
    """In longer answers, in characters, a sentence that declines is a caveat."""


@dataclass(frozen=True, slots=True)
class RepetitionOptions:
    """Loops. Each pair: where badness begins and where it is 1; the middle is where an answer counts as bad."""

    most_characters: int = 20_000
    """Only the last characters of an answer are looked at."""
    loop_characters: int = 120
    """An answer that ends with so many characters of one unit again and again is a loop."""
    loop_repeats: int = 4
    """How often the unit has to come."""
    loop_window: int = 4000
    """Characters at the end in which that is looked for; a unit longer than a fraction of them is not found."""
    fewest_words: int = 50
    """Of shorter texts the share of repeated n-grams is not taken."""
    ngrams: tuple[float, float] = (0.35, 0.65)
    """Share of 4-grams of words that have occurred before (seq-rep-4 of Welleck et al., "Neural Text Generation with
    Unlikelihood Training", 2019; people write 0.01 to 0.05). Not for JSON, which repeats its names."""
    compression: tuple[float, float] = (6.0, 12.0)
    """How many times smaller zlib makes the text; prose: 2 to 3."""
    json_compression: tuple[float, float] = (15.0, 35.0)
    """The same for JSON."""
    fewest_bytes: int = 500
    """Shorter texts are not compressed."""


@dataclass(frozen=True, slots=True)
class LanguageOptions:
    """Answers in another language than their prompts."""

    expected: str | None = None
    """ISO 639-1 code of the language that every answer has to have; else that of the prompt."""
    enabled: bool = True
    """False for tasks that translate."""


@dataclass(frozen=True, slots=True)
class GroundingOptions:
    """Citations, and answers against the passages that they were given."""

    coverage: tuple[float, float] = (0.5, 0.15)
    """Share of the answer's content words, those of the prompt left out, that stand in a passage."""
    fewest_words: int = 4
    """Content words; of fewer no share is taken."""
    requires_citations: bool = False
    """Whether an answer with passages and without a citation is bad."""
    cited_overlap: float = 0.1
    """A citation is made up where the passage holds less than this share of the content words of what cites it."""
    most_characters: int = 50_000
    """Of the answer, and of all passages together, that are read."""


@dataclass(frozen=True, slots=True)
class ConfidenceOptions:
    """Mean log-probability and entropy against what the task is used to."""

    z: tuple[float, float] = (3.0, 6.0)
    """Robust z-scores, upwards from less sure than usual."""


@dataclass(frozen=True, slots=True)
class AgreementOptions:
    """Several answers to one prompt."""

    short_words: int = 8
    """Answers of at most so many words agree where they are equal but for case, punctuation and JSON's order."""
    f1: tuple[float, float] = (0.7, 0.2)
    """Mean pairwise token F1 of longer ones."""
    most_samples: int = 10
    most_words: int = 2000
    """Of each answer."""


@dataclass(frozen=True, slots=True)
class QualityOptions:
    """Of one task."""

    disabled: frozenset[str] = frozenset()
    """Names of checks that are not made. Raises ValueError for others."""
    form: FormOptions = field(default_factory=FormOptions)
    refusal: RefusalOptions = field(default_factory=RefusalOptions)
    repetition: RepetitionOptions = field(default_factory=RepetitionOptions)
    language: LanguageOptions = field(default_factory=LanguageOptions)
    grounding: GroundingOptions = field(default_factory=GroundingOptions)
    confidence: ConfidenceOptions = field(default_factory=ConfidenceOptions)
    agreement: AgreementOptions = field(default_factory=AgreementOptions)

    def __post_init__(self) -> None:
        unknown = self.disabled - set(NAMES)
        if unknown:
            raise ValueError(f"no check is named {', '.join(sorted(unknown))}")


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How checks become one score. Raises ValueError for values out of their range."""

    half_life: float = 200.0
    """Verdicts of a check until one counts half; of what every answer is checked for, requests. It then remembers about
    290 of them."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By check, in [0, 1]; those that are not named have ``WEIGHTS``. 0 leaves a check out of the score."""
    fewest: int = 20
    """Requests before there is a score."""
    confidence: float = 0.95
    """Of intervals."""

    def __post_init__(self) -> None:
        if not self.half_life > 0 or self.fewest < 1 or not 0 < self.confidence < 1:
            raise ValueError("half_life and fewest must be positive, confidence between 0 and 1")
        for name, weight in self.weights.items():
            if name not in NAMES or not 0 <= weight <= 1:
                raise ValueError(f"a weight is that of a check and in [0, 1]: {name!r}: {weight}")

    def weight(self, name: str) -> float:
        """Of a check."""
        return self.weights.get(name, WEIGHTS[name])
