"""The leaky bucket by which a portal limits calls (docs/contracts/bitrix24.md#limits): the twin's, and the one that we
keep to."""

from __future__ import annotations

from collections.abc import Callable


class LeakyBucket:
    """Each call pours one unit in, ``drain_per_s`` flow out; what would overflow ``capacity`` is not let in."""

    def __init__(self, capacity: float, drain_per_s: float, clock: Callable[[], float]) -> None:
        self._capacity, self._drain, self._clock = capacity, drain_per_s, clock
        self._level, self._at = 0.0, clock()

    def take(self) -> bool:
        """Pour one in, if it fits."""
        self._leak()
        if self._level + 1 > self._capacity:
            return False
        self._level += 1
        return True

    def wait(self) -> float:
        """Seconds until one fits."""
        self._leak()
        return max(0.0, self._level + 1 - self._capacity) / self._drain

    def resize(self, capacity: float, drain_per_s: float) -> None:
        """From now on; a smaller one is full, as who has the rest may have filled it."""
        self._leak()
        if capacity < self._capacity:
            self._level = capacity
        self._capacity, self._drain = capacity, drain_per_s

    def overflow(self) -> None:
        """It is full and one more, whatever was counted: others pour in, too."""
        self._leak()
        self._level = self._capacity + 1

    def _leak(self) -> None:
        now = self._clock()
        self._level = max(0.0, self._level - (now - self._at) * self._drain)
        self._at = now
