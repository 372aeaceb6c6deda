"""The operating time that a portal spends on our calls and limits for each method
(docs/contracts/bitrix24.md#limits)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LIMIT_S: Final = 480.0
NEAR: Final = 0.95
"""Share of the limit from which calls wait, as the portal rounds and counts by itself."""
SLOT_S: Final = 60
SLOTS: Final = 10
WINDOW_S: Final = float(SLOT_S * SLOTS)
SHARE: Final = 0.1
"""Weight of the newest call in the mean cost of one."""
SETTLE_S: Final = 1.0
"""Seconds to wait while the calls in flight may use up the rest."""
BLOCKED_S: Final = 60.0
"""Seconds of a block without a time."""


@dataclass
class _Used:
    """The used time of one method, in seconds."""

    slots: dict[int, float] = field(default_factory=dict)
    """Time that our own calls took, by the minute."""
    told: float = 0.0
    """Time that the portal has counted for all clients of the webhook."""
    resets_at: float = 0.0
    """Time at which the portal forgets the oldest part, by our clock; 0 if it never sent one."""
    blocked_until: float = 0.0
    under_way: int = 0
    cost: float = 0.0
    """Mean time of one call."""


class OperatingTime:
    """The used time of all methods of one client.

    ``time.operating`` is the portal's running sum of ten minutes: in the documented answers it is above the
    ``duration`` of the call. Our own sum covers portals where it is the time of the call alone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: seconds of a monotonic clock."""
        self._clock = clock
        self._methods: dict[str, _Used] = defaultdict(_Used)

    def wait(self, method: str) -> float:
        """Return the seconds until the method may be called; 0 means now."""
        used, now = self._methods[method], self._clock()
        own, told = _total(used, now), used.told if now < used.resets_at else 0.0
        if used.blocked_until > now:
            return used.blocked_until - now
        if told >= LIMIT_S * NEAR:
            return max(1.0, used.resets_at - now)
        if own >= LIMIT_S * NEAR:
            return max(1.0, (min(used.slots) + SLOTS) * SLOT_S - now)
        if used.under_way and max(own, told) + used.cost * (used.under_way + 1) >= LIMIT_S * NEAR:
            return SETTLE_S
        return 0.0

    def begin(self, method: str) -> None:
        """Count a call in flight."""
        self._methods[method].under_way += 1

    def end(self, method: str) -> None:
        """Count a call as ended, answered or not."""
        self._methods[method].under_way -= 1

    def learn(self, method: str, times: Any) -> None:
        """Take over the ``time`` of an answer."""
        if not isinstance(times, Mapping):
            return
        used, now = self._methods[method], self._clock()
        if reset := _number(times.get("operating_reset_at")):
            said_at = _number(times.get("finish")) or time.time()  # the portal's own clock may differ from ours
            used.resets_at = now + min(max(0.0, reset - said_at), WINDOW_S)
        used.told = _number(times.get("operating"))
        spent = min(used.told, _number(times.get("duration")))
        if spent > 0:
            slot = int(now // SLOT_S)
            used.slots[slot] = used.slots.get(slot, 0.0) + spent
            used.cost += (spent - used.cost) * (SHARE if used.cost else 1.0)

    def blocked(self, method: str, seconds: float | None) -> float:
        """Record that the portal has blocked a method, for ``seconds`` if it named them. Return the seconds to wait."""
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
