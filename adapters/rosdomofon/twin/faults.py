"""What can go wrong on the way to the operator's REST, on command."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Way(StrEnum):
    """How a request fails."""

    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of a fault
    """Nothing is done: 401, and the token is good no more."""
    DENIED = "denied"
    """Nothing is done: 401, whatever the token."""
    NOT_DELIVERED = "not_delivered"
    """Of a message: 200 with ``success: false`` for every abonent; nobody gets it."""
    TOO_MANY = "too_many"
    """Nothing is done: 429 with Retry-After of a second."""
    UNAVAILABLE = "unavailable"
    """Nothing is done: 503."""
    BAD_GATEWAY = "bad_gateway"
    """Nothing is done: 502 with a page."""
    HANG_BEFORE = "hang_before"
    """Nothing is done, and no answer comes."""
    HANG_AFTER = "hang_after"
    """It is done, and no answer comes."""
    CUT_AFTER = "cut_after"
    """It is done, and the connection breaks in the answer."""
    ERROR_AFTER = "error_after"
    """It is done, and the answer is 500."""
    NOT_JSON = "not_json"
    """It is done; the answer is 200 with a page."""
    SLOW = "slow"
    """It is done, and answered ``seconds`` late."""


class Fault(BaseModel):
    """One in the plan. ``count``: how often at most, None for ever. ``calls``: as ``POST /messages``, empty for all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Way = Field(strict=False)
    rate: float = Field(default=1.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=0)
    calls: tuple[str, ...] = Field(default=(), strict=False)
    seconds: float = Field(default=60.0, ge=0, le=600)

    def befalls(self, calls: set[str]) -> bool:
        """Whether it is meant for a request of these calls."""
        return not self.calls or not calls.isdisjoint(self.calls)
