"""The faults that the twin produces on command (docs/contracts/bitrix24.md#twin)."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Final

from pydantic import field_validator
from pydantic.dataclasses import dataclass

from adapters.bitrix24.twin.errors import SYSTEM
from adapters.twin_kit.faults import BaseFault, Way

KINDS: Final = frozenset({*Way, *SYSTEM})
"""The ways to fail that all twins have, and the codes of `SYSTEM`, which are answered before anything is done."""


@dataclass
class Fault(BaseFault):
    """One fault in the plan. ``methods``: the methods that it hits, empty for all."""

    kinds: ClassVar[Collection[str]] = KINDS

    methods: tuple[str, ...] = ()

    @field_validator("methods")
    @classmethod
    def _lower(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(method.lower() for method in methods)

    @property
    def only(self) -> Collection[str]:
        """The methods that the fault hits."""
        return self.methods
