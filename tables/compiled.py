"""The module in C, None where Kounter was installed without a compiler (`hatch_build.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.codec.compiled import load_native

__all__ = ["native"]

if TYPE_CHECKING:
    from tables import native
else:
    native = load_native("tables")
