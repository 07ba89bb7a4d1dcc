"""Every check that one answer alone allows. Pure, bounded in time whatever the answer holds, and quoting none of it."""

from collections.abc import Iterator

from monitoring.observed import ObservedAnswer
from monitoring.quality.confidence import Usual, confidence
from monitoring.quality.form import form, tool_call
from monitoring.quality.grounding import citation, grounded
from monitoring.quality.languages import FunctionWordDetector, LanguageDetector
from monitoring.quality.mismatch import mismatch
from monitoring.quality.options import QualityOptions
from monitoring.quality.refusals import refusal
from monitoring.quality.repetition import repetition
from monitoring.quality.types import Check
from monitoring.quality.verdicts import feedback
from monitoring.spec import ANSWERED_OUTCOMES

_DETECTOR = FunctionWordDetector()


def check(
    answer: ObservedAnswer,
    options: QualityOptions,
    *,
    usual: Usual | None = None,
    detector: LanguageDetector = _DETECTOR,
) -> tuple[Check, ...]:
    """The verdicts on one answer; a check that cannot tell gives none.

    One failure is told by one check as far as that can be: an empty answer is ``empty`` and perhaps ``truncated`` and
    nothing else, a refusal is not called ungrounded, a cut-off JSON is ``truncated`` and no parse failure.

    Args:
        answer: what was observed.
        options: of its task.
        usual: how sure the task's answers usually are; without it there is no ``confidence``.
        detector: for ``language``, and to compare with passages only what is in their language.
    """
    if answer.outcome not in ANSWERED_OUTCOMES:
        return ()
    found = (each for each in _all(answer, options, usual, detector) if each is not None)
    return tuple(each for each in found if each.name not in options.disabled)


def _all(
    answer: ObservedAnswer, options: QualityOptions, usual: Usual | None, detector: LanguageDetector
) -> Iterator[Check | None]:
    empty = not answer.tool_calls and not any(map(_shows, answer.answer))
    yield Check("empty", float(empty), "says nothing" if empty else "")
    if answer.finish_reason:
        cut = answer.finish_reason == "length"
        yield Check("truncated", float(cut), "was cut off by a token limit" if cut else "")
    if answer.feedback is not None:
        yield feedback(answer.feedback)
    declined = refusal(answer, options.refusal)
    yield declined
    if empty:
        return
    yield from form(answer, options.form)
    yield tool_call(answer, options.form)
    yield repetition(answer, options.repetition)
    yield mismatch(answer, options.language, detector)
    yield confidence(answer, options.confidence, usual)
    if declined is None or not declined.bad:
        yield citation(answer, options.grounding, detector)
        yield grounded(answer, options.grounding, detector)


def _shows(character: str) -> bool:
    """Whether one can see it; zero-width characters are no text."""
    return character.isprintable() and not character.isspace()
