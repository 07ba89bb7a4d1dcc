"""Everything that training raises.

TrainingError
├── TrainingStopped               it was asked to stop, and goes on from its checkpoint when it is started again
└── TrainingClientError           the caller can mend it
    ├── RecipeInvalid             the recipe is missing, is not YAML or does not describe a training
    ├── DataInvalid               a data set cannot be trained on (the message names file and line)
    ├── RowInvalid                one row cannot be trained on (who knows the file makes it DataInvalid)
    ├── BaseModelInvalid          the base checkpoint cannot be used
    ├── OutputRefused             the output folder already holds an adapter, or another training's checkpoints
    ├── TrainingDiverged          the loss or its gradient is no longer a number
    ├── PolicyInvalid             the gate policy is missing, is not YAML or asks for what cannot be
    ├── GateRefused               two runs cannot be compared
    ├── SuiteInvalid              a suite or its cases cannot be used (the message names file and line)
    ├── RunInvalid                a run file cannot be read
    ├── RunRefused                answers of another run are in the way, or another process writes them
    ├── EndpointUnreachable       nothing answers at the address of an endpoint
    ├── DiagnosisInvalid          a diagnosis was asked for that does not fit its suite, grid or folder
    └── SearchFailed              a vector store is not there or does not answer
"""

from pathlib import Path


class TrainingError(Exception):
    """Base of this application's errors."""


class TrainingStopped(TrainingError):
    """It was asked to stop; started again, it goes on from its newest checkpoint."""


class TrainingClientError(TrainingError):
    """The caller can mend it."""

    code: str = "training_invalid"
    """What is wrong, for programs: the class's own, or a finer one."""

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.param = param
        """The field of the recipe or of the job at fault, where it is one."""
        self.line = line
        """The line of the data at fault, from 1, where it is one."""


class RecipeInvalid(TrainingClientError):
    """A recipe that is missing, is not YAML, or does not describe a training."""

    code = "recipe_invalid"


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
        super().__init__(message, code=code, line=line)
        self.reason = message if reason is None else reason


class RowInvalid(TrainingClientError):
    """A row that cannot be trained on. Readers turn it into DataInvalid with file and line, checks into a finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)

    def at(self, path: Path, line: int) -> DataInvalid:
        """The same, of a row whose place is known."""
        return DataInvalid(f"{path}:{line}: {self}", code=self.code, line=line, reason=str(self))


class BaseModelInvalid(TrainingClientError):
    """A base checkpoint that is missing, has no chat template, or lacks the recipe's target modules."""

    code = "base_model_invalid"


class OutputRefused(TrainingClientError):
    """An output folder that already holds an adapter, or checkpoints of another training: nothing is overwritten."""

    code = "output_refused"


class TrainingDiverged(TrainingClientError):
    """A training whose loss or gradient is no longer a number: nothing of it can be kept."""

    code = "training_diverged"


class PolicyInvalid(TrainingClientError):
    """A gate policy that is missing, is not YAML, or asks for what cannot be."""


class GateRefused(TrainingClientError):
    """Two runs that cannot be compared: different suites, missing cases or metrics, too many errors."""


class SuiteInvalid(TrainingClientError):
    """A suite, or cases of it, that cannot be measured on. The message names the file and the line."""


class RunInvalid(TrainingClientError):
    """A run file that is missing, or is not what ``write_run`` writes."""


class RunRefused(TrainingClientError):
    """Answers of another run, or of a run that goes on in another process, lie where this one would keep its own."""


class EndpointUnreachable(TrainingClientError):
    """Nothing answers at an endpoint's address."""


class DiagnosisInvalid(TrainingClientError):
    """A diagnosis that does not fit its suite, its grid, or the folder that it is to go on in."""


class SearchFailed(TrainingClientError):
    """A vector store that is not there, or does not answer a search."""
