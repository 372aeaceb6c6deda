"""What goes wrong on the way to a twin: a plan of faults, and dice that can be thrown again."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Generic, Protocol, TypeVar

from pydantic_core import to_jsonable_python


class Planned(Protocol):
    """A fault, as far as a plan must know it. ``count``: how often at most, None for ever."""

    count: int | None

    @property
    def kind(self) -> str: ...
    @property
    def rate(self) -> float: ...

    def befalls(self, calls: set[str]) -> bool:
        """Whether it is meant for a request of these calls."""


F = TypeVar("F", bound=Planned)


class Faults(Generic[F]):
    """The plan. The first fault whose dice fall is taken; the dice are seeded, so a run can be repeated."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self.fired: Counter[str] = Counter()
        self.plan()

    def plan(self, *faults: F) -> None:
        """A new plan in place of the old; none: all works."""
        self._plan, self._dice = list(faults), random.Random(self._seed)

    def draw(self, *calls: str) -> F | None:
        """What befalls a request of these calls: one, or those of a batch."""
        for fault in self._plan:
            if not fault.befalls(set(calls)) or fault.count == 0 or self._dice.random() >= fault.rate:
                continue
            if fault.count is not None:
                fault.count -= 1
            self.fired[fault.kind] += 1
            return fault
        return None

    def as_list(self) -> list[Any]:
        """The plan as JSON."""
        return [to_jsonable_python(fault) for fault in self._plan]
