"""The two limits of a portal: calls in a leaky bucket, and operating time a method in ten minutes
(docs/contracts/bitrix24.md#limits)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

WINDOW_S: Final = 600
SLOT_S: Final = 60


@dataclass(frozen=True)
class Limits:
    """The limits of an ordinary portal: requests, requests a second, seconds in ten minutes."""

    enabled: bool = True
    capacity: int = 50
    drain_per_s: float = 2.0
    operating_s: float = 480.0
    operating_cost_s: float = 0.0
    """Seconds that are charged for each method call beside its time: the twin is much faster than a portal."""

    def __post_init__(self) -> None:
        if not (self.capacity >= 1 and self.drain_per_s > 0 and self.operating_s > 0 and self.operating_cost_s >= 0):
            raise ValueError("capacity ≥ 1, drain_per_s > 0, operating_s > 0, operating_cost_s ≥ 0")


class Bucket:
    """A leaky bucket, kept as the time at which it is empty. It is separate from the client's (see the twin's
    `php_form`)."""

    def __init__(self, capacity: float, drain_per_s: float) -> None:
        self._spacing_s = 1 / drain_per_s
        self._full_s = capacity / drain_per_s + 1e-9
        self._empty_at = -math.inf

    def admit(self, now: float) -> bool:
        """Return whether a call at this moment (seconds) fits; it is counted then."""
        empty_at = max(self._empty_at, now) + self._spacing_s
        if empty_at - now > self._full_s:
            return False
        self._empty_at = empty_at
        return True


@dataclass
class OperatingTime:
    """Seconds that one method has used, in slots of a minute."""

    slots: dict[int, float] = field(default_factory=dict)

    def total(self, now: float) -> float:
        """Return the seconds of the last ten minutes."""
        oldest = int(now // SLOT_S) - WINDOW_S // SLOT_S + 1
        self.slots = {slot: used for slot, used in self.slots.items() if slot >= oldest}
        return sum(self.slots.values())

    def reset_at(self, now: float) -> int:
        """Return the epoch second at which the oldest slot ends; ten minutes from now if there is none."""
        first = min(self.slots, default=int(now // SLOT_S))
        return math.ceil((first + WINDOW_S // SLOT_S) * SLOT_S)


class Gatekeeper:
    """The counts of requests and operating time."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.set(limits)

    def set(self, limits: Limits) -> None:
        """Set new limits, with all counts at zero."""
        self.limits = limits
        self._buckets: dict[str, Bucket] = {}
        self.refused = 0
        """Number of requests that were refused for the rate."""
        self._operating: dict[str, OperatingTime] = defaultdict(OperatingTime)

    def let_in(self, address: str) -> bool:
        """Return whether a request from this address still fits; a batch is one request."""
        if not self.limits.enabled:
            return True
        fresh = Bucket(self.limits.capacity, self.limits.drain_per_s)
        let_in = self._buckets.setdefault(address, fresh).admit(self._clock())
        self.refused += not let_in
        return let_in

    def blocked(self, method: str) -> bool:
        """Return whether the method has used up its operating time."""
        return self.limits.enabled and self._operating[method].total(self._clock()) >= self.limits.operating_s

    def charge(self, method: str, seconds: float) -> dict[str, float]:
        """Count the time of a call, each inner call of a batch by itself. Return it as the ``time`` of the answer.

        ``operating`` is the sum so far: the documentation's samples show more than the call's own ``duration``.
        """
        now, used = self._clock(), self._operating[method]
        charged, slot = seconds + self.limits.operating_cost_s, int(now // SLOT_S)
        used.slots[slot] = used.slots.get(slot, 0.0) + charged
        return {"operating": round(used.total(now), 6), "operating_reset_at": used.reset_at(now)}

    def reset_at(self, method: str) -> int:
        """Return the epoch second at which a blocked method has some time again."""
        return self._operating[method].reset_at(self._clock())

    def as_dict(self) -> dict[str, object]:
        """Return the limits as JSON."""
        return asdict(self.limits)
