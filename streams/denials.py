"""Whom an outside system denies: one thing alone, or all. Only the others' calls show it, where it does not say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from schemas.errors import DeliveryDenied

LOOK_S: Final = 0.5
"""Between looks at what becomes of the others' calls."""
AGAIN_S: Final = 60.0
"""After which a command is tried again, of which the others show nothing."""
ALL: Final = 5
"""So many commands denied in a row, each of another key: all are."""


class Denials:
    """Of one outside system. Each has a number, and what is carried out is counted: by both it is seen what came before
    what. A right may be taken away while calls are under way, so a success alone shows little."""

    def __init__(self) -> None:
        self.count = 0
        """The number of the last one."""
        self.carried_out = 0
        """Calls."""
        self._alone = 0
        """The last denial after which a call began that was carried out."""
        self._in_a_row: set[int] = set()
        """Of commands that still wait; those of one key follow each other, so each is another key's."""

    @property
    def are_all(self) -> bool:
        return len(self._in_a_row) >= ALL

    def add(self) -> int:
        """One more. Returns its number."""
        self.count += 1
        self._in_a_row.add(self.count)
        return self.count

    def answered(self, begun: int) -> None:
        """A call was carried out, which began when ``begun`` was the count."""
        self._alone = max(self._alone, begun)
        self._in_a_row.clear()
        self.carried_out += 1

    def is_alone(self, number: int, carried_out: int) -> bool:
        """Others are carried out: in calls that began later, or, unless many were denied together since, later than
        ``carried_out`` were."""
        return number <= self._alone or (self.carried_out > carried_out and not self.are_all)

    def settle(self, number: int) -> None:
        """Its command waits no longer."""
        self._in_a_row.discard(number)


class Doubt:
    """Of one command: whether it is denied alone. It is if others are carried out, and it is denied once more: rights
    may have changed between their calls and its first one."""

    def __init__(self, denials: Denials, sleep: Callable[[float], Awaitable[None]], before: bool) -> None:
        """``before``: it was parked as one that is denied alone."""
        self._denials, self._sleep, self._once = denials, sleep, before
        self._others = -1 if before else denials.carried_out

    def begin(self) -> None:
        """It is tried."""
        if not self._once:
            self._others = self._denials.carried_out

    async def is_alone(self, number: int, waits: Callable[[float], None]) -> bool:
        """After denial ``number``. False: it is to be tried again. ``waits`` is told for how long it has waited."""
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
    """The error of a command that is denied alone, as a person finds it among what is parked."""
    hint = "Others are carried out. Give us the right to this one, then `kounter parked retry`; or `drop` it."
    return DeliveryDenied(error.message, hint=hint)
