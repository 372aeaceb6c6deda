"""Faults on the way to a twin: their kinds, a plan of them, and seeded dice, so that a run can be repeated."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import to_jsonable_python
from starlette.responses import HTMLResponse, Response

from adapters.twin_kit.hanging import Hanging, cut

_PROXY_PAGE: Final = "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
_MAINTENANCE_PAGE: Final = "<html><body>Maintenance</body></html>"


class Way(StrEnum):
    """Kinds of faults that a request to any twin over HTTP can have."""

    HANG_BEFORE = "hang_before"
    """Nothing is done, and no answer comes."""
    TOO_MANY = "too_many"
    """Nothing is done: 429 with Retry-After of a second."""
    UNAVAILABLE = "unavailable"
    """Nothing is done: 503."""
    BAD_GATEWAY = "bad_gateway"
    """Nothing is done; a proxy answers 502 with a page."""
    LATE = "late"
    """It is done ``seconds`` late, whether the client still waits for it or not."""
    HANG_AFTER = "hang_after"
    """It is done, and no answer comes."""
    CUT_AFTER = "cut_after"
    """It is done, and the connection breaks in the answer."""
    ERROR_AFTER = "error_after"
    """It is done, and the answer is 500."""
    NOT_JSON = "not_json"
    """It is done; the answer is 200 with a page."""
    SLOW = "slow"
    """It is done, and answered ``seconds`` late."""


@dataclass(config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class BaseFault(ABC):
    """One fault in the plan. ``count``: how often it comes at most, None without end; ``seconds``: how long it takes.

    A twin's own fault names its ``kinds`` and a field for the calls that it is meant for.
    """

    kinds: ClassVar[Collection[str]] = frozenset(Way)

    kind: str
    rate: float = Field(default=1.0, ge=0, le=1, strict=True)
    count: int | None = Field(default=None, ge=0, strict=True)
    seconds: float = Field(default=60.0, ge=0, le=600, strict=True)

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in cls.kinds:
            raise ValueError(f"one of {', '.join(sorted(cls.kinds))}")
        return str(kind)

    @property
    @abstractmethod
    def only(self) -> Collection[str]:
        """Calls that the fault is meant for; empty for all."""

    def befalls(self, calls: set[str]) -> bool:
        """Return whether the fault is meant for a request that makes these calls."""
        return not self.only or not calls.isdisjoint(self.only)


F = TypeVar("F", bound=BaseFault)


class Faults(Generic[F]):
    """The plan. The first fault whose dice fall is taken; the dice are seeded, so a run can be repeated."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self.fired: Counter[str] = Counter()
        self.plan()

    def plan(self, *faults: F) -> None:
        """Set a new plan in place of the old; without faults all works."""
        self._plan, self._dice = list(faults), random.Random(self._seed)

    def draw(self, *calls: str) -> F | None:
        """Return the fault of a request that makes these calls: one, or those of a batch."""
        for fault in self._plan:
            if not fault.befalls(set(calls)) or fault.count == 0 or self._dice.random() >= fault.rate:
                continue
            if fault.count is not None:
                fault.count -= 1
            self.fired[fault.kind] += 1
            return fault
        return None

    def as_list(self) -> list[Any]:
        """Return the plan as JSON."""
        return [to_jsonable_python(fault) for fault in self._plan]


async def fail(
    fault: BaseFault, hanging: Hanging, act: Callable[[], Response], error: Callable[[int], Response]
) -> Response:
    """Answer in one of the shared ways. ``act`` carries the request out, ``error`` makes the system's own 4xx or 5xx.

    Raises ValueError for a kind that is a twin's own.
    """
    match fault.kind:
        case Way.HANG_BEFORE:
            return await hanging.hang(fault.seconds)
        case Way.TOO_MANY:
            answer = error(429)
            answer.headers["Retry-After"] = "1"
            return answer
        case Way.UNAVAILABLE:
            return error(503)
        case Way.BAD_GATEWAY:
            return HTMLResponse(_PROXY_PAGE, 502)
        case Way.LATE:
            await hanging.wait(fault.seconds)
            return act()
    return await _fail_after(fault, hanging, act, error)


async def _fail_after(
    fault: BaseFault, hanging: Hanging, act: Callable[[], Response], error: Callable[[int], Response]
) -> Response:
    if fault.kind not in set(Way):
        raise ValueError(fault.kind)
    answer = act()
    match fault.kind:
        case Way.CUT_AFTER:
            return cut(bytes(answer.body))
        case Way.ERROR_AFTER:
            return error(500)
        case Way.NOT_JSON:
            return HTMLResponse(_MAINTENANCE_PAGE)
        case Way.SLOW:
            await hanging.wait(fault.seconds)
            return answer
    return await hanging.hang(fault.seconds)
