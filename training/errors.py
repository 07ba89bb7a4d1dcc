"""Everything that training raises.

TrainingError
└── TrainingClientError           the caller can mend it
    ├── RecipeInvalid             the recipe is missing, is not YAML or does not describe a training
    ├── DataInvalid               a data set cannot be trained on (the message names file and line)
    ├── BaseModelInvalid          the base checkpoint cannot be used
    ├── OutputRefused             the output folder already holds an adapter
    ├── PolicyInvalid             the gate policy is missing, is not YAML or asks for what cannot be
    ├── GateRefused               two runs cannot be compared
    ├── SuiteInvalid              a suite or its cases cannot be used (the message names file and line)
    ├── RunInvalid                a run file cannot be read
    ├── RunRefused                answers of another run are in the way, or another process writes them
    ├── EndpointUnreachable       nothing answers at the address of an endpoint
    ├── DiagnosisInvalid          a diagnosis was asked for that does not fit its suite, grid or folder
    └── SearchFailed              a vector store is not there or does not answer
"""


class TrainingError(Exception):
    """Base of this application's errors."""


class TrainingClientError(TrainingError):
    """The caller can mend it."""


class RecipeInvalid(TrainingClientError):
    """A recipe that is missing, is not YAML, or does not describe a training."""


class DataInvalid(TrainingClientError):
    """A data set that cannot be trained on. The message names the file and the line."""


class BaseModelInvalid(TrainingClientError):
    """A base checkpoint that is missing, has no chat template, or lacks the recipe's target modules."""


class OutputRefused(TrainingClientError):
    """An output folder that already holds an adapter: versions are never overwritten."""


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
