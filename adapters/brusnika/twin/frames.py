"""The frames that the twin sends. Its own writer, apart from the feed's reader and writer
(docs/contracts/brusnika.md#frames)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from schemas.external import to_outside

DENIED: Final = "Client connection denied!"
"""The published text, the same in all languages (docs/contracts/brusnika.md#errors)."""


def data_frame(row: tuple[Any, ...]) -> bytes:
    """Return the frame that carries a row."""
    word, body = to_outside(row)
    return _dump({"data": {"type": word, "data": body}, "error": None})


def denied_frame(message: str) -> bytes:
    """Return the error frame for a wrong header."""
    labels = dict.fromkeys(("en", "ru", "uz"), DENIED)
    return _dump({"data": None, "error": {"id": 400, "labels": labels, "meta": {"message": message}}})


def _dump(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"), default=_number).encode()


def _number(value: object) -> float | int:
    """Money has two decimals and less than 64 bits; whole amounts stay whole, as a ``bigint``
    (docs/contracts/brusnika.md#types)."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"not for a frame: {type(value)}")
