"""The gateway's own errors, and the one table that maps every error class to an OpenAI answer."""

from dataclasses import dataclass
from typing import Any

from adapters import errors as adapter_errors
from retrieval import errors as knowledge_errors
from serving.engine import protocol as engine


class GatewayError(Exception):
    """Base of the gateway's own errors."""

    param: str | None = None


class GatewayClientError(GatewayError):
    """The caller can mend it."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class GatewayServerError(GatewayError):
    """The caller cannot mend it."""


class ConfigInvalid(GatewayClientError):
    """The configuration file does not describe a gateway."""


class InvalidRequest(GatewayClientError):
    """The body is not a request that the API defines."""


class InvalidJson(GatewayClientError):
    """The body is not JSON."""


class BodyTooLarge(GatewayClientError):
    """The body is larger than ``server.max_body_bytes``."""


class UnsupportedMediaType(GatewayClientError):
    """The body is said to be something other than JSON."""


class ModelNotFound(GatewayClientError):
    """No task, alias, version or base model has that name, or the caller may not know of it."""

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model}` does not exist or you do not have access to it.", param="model")


class RouteNotFound(GatewayClientError):
    """No such URL."""


class ResponseNotStored(GatewayClientError):
    """A response was asked for by its id; the gateway keeps none."""


class ObjectNotFound(GatewayClientError):
    """No file, batch or file in a store of that id, or not for this caller."""


class ReplicaNotFound(GatewayClientError):
    """No replica of that name reported lately."""


class JobConflict(GatewayClientError):
    """The fine-tuning job is in a state that does not allow this."""


class MethodNotAllowed(GatewayClientError):
    """The URL exists; the method does not."""

    def __init__(self, message: str, *, allow: str = "") -> None:
        super().__init__(message)
        self.allow = allow
        """The methods that exist, as the header ``Allow`` lists them."""


class AuthenticationFailed(GatewayClientError):
    """No key, or a key that nobody knows."""

    def __init__(self, message: str, *, challenge: str = "Bearer") -> None:
        super().__init__(message)
        self.challenge = challenge
        """How to authenticate, as the header ``WWW-Authenticate`` says it."""


class PermissionDenied(GatewayClientError):
    """The key is known and may not do this."""


class Overloaded(GatewayClientError):
    """More requests in progress than the limits allow."""


class NotReady(GatewayServerError):
    """Nothing can answer now; it is worth trying again."""


class RetrievalUnavailable(GatewayServerError):
    """The model answers from documents, and retrieval cannot be reached."""


class AuditUnavailable(GatewayServerError):
    """The change cannot be recorded in the audit log, and so is not made."""


class ExaminationFailed(GatewayServerError):
    """The suite or the gate could not be run against a candidate."""


class GenerationTimedOut(GatewayServerError):
    """The generation took longer than ``server.request_timeout_s``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an error class is told to a client."""

    status: int
    type: str
    code: str
    retry_after_s: int | None = None


_INVALID = "invalid_request_error"

ERROR_TABLE: dict[type[Exception], Answer] = {
    ConfigInvalid: Answer(400, _INVALID, "invalid_config"),
    InvalidRequest: Answer(400, _INVALID, "invalid_request"),
    InvalidJson: Answer(400, _INVALID, "invalid_json"),
    BodyTooLarge: Answer(413, _INVALID, "body_too_large"),
    UnsupportedMediaType: Answer(415, _INVALID, "unsupported_content_type"),
    ModelNotFound: Answer(404, _INVALID, "model_not_found"),
    RouteNotFound: Answer(404, _INVALID, "unknown_url"),
    ResponseNotStored: Answer(404, _INVALID, "response_not_found"),
    ObjectNotFound: Answer(404, _INVALID, "not_found"),
    ReplicaNotFound: Answer(404, _INVALID, "replica_not_found"),
    JobConflict: Answer(409, _INVALID, "job_conflict"),
    MethodNotAllowed: Answer(405, _INVALID, "method_not_allowed"),
    AuthenticationFailed: Answer(401, _INVALID, "invalid_api_key"),
    PermissionDenied: Answer(403, "permission_error", "permission_denied"),
    Overloaded: Answer(429, "rate_limit_error", "overloaded", retry_after_s=1),
    NotReady: Answer(503, "server_error", "not_ready", retry_after_s=2),
    RetrievalUnavailable: Answer(503, "server_error", "retrieval_unavailable", retry_after_s=2),
    AuditUnavailable: Answer(503, "server_error", "audit_unavailable", retry_after_s=30),
    ExaminationFailed: Answer(500, "server_error", "examination_failed"),
    GenerationTimedOut: Answer(504, "server_error", "timeout"),
    GatewayClientError: Answer(400, _INVALID, "invalid_request"),
    GatewayServerError: Answer(500, "server_error", "internal_error"),
    engine.EngineRejected: Answer(400, _INVALID, "invalid_request"),
    engine.EngineFailed: Answer(500, "server_error", "engine_failed"),
    engine.EngineUnavailable: Answer(503, "server_error", "engine_unavailable", retry_after_s=2),
    engine.EngineAdapterError: Answer(503, "server_error", "adapter_unavailable", retry_after_s=2),
    adapter_errors.AdapterRejected: Answer(400, _INVALID, "adapter_rejected"),
    adapter_errors.SourceUnavailable: Answer(400, _INVALID, "source_unavailable"),
    adapter_errors.VersionNotFound: Answer(404, _INVALID, "version_not_found"),
    adapter_errors.AliasNotFound: Answer(404, _INVALID, "alias_not_found"),
    adapter_errors.RolloutConflict: Answer(409, _INVALID, "rollout_conflict"),
    adapter_errors.LoadFailed: Answer(503, "server_error", "adapter_load_failed", retry_after_s=5),
    adapter_errors.PoolSaturated: Answer(503, "server_error", "adapter_pool_saturated", retry_after_s=2),
    adapter_errors.ArtifactCorrupt: Answer(500, "server_error", "artifact_corrupt"),
    adapter_errors.BaseModelUnreadable: Answer(500, "server_error", "base_model_unreadable"),
    adapter_errors.StoreUnavailable: Answer(503, "server_error", "store_unavailable", retry_after_s=5),
    adapter_errors.CatalogUnavailable: Answer(503, "server_error", "catalog_unavailable", retry_after_s=5),
    knowledge_errors.DocumentUnreadable: Answer(400, _INVALID, "invalid_file"),
    knowledge_errors.VectorStoreNotFound: Answer(404, _INVALID, "vector_store_not_found"),
    knowledge_errors.TextRejected: Answer(400, _INVALID, "text_rejected"),
    knowledge_errors.FilterInvalid: Answer(400, _INVALID, "invalid_filter"),
    knowledge_errors.AttributesInvalid: Answer(400, _INVALID, "invalid_attributes"),
    knowledge_errors.EmbedderUnavailable: Answer(503, "server_error", "embedder_unavailable", retry_after_s=5),
    knowledge_errors.DescriberUnavailable: Answer(503, "server_error", "describer_unavailable", retry_after_s=5),
    knowledge_errors.RerankerUnavailable: Answer(503, "server_error", "reranker_unavailable", retry_after_s=5),
    knowledge_errors.IndexMismatch: Answer(500, "server_error", "index_mismatch"),
    knowledge_errors.IndexUnavailable: Answer(503, "server_error", "index_unavailable", retry_after_s=5),
    Exception: Answer(500, "server_error", "internal_error"),
}
"""Looked up along the class's method resolution order: the nearest row wins."""


def answer_for(error: BaseException) -> Answer:
    """The row for ``error``. An engine's refusal and what is wrong with an adapter or a file keep their own code."""
    row = next(ERROR_TABLE[cls] for cls in type(error).__mro__ if cls in ERROR_TABLE)
    if isinstance(error, engine.EngineRejected):
        return Answer(error.status, error.type, error.code or row.code)
    if isinstance(error, adapter_errors.AdapterRejected | knowledge_errors.DocumentUnreadable):
        return Answer(row.status, row.type, error.code)
    return row


def error_body(error: BaseException) -> dict[str, Any]:
    """The OpenAI envelope. An unexpected error says nothing of its inside."""
    row = answer_for(error)
    expected = next(cls for cls in type(error).__mro__ if cls in ERROR_TABLE) is not Exception
    message = str(error) if expected else "The server had an error while processing your request."
    return {
        "error": {
            "message": message,
            "type": row.type,
            "param": getattr(error, "param", None),
            "code": row.code,
        }
    }
