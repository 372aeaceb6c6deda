"""Faults of the main backend's door, set through the control."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import ClassVar

from pydantic.dataclasses import dataclass

from adapters.twin_kit.faults import BaseFault, Way


class OwnWay(StrEnum):
    """Kinds of faults that only this system has; nothing is done."""

    NO_PATH = "no_path"
    """404 of Nest, as with a wrong address: it is about no thing."""
    REFUSED = "refused"
    """422 with the backend's error object."""


@dataclass
class Fault(BaseFault):
    """One fault in the plan. ``types``: path types that it is meant for, such as ``lead-ops``; empty for all."""

    kinds: ClassVar[Collection[str]] = frozenset({*Way, *OwnWay})

    types: tuple[str, ...] = ()

    @property
    def only(self) -> Collection[str]:
        """The types that the fault is meant for."""
        return self.types
