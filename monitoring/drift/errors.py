"""What can go wrong with a drift detector."""


class DriftError(ValueError):
    """Base class: what a detector was given cannot be used. Whatever it held before stays as it was."""


class ReferenceTooSmall(DriftError):
    """Too few requests to compare others with."""


class DimensionChanged(DriftError):
    """An embedding is of another size than those before it: another model made it, and nothing compares the two."""


class StateUnreadable(DriftError):
    """What is given as a detector's state is none, or was written by another version of it."""
