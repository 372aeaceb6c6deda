"""What can go wrong on the way to a portal, on command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adapters.bitrix24.twin.errors import SYSTEM


class Way(StrEnum):
    """How a call fails. Any code of `SYSTEM` may stand in its place: answered before anything is done."""

    HANG_BEFORE = "hang_before"
    """Nothing is done, and no answer comes."""
    HANG_AFTER = "hang_after"
    """It is done, and no answer comes."""
    CUT_AFTER = "cut_after"
    """It is done, and the connection breaks in the answer."""
    ERROR_AFTER = "error_after"
    """It is done, and the answer is 500 INTERNAL_SERVER_ERROR."""
    BAD_GATEWAY = "bad_gateway"
    """Nothing is done; a proxy answers 502 with a page."""
    NOT_JSON = "not_json"
    """It is done; the answer is 200 with a page."""
    SLOW = "slow"
    """It is done, and answered ``seconds`` late."""
    LATE = "late"
    """It is done ``seconds`` late, whether the client still waits for it or not."""


MOST_SECONDS: Final = 600.0
KINDS: Final = frozenset({*Way, *SYSTEM})


@dataclass
class Fault:
    """One in the plan. ``count``: how often at most, None for ever. ``methods``: empty for all."""

    kind: str
    rate: float = 1.0
    count: int | None = None
    methods: tuple[str, ...] = ()
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: one of {', '.join(sorted(KINDS))}")
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float) or not 0 <= self.rate <= 1:
            raise ValueError("rate: a number from 0 to 1")
        if self.count is not None and (isinstance(self.count, bool) or not isinstance(self.count, int)):
            raise ValueError("count: a whole number or null")
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds <= MOST_SECONDS:
            raise ValueError(f"seconds: a number from 0 to {MOST_SECONDS:.0f}")
        if isinstance(self.methods, str) or not all(isinstance(m, str) for m in self.methods):
            raise ValueError("methods: a list of names")
        self.methods = tuple(m.lower() for m in self.methods)

    def befalls(self, calls: set[str]) -> bool:
        """Whether it is meant for a request that calls these methods."""
        return not self.methods or not calls.isdisjoint(self.methods)
