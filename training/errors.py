"""Everything that training raises.

TrainingError
└── TrainingClientError           the caller can mend it
    ├── RecipeInvalid             the recipe is missing, is not YAML or does not describe a training
    ├── DataInvalid               a data set cannot be trained on (the message names file and line)
    ├── RowInvalid                one row cannot be trained on (who knows the file makes it DataInvalid)
    ├── BaseModelInvalid          the base checkpoint cannot be used
    └── OutputRefused             the output folder already holds an adapter
"""

from pathlib import Path


class TrainingError(Exception):
    """Base of this application's errors."""


class TrainingClientError(TrainingError):
    """The caller can mend it."""


class RecipeInvalid(TrainingClientError):
    """A recipe that is missing, is not YAML, or does not describe a training."""


class DataInvalid(TrainingClientError):
    """A data set that cannot be trained on. The message names the file and the line.

    Args:
        code: which of the checks of training.data refused it.
        line: the line in the file, from 1; None where it is the whole file.
        reason: the message without file and line.
    """

    def __init__(
        self, message: str, *, code: str = "data_invalid", line: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.line = line
        self.reason = message if reason is None else reason


class RowInvalid(TrainingClientError):
    """A row that cannot be trained on. Readers turn it into DataInvalid with file and line, checks into a finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def at(self, path: Path, line: int) -> DataInvalid:
        """The same, of a row whose place is known."""
        return DataInvalid(f"{path}:{line}: {self}", code=self.code, line=line, reason=str(self))


class BaseModelInvalid(TrainingClientError):
    """A base checkpoint that is missing, has no chat template, or lacks the recipe's target modules."""


class OutputRefused(TrainingClientError):
    """An output folder that already holds an adapter: versions are never overwritten."""
