"""The token that processes of one installation present to each other."""

import hashlib
import hmac
import os
from typing import Literal

from serving.config import GatewayConfig
from serving.errors import AuthenticationFailed

Part = Literal["control", "knowledge"]
PARTS: tuple[Part, ...] = ("control", "knowledge")


class ServiceToken:
    """Admits the processes of this installation. Without ``tokens`` it admits everybody.

    Args:
        tokens: one, or several with white space between them, any of which is taken: so that one can follow another.
    """

    def __init__(self, tokens: str | None) -> None:
        self._digests = None if tokens is None else tuple(map(_digest, tokens.split()))

    def require(self, authorization: str | None) -> None:
        """Raises AuthenticationFailed for a header that does not carry the token."""
        if self._digests is None:
            return
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        # Every one is compared, each in constant time: how long it takes says nothing of any.
        known = [hmac.compare_digest(digest, given) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise AuthenticationFailed("This is for the gateway's own processes, which share a service token.")


def service_token(config: GatewayConfig) -> str | None:
    """What the environment holds: one token, or several with white space between; None where there is none."""
    return os.environ.get(config.services.token_env, "").strip() or None


def presented_token(config: GatewayConfig) -> str | None:
    """The one that this process presents to others: the first."""
    tokens = service_token(config)
    return None if tokens is None else tokens.split()[0]


def token_problem(config: GatewayConfig, part: Part | None = None) -> str | None:
    """One line where the token is needed and missing.

    A search names the labels that its caller may see. Whoever can send one without a token sees every document, so only
    an installation that asks nobody for a key, on a machine of its own, does without.

    Args:
        part: what this process runs alone; None for a gateway.
    """
    knowledge = config.services.knowledge
    if part == "knowledge":
        open_to_others = not config.server.is_loopback
    elif part is None and knowledge is not None:
        open_to_others = not knowledge.is_loopback
    else:
        return None
    if service_token(config) is not None or not (open_to_others or config.authentication_required):
        return None
    return (
        f"`services.token_env`: the environment variable {config.services.token_env} is not set; give gateways and the "
        "knowledge process the same long random text, such as `openssl rand -hex 32` prints"
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()
