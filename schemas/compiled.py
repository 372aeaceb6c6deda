"""The parts in C, if a compiler was at hand when Kounter was installed (`hatch_build.py`); else None."""

from __future__ import annotations

__all__ = ["native"]

try:
    from schemas import native
except ImportError:
    native = None  # type: ignore[assignment]
