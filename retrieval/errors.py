"""Everything that this library raises.

KnowledgeError
├── KnowledgeClientError          the caller can mend it
│   ├── DocumentUnreadable        a file that cannot be turned into text (``code`` as OpenAI's file errors)
│   ├── VectorStoreNotFound       no store of that name or id, or not for this caller
│   ├── TextRejected              a model refuses a text: too long for it, or not allowed
│   ├── FilterInvalid             a metadata filter that is not one
│   └── AttributesInvalid         metadata of a document that is outside the limits
└── KnowledgeServerError          ours to mend
    ├── EmbedderUnavailable       the embedding model cannot be loaded or reached
    ├── DescriberUnavailable      the model that writes contexts cannot be reached
    ├── RerankerUnavailable       the reranking model cannot be loaded or reached
    ├── IndexMismatch             vectors of one model meet an index that was made by another
    └── IndexUnavailable          the passage index cannot be reached, or refused
"""

from typing import Any


def rebuilt(kind: type["KnowledgeError"], args: tuple[Any, ...], state: dict[str, Any]) -> "KnowledgeError":
    """An error as it was in another process: ``args`` and ``state`` are its own ``args`` and ``__dict__``."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class KnowledgeError(Exception):
    """Base of this library's errors. They cross process boundaries as they are."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Without calling ``__init__`` again, which would word the message twice."""
        return rebuilt, (type(self), self.args, self.__dict__)


class KnowledgeClientError(KnowledgeError):
    """The caller can mend it."""


class KnowledgeServerError(KnowledgeError):
    """The caller cannot mend it."""


class DocumentUnreadable(KnowledgeClientError):
    """A file that cannot be turned into text. ``code`` is ``unsupported_file`` or ``invalid_file``, as OpenAI's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class VectorStoreNotFound(KnowledgeClientError):
    """No vector store of that name or id, or none that the caller may see."""

    param = "vector_store_id"


class TextRejected(KnowledgeClientError):
    """A model behind a URL refuses a text, and would refuse it again."""


class FilterInvalid(KnowledgeClientError):
    """A metadata filter that is not one. ``param`` is the place in it."""

    def __init__(self, message: str, *, param: str = "filters") -> None:
        super().__init__(f"`{param}`: {message}")
        self.param = param


class AttributesInvalid(KnowledgeClientError):
    """Metadata of a document that is outside the limits."""


class EmbedderUnavailable(KnowledgeServerError):
    """The embedding model cannot be loaded or reached."""


class DescriberUnavailable(KnowledgeServerError):
    """The model that writes a context for each passage cannot be reached."""


class RerankerUnavailable(KnowledgeServerError):
    """The reranking model cannot be loaded or reached."""


class IndexMismatch(KnowledgeServerError):
    """Vectors of one embedding model meet an index that another made: searching would give silent garbage."""


class IndexUnavailable(KnowledgeServerError):
    """The passage index cannot be reached, or refused an operation."""
