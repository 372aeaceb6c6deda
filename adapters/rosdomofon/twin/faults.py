"""Faults of the operator's REST, set through the control."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import ClassVar

from pydantic.dataclasses import dataclass

from adapters.twin_kit.faults import BaseFault, Way


class OwnWay(StrEnum):
    """Kinds of faults that only this operator has; nothing is done."""

    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of a fault
    """401, and all tokens become invalid."""
    DENIED = "denied"
    """401, whatever the token."""
    NOT_DELIVERED = "not_delivered"
    """200 with ``success: false`` for every abonent of a message; no abonent gets it."""


@dataclass
class Fault(BaseFault):
    """One fault in the plan. ``calls``: calls that it is meant for, such as ``POST /messages``; empty for all."""

    kinds: ClassVar[Collection[str]] = frozenset({*Way, *OwnWay})

    calls: tuple[str, ...] = ()

    @property
    def only(self) -> Collection[str]:
        """The calls that the fault is meant for."""
        return self.calls
