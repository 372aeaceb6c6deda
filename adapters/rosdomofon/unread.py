"""What a comparison can't read: each thing is named and tried again the next time, and holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from loguru import logger

from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused, InvalidInput, shorten

IN_A_ROW: Final = 10
"""So many that are denied or not answered, one after the other: the operator is away, or denies us all."""


class Unread:
    """Of one comparison after another."""

    def __init__(self) -> None:
        self.before: set[str] = set()
        """What could not be read when it was last looked at."""
        self._now: set[str] = set()
        self._in_a_row = self._failed = 0
        self._any = False
        """Something was read."""

    def begin(self) -> None:
        """The next comparison."""
        self.before |= self._now
        self._now, self._in_a_row, self._failed, self._any = set(), 0, 0, False

    @property
    def count(self) -> int:
        return len(self._now)

    def __contains__(self, name: str) -> bool:
        return name in self._now

    @contextmanager
    def part_of(self, name: str) -> Iterator[None]:
        """What is read here is of ``name`` alone. Raises what is about all, or limits us, or comes `IN_A_ROW` of what
        could be read before."""
        try:
            yield
        except (DeliveryError, InvalidInput) as error:
            self._note(name, error.message)
            if isinstance(error, DeliveryRefused | InvalidInput):  # it is gone, or odd, and the operator is there
                return
            self._failed += 1
            self._in_a_row += name not in self.before
            many = self._in_a_row >= IN_A_ROW or (self._failed >= IN_A_ROW and not self._any)
            for_all = isinstance(error, DeliveryDenied) and error.for_all
            if many or for_all or error.retry_after:
                raise
        else:
            self._in_a_row, self._any = 0, True
            if name not in self._now:
                self.before.discard(name)

    def row_of(self, name: str) -> Callable[[Any, str], None]:
        """Takes the rows of an answer that can't be read."""

        def passed(row: Any, why: str) -> None:
            id = row.get("id") if isinstance(row, dict) else None
            self._note(name, f"row {shorten(id)}: {why}")

        return passed

    def _note(self, name: str, why: str) -> None:
        self._now.add(name)
        logger.warning("rosdomofon comparison: {} can't be read, again the next time: {}", name, shorten(why, 200))
