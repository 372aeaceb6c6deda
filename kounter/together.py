"""Tasks that only make sense together."""

from __future__ import annotations
