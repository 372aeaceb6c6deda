"""What can go wrong on the way to the operator's REST, on command."""

from __future__ import annotations

import random
from collections import Counter
from enum import StrEnum
from typing import Any

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


class Faults:
    """The plan. The first fault whose dice fall is taken; the dice are seeded, so a run can be repeated."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self.fired: Counter[str] = Counter()
        self.plan()

    def plan(self, *faults: Fault) -> None:
        """A new plan in place of the old; none: all works."""
        self._plan, self._dice = list(faults), random.Random(self._seed)

    def draw(self, call: str) -> Fault | None:
        """What befalls this call."""
        for fault in self._plan:
            if (fault.calls and call not in fault.calls) or fault.count == 0 or self._dice.random() >= fault.rate:
                continue
            if fault.count is not None:
                fault.count -= 1
            self.fired[fault.kind] += 1
            return fault
        return None

    def as_list(self) -> list[dict[str, Any]]:
        """The plan as JSON."""
        return [fault.model_dump(mode="json") for fault in self._plan]
