"""What others say of an answer, as checks."""

from monitoring.quality.types import Check


def feedback(value: float) -> Check:
    """What a caller said, from 0 (bad) to 1 (good). Raises ValueError for other values."""
    return Check("feedback", 1.0 - value, "its caller found it wanting" if value < 1 else "")


def judge(value: float) -> Check:
    """What a judge model said, from 0 (bad) to 1 (good). Raises ValueError for other values."""
    return Check("judge", 1.0 - value, "the judge found it wanting" if value < 1 else "")
