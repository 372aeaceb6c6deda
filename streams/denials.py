"""Denials by an outside system: of one command alone, or of all. Where it does not say which, only the calls of
other commands show it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from schemas.errors import DeliveryDenied

LOOK_S: Final = 0.5
"""Seconds between looks at the results of other commands' calls."""
AGAIN_S: Final = 60.0
"""Seconds after which a command is tried again if other commands show nothing about its denial."""
ALL: Final = 5
"""Number of commands denied in a row, each of another key, that counts as a denial of all."""


class Denials:
    """Denials of one outside system. Each has a number, and calls that are carried out are counted: the two numbers
    give the order of events. A right may be taken away while calls are under way, so a success alone shows little.
    """

    def __init__(self) -> None:
        self.count = 0
        """Number of the last denial."""
        self.carried_out = 0
        """Calls that were carried out."""
        self._alone = 0
        """Number of the last denial after which a call began that was carried out."""
        self._in_a_row: set[int] = set()
        """Numbers of the denials of commands that still wait; those of one key follow each other, so each has another
        key.
        """

    @property
    def are_all(self) -> bool:
        return len(self._in_a_row) >= ALL

    def add(self) -> int:
        """Count a denial. Returns its number."""
        self.count += 1
        self._in_a_row.add(self.count)
        return self.count

    def answered(self, begun: int) -> None:
        """Note a call that was carried out, which began when ``begun`` was the count."""
        self._alone = max(self._alone, begun)
        self._in_a_row.clear()
        self.carried_out += 1

    def is_alone(self, number: int, carried_out: int) -> bool:
        """Returns whether others are carried out: in calls that began later, or, unless many were denied together
        since, later than ``carried_out`` were.
        """
        return number <= self._alone or (self.carried_out > carried_out and not self.are_all)

    def settle(self, number: int) -> None:
        """Forget a denial: its command waits no longer."""
        self._in_a_row.discard(number)


class Doubt:
    """Doubt about one command: whether it is denied alone. It is if others are carried out and it is denied again:
    rights may have changed between their calls and its first one.
    """

    def __init__(self, denials: Denials, sleep: Callable[[float], Awaitable[None]], before: bool) -> None:
        """``before`` means that it was parked as one that is denied alone."""
        self._denials, self._sleep, self._once = denials, sleep, before
        self._others = -1 if before else denials.carried_out

    def begin(self) -> None:
        """Note that the command is tried."""
        if not self._once:
            self._others = self._denials.carried_out

    async def is_alone(self, number: int, waits: Callable[[float], None]) -> bool:
        """Returns whether the command is denied alone after denial ``number``; False means that it is to be tried
        again. ``waits`` is called with the seconds that it has waited.
        """
        before, self._once, waited = self._once, False, 0.0
        try:
            while waited < AGAIN_S and not self._once:
                await self._sleep(LOOK_S)
                waited += LOOK_S
                self._once = self._denials.is_alone(number, self._others)
                if not self._once:
                    waits(waited)
        finally:
            self._denials.settle(number)
        return before and self._once


def alone(error: DeliveryDenied) -> DeliveryDenied:
    """Returns the error of a command that is denied alone, as a person finds it among parked commands."""
    hint = "Others are carried out. Give us the right to this one, then `kounter parked retry`; or `drop` it."
    return DeliveryDenied(error.message, hint=hint)
