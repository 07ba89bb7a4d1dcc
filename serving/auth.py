"""Who calls, and what they may use."""

import hashlib
import hmac
from dataclasses import dataclass

from retrieval.types import Access
from serving.config import ApiKey, GatewayConfig
from serving.errors import AuthenticationFailed, PermissionDenied

_EVERYTHING = "*"
_VERSIONS = "@*"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    name: str
    models: frozenset[str]
    admin: bool = False
    labels: frozenset[str] = frozenset()
    writes_knowledge: bool = False

    @property
    def access(self) -> Access:
        """Which documents the caller may see."""
        return Access(self.labels, everything=self.admin)

    def may_use(self, model: str) -> bool:
        """Whether the caller may use the public name ``model``.

        A name grants itself alone: a key for the task ``triage`` cannot reach ``triage@3f9a1c2e`` and with it
        the adapter without the task's system prompt and contract. ``triage@*`` grants every version of an adapter,
        ``*`` everything, and an administrator needs no list.
        """
        if self.admin or _EVERYTHING in self.models or model in self.models:
            return True
        adapter, at, _ = model.partition("@")
        return bool(at) and adapter + _VERSIONS in self.models

    def require(self, model: str) -> None:
        """Raises PermissionDenied unless the caller may use ``model``."""
        if not self.may_use(model):
            raise PermissionDenied(f"Your API key may not use the model `{model}`.", param="model")

    def require_writer(self) -> None:
        """Raises PermissionDenied unless the caller may upload files and change vector stores."""
        if not (self.admin or self.writes_knowledge):
            raise PermissionDenied("This needs an API key with `writes_knowledge`.")

    def require_admin(self) -> None:
        """Raises PermissionDenied unless the caller may administer the gateway."""
        if not self.admin:
            raise PermissionDenied("This needs an API key with the admin role.")


ANYONE = Caller("anonymous", frozenset({_EVERYTHING}), admin=True)
"""The caller where authentication is off."""

SCRAPER = Caller("metrics", frozenset())
"""Whoever presents the token for the metrics: it opens nothing else."""


class Authenticator:
    """Knows the configured keys by their hashes.

    Args:
        metrics_token: what scrapers present; several have white space between them, so that one can follow another.
            None where they have no token of their own.
    """

    def __init__(self, config: GatewayConfig, *, metrics_token: str | None = None) -> None:
        tokens = None if metrics_token is None else metrics_token.split()
        self._metrics_tokens = None if tokens is None else [hashlib.sha256(one.encode()).digest() for one in tokens]
        self._required = config.authentication_required
        self._keys: dict[bytes, Caller] = {}
        for key in config.api_keys:
            caller = Caller(
                key.name, frozenset(key.models), key.admin, frozenset(key.labels), writes_knowledge=key.writes_knowledge
            )
            self._keys.setdefault(_configured_digest(key), caller)

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller that an ``Authorization`` header stands for.

        Raises:
            AuthenticationFailed: keys are required, and the header is missing, malformed or of an unknown key.
        """
        if not self._required:
            return ANYONE
        if not authorization:
            raise AuthenticationFailed(
                "You didn't provide an API key. Send it in the header `Authorization: Bearer YOUR_KEY`."
            )
        digest = _presented(authorization)
        if digest is None:
            raise AuthenticationFailed("The Authorization header must be `Bearer YOUR_KEY`.")
        caller = self._find(digest)
        if caller is None:
            raise AuthenticationFailed("Incorrect API key provided.")
        return caller

    def admit_scraper(self, authorization: str | None) -> Caller:
        """Who reads the metrics: somebody with the scrapers' token, or an administrator.

        Raises:
            AuthenticationFailed: neither is presented. Where there is a token, also on an address without keys.
            PermissionDenied: the key is known, and not an administrator's.
        """
        if self._metrics_tokens is not None:
            digest = _presented(authorization or "")
            known = [digest is not None and hmac.compare_digest(token, digest) for token in self._metrics_tokens]
            if any(known):
                return SCRAPER
            if not self._required:
                raise AuthenticationFailed("The metrics need the token of `metrics.token_env`.")
        caller = self.authenticate(authorization)
        caller.require_admin()
        return caller

    def _find(self, digest: bytes) -> Caller | None:
        """Every known hash is compared, each in constant time: how long it takes says nothing of any key."""
        found: Caller | None = None
        for known, caller in self._keys.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _presented(authorization: str) -> bytes | None:
    """The hash of the key in a header `Bearer KEY`; None for any other header."""
    scheme, _, key = authorization.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        return None
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()


def _configured_digest(key: ApiKey) -> bytes:
    return bytes.fromhex(key.hash.removeprefix("sha256:"))
