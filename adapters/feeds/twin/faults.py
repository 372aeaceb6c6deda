"""Faults of the twin's feed files: those of its feeds that are never right, and others on command."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import ClassVar

from pydantic.dataclasses import dataclass

from adapters.twin_kit.faults import BaseFault, Way


class OwnWay(StrEnum):
    """Faults that only a feed file can have."""

    EMPTY = "empty"
    """200 with a file that has no offers."""
    TRUNCATED = "truncated"
    """200 with the first half of the file."""
    DRIP = "drip"
    """200; the file comes a byte a second."""
    CIRCLE = "circle"
    """302 to the same address."""


@dataclass
class Fault(BaseFault):
    """One fault in the plan. ``feeds``: those that it is meant for; empty for all."""

    kinds: ClassVar[Collection[str]] = frozenset({*Way, *OwnWay})

    feeds: tuple[str, ...] = ()

    @property
    def only(self) -> Collection[str]:
        """Return the names of its feeds."""
        return self.feeds
