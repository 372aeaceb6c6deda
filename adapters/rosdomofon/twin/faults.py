"""What can go wrong on the way to the operator's REST, on command."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import ClassVar

from pydantic.dataclasses import dataclass

from adapters.twin_kit.faults import BaseFault, Way


class OwnWay(StrEnum):
    """How a request fails at this operator alone; nothing is done."""

    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of a fault
    """401, and the token is good no more."""
    DENIED = "denied"
    """401, whatever the token."""
    NOT_DELIVERED = "not_delivered"
    """A message: 200 with ``success: false`` for every abonent; nobody gets it."""


@dataclass
class Fault(BaseFault):
    """One fault in the plan. ``calls``: those that it is meant for, as ``POST /messages``; empty for all."""

    kinds: ClassVar[Collection[str]] = frozenset({*Way, *OwnWay})

    calls: tuple[str, ...] = ()

    @property
    def only(self) -> Collection[str]:
        """Its calls."""
        return self.calls
