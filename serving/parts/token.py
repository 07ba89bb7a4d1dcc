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
    """Admits the processes of this installation. Without ``token`` it admits everybody."""

    def __init__(self, token: str | None) -> None:
        self._digest = None if token is None else _digest(token)

    def require(self, authorization: str | None) -> None:
        """Raises AuthenticationFailed for a header that does not carry the token."""
        if self._digest is None:
            return
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(self._digest, _digest(token.strip())):
            raise AuthenticationFailed("This is for the gateway's own processes, which share a service token.")


def service_token(config: GatewayConfig) -> str | None:
    """The token, from the environment; None where there is none."""
    return os.environ.get(config.services.token_env, "").strip() or None


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
