"""Callers and their scopes: one port that turns a bearer token into a caller, and the check of each route."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Any, Final, NamedTuple, Protocol

from fastapi import HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from pydantic import SecretStr

READ: Final = "read"
"""Scope of all reads: states, lists, timelines, users."""
WRITE_USERS: Final = "users:write"
"""Scope of creating and changing users."""
WRITE_ESTATE: Final = "estate:write"
"""Scope of pushing the developer's changes."""
BEARER: Final = HTTPBearer(
    auto_error=False,
    description=f"A token with the scope that the operation names: `{READ}`, `{WRITE_USERS}` or `{WRITE_ESTATE}`.",
)


class Caller(NamedTuple):
    """The sender of a request."""

    name: str
    """The subject of the token."""
    scopes: frozenset[str] | None
    """Scopes of the caller; None: all scopes."""

    def may(self, scope: str) -> bool:
        """Returns whether the caller has a scope."""
        return self.scopes is None or scope in self.scopes


class Tokens(Protocol):
    """Port that finds callers by their tokens."""

    async def caller(self, token: bytes) -> Caller | None:
        """Returns the caller of a token, given as raw bytes; None for an unknown or expired token. Raises KounterError
        if the check is impossible now, which is answered with 503."""


class StaticToken:
    """The one token of the settings, whose bearer has all scopes."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def caller(self, token: bytes) -> Caller | None:
        """Returns the bearer. Digests are compared in constant time, so that not even the length leaks."""
        wanted = self._token.get_secret_value().encode()
        is_it = hmac.compare_digest(hashlib.sha256(token).digest(), hashlib.sha256(wanted).digest())
        return Caller("token", None) if is_it else None


def guards(tokens: Tokens | None, scope: str) -> list[Any]:
    """Returns the dependencies of a route that needs ``scope``, which also document it; empty if no token is needed."""
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
    """Returns the HTTP statuses with which `guards` refuse, for the documentation of a route."""
    return () if tokens is None else (401, 403)
