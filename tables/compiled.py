"""The parts in C, if a compiler was at hand when Kounter was installed (`hatch_build.py`); else None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.codec.compiled import load_native

__all__ = ["native"]

if TYPE_CHECKING:
    from tables import native
else:
    native = load_native("tables")
