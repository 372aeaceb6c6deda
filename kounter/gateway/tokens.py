"""Who asks, and what they may: one port that turns a bearer token into a caller, and the check of each route."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Any, Final, NamedTuple, Protocol

from fastapi import HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from pydantic import SecretStr

READ: Final = "read"
"""Scope of all that only shows: states, lists, timelines, users."""
WRITE_USERS: Final = "users:write"
"""Scope of creating and changing users."""
BEARER: Final = HTTPBearer(
    auto_error=False, description=f"A token with the scope that the operation names: `{READ}` or `{WRITE_USERS}`."
)


class Caller(NamedTuple):
    """Whoever sent a request."""

    name: str
    """The subject of the token."""
    scopes: frozenset[str] | None
    """What the caller may; None: all there is."""

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return self.scopes is None or scope in self.scopes


class Tokens(Protocol):
    """Knows the callers by their tokens."""

    async def caller(self, token: bytes) -> Caller | None:
        """The caller of a token, whose bytes are as they came; None if it is of nobody, or not valid any more. Raises
        KounterError if that can't be found out now, which is answered with 503."""


class StaticToken:
    """The one token of the settings, whose bearer may do all."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def caller(self, token: bytes) -> Caller | None:
        """The bearer. Compared by digests in constant time, so that not even the length shows."""
        wanted = self._token.get_secret_value().encode()
        is_it = hmac.compare_digest(hashlib.sha256(token).digest(), hashlib.sha256(wanted).digest())
        return Caller("token", None) if is_it else None


def guards(tokens: Tokens | None, scope: str) -> list[Any]:
    """The dependencies of a route that asks for ``scope``, for its documentation too; none if no token is asked for."""
    if tokens is None:
        return []

    async def check(
        asked: SecurityScopes, given: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
    ) -> Caller:
        if given is None:
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        caller = await tokens.caller(given.credentials.encode("latin-1"))  # the bytes that came
        if caller is None:
            raise HTTPException(401, "the token is not valid", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if missing := [scope for scope in asked.scopes if not caller.may(scope)]:
            said = f'Bearer error="insufficient_scope", scope="{" ".join(asked.scopes)}"'
            raise HTTPException(403, f"the token lacks the scope {', '.join(missing)}", {"WWW-Authenticate": said})
        return caller

    return [Security(check, scopes=[scope])]


def refusals(tokens: Tokens | None) -> tuple[int, ...]:
    """The statuses by which `guards` refuse, for the documentation of a route."""
    return () if tokens is None else (401, 403)
