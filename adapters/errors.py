"""Everything that this library raises.

AdapterError
├── AdapterClientError            the caller can mend it
│   ├── AdapterRejected           an artifact that must not be served (one sentence names the cause)
│   ├── SourceUnavailable         the place an adapter should come from cannot be read
│   ├── VersionNotFound           no such version
│   ├── AliasNotFound             no such alias
│   └── RolloutConflict           the catalog's state does not allow the change
└── AdapterServerError            ours to mend
    ├── LoadFailed                the engine could not load a version that passed validation
    ├── PoolSaturated             every place is taken by a version in use or pinned
    ├── ArtifactCorrupt           a stored artifact no longer has the digest in its name
    ├── BaseModelUnreadable       the base checkpoint's headers cannot be read
    ├── StoreUnavailable          the artifact store or the disk cache cannot be read or written
    └── CatalogUnavailable        the state database cannot be reached
"""


class AdapterError(Exception):
    """Base of this library's errors. ``code`` is stable and machine-readable."""

    code = "adapter_error"


class AdapterClientError(AdapterError):
    """The caller can mend it."""


class AdapterServerError(AdapterError):
    """The caller cannot mend it."""


class AdapterRejected(AdapterClientError):
    """An artifact that must never serve. ``code`` names the cause, such as ``rank_too_large``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["AdapterRejected"], tuple[str, str]]:
        return type(self), (self.code, str(self))


class SourceUnavailable(AdapterClientError):
    """The folder, hub id or URL that an adapter should come from cannot be read."""

    code = "source_unavailable"


class VersionNotFound(AdapterClientError):
    """No such adapter version."""

    code = "version_not_found"


class AliasNotFound(AdapterClientError):
    """No such alias."""

    code = "alias_not_found"


class RolloutConflict(AdapterClientError):
    """The catalog's present state does not allow the change that was asked for."""

    code = "rollout_conflict"


class LoadFailed(AdapterServerError):
    """The engine could not load a version that had passed validation."""

    code = "adapter_load_failed"


class PoolSaturated(AdapterServerError):
    """No place came free in time: every version held is in use or pinned."""

    code = "adapter_pool_saturated"


class ArtifactCorrupt(AdapterServerError):
    """A stored artifact no longer matches the digest that names it."""

    code = "artifact_corrupt"


class BaseModelUnreadable(AdapterServerError):
    """The base checkpoint's configuration or headers cannot be read, so that no adapter can be checked against it."""

    code = "base_model_unreadable"


class StoreUnavailable(AdapterServerError):
    """The artifact store or the disk cache cannot be read or written."""

    code = "store_unavailable"


class CatalogUnavailable(AdapterServerError):
    """The state database cannot be reached or is of a newer schema."""

    code = "catalog_unavailable"
