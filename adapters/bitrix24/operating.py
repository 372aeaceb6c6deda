"""The time that a portal works for us, which it limits for each method (contracts §1, Limits)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LIMIT_S: Final = 480.0
NEAR: Final = 0.95
"""Of the limit: from there on we wait, as the portal rounds and counts for itself."""
SLOT_S: Final = 60
SLOTS: Final = 10
BLOCKED_S: Final = 60.0
"""If the portal does not say until when."""


@dataclass
class _Used:
    """Of one method: seconds by slot, calls under way, the last known cost of one, until when it must not be called."""

    slots: dict[int, float] = field(default_factory=dict)
    under_way: int = 0
    cost: float = 0.0
    resets_at: float = 0.0
    blocked_until: float = 0.0


class OperatingTime:
    """Of all methods of one client."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: epoch seconds."""
        self._clock = clock
        self._methods: dict[str, _Used] = defaultdict(_Used)

    def wait(self, method: str) -> float:
        """Seconds until the method may be called; 0: now."""
        used, now = self._methods[method], self._clock()
        if used.blocked_until > now:
            return used.blocked_until - now
        if _total(used, now) + used.cost * (used.under_way + 1) < LIMIT_S * NEAR:
            return 0.0
        first = min(used.slots, default=None)
        return 0.0 if first is None else max(1.0, (first + SLOTS) * SLOT_S - now)

    def begin(self, method: str) -> None:
        """A call is under way."""
        self._methods[method].under_way += 1

    def end(self, method: str) -> None:
        """It is not any more, whatever became of it."""
        self._methods[method].under_way -= 1

    def learn(self, method: str, times: Any) -> None:
        """From the ``time`` of an answer: what the call took, and when its slot is forgotten."""
        if not isinstance(times, Mapping):
            return
        used, now = self._methods[method], self._clock()
        operating, reset = _number(times.get("operating")), _number(times.get("operating_reset_at"))
        if reset:
            used.resets_at = reset
        if operating:
            slot = int(now // SLOT_S)
            used.slots[slot] = used.slots.get(slot, 0.0) + operating
            used.cost = operating

    def blocked(self, method: str, seconds: float | None) -> float:
        """The portal has blocked it, for as long as it said or as we know. Returns for how many seconds."""
        used, now = self._methods[method], self._clock()
        if seconds is None:
            seconds = max(1.0, used.resets_at - now) if used.resets_at else BLOCKED_S
        used.blocked_until = now + seconds
        return seconds


def _total(used: _Used, now: float) -> float:
    oldest = int(now // SLOT_S) - SLOTS + 1
    used.slots = {slot: seconds for slot, seconds in used.slots.items() if slot >= oldest}
    return sum(used.slots.values())


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
