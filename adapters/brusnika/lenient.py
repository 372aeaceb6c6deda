"""Frames that are no valid JSON, read as far as possible: for their number and for what is kept of them, never for a
row."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def read_leniently(raw: bytes) -> Any:
    """Returns the JSON value of a frame that may have NaN, half characters or a name twice in an object, which then has
    the list of its values: written again, it is refused again. Raises ValueError, ArithmeticError, RecursionError.
    """
    return json.loads(raw.decode("utf-8", "surrogateescape"), object_pairs_hook=_with_repeats, parse_float=_exact)


def number_in(raw: bytes) -> int | None:
    """Returns the ``update_id`` of a frame that is no valid JSON, None if it has none or more than one."""
    try:
        frame = read_leniently(raw)
        inner = frame["data"]["data"] if "event" not in frame else frame["data"]["data"]["data"]
        number = inner["update_id"]
    except (ValueError, ArithmeticError, RecursionError, TypeError, KeyError):
        return None
    return number if type(number) is int else None


def _with_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _exact(text: str) -> float | Decimal:
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else Decimal(text)
