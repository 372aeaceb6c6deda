"""Parts that a comparison could not read: each is logged and retried the next time, and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from loguru import logger

from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused, InvalidInput, shorten

IN_A_ROW: Final = 10
"""Consecutive failures after which the operator counts as unavailable, or as denying everything."""


class Unread:
    """The unreadable parts of successive comparisons, by name (``account 5``)."""

    def __init__(self) -> None:
        self.before: set[str] = set()
        """Parts that could not be read the last time."""
        self._now: set[str] = set()
        self._in_a_row = self._failed = 0
        self._any = False
        """Whether any part was read in this comparison."""

    def begin(self) -> None:
        """Begin the next comparison."""
        self.before |= self._now
        self._now, self._in_a_row, self._failed, self._any = set(), 0, 0, False

    @property
    def count(self) -> int:
        """Number of unreadable parts in this comparison."""
        return len(self._now)

    def __contains__(self, name: str) -> bool:
        return name in self._now

    @contextmanager
    def part_of(self, name: str) -> Iterator[None]:
        """Suppress errors of the block, which reads the part ``name`` alone.

        Raises DeliveryError if it concerns every part, asks to wait (``retry_after``), or is the `IN_A_ROW`-th failure
        in a row of parts that were readable before.
        """
        try:
            yield
        except (DeliveryError, InvalidInput) as error:
            self._note(name, error.message)
            if isinstance(error, DeliveryRefused | InvalidInput):  # the part is gone or invalid; the operator answers
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
        """Return a callback that notes an unreadable row of an answer under ``name``."""

        def on_unreadable(row: Any, why: str) -> None:
            id = row.get("id") if isinstance(row, dict) else None
            self._note(name, f"row {shorten(id)}: {why}")

        return on_unreadable

    def _note(self, name: str, why: str) -> None:
        self._now.add(name)
        logger.warning("rosdomofon comparison: {} can't be read, retry the next time: {}", name, shorten(why, 200))
