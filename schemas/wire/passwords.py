"""Passwords in external messages: they are accepted, and shown or kept nowhere."""

from __future__ import annotations

from typing import Any, Final

MASK: Final = "•••"
NAME: Final = "password"
"""A field with this in its name, in any letter case, holds a password (docs/contracts/brusnika.md#types, ``user``)."""


def concealed(value: Any) -> Any:
    """Returns a JSON value without passwords: the values of fields so named are masked, and so is each text that names
    such a field, as it may be a message in another form."""
    if isinstance(value, dict):
        return {k: MASK if has_password(k) else concealed(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [concealed(v) for v in value]
    return MASK if has_password(value) else value


def has_password(text: object) -> bool:
    """Returns whether a text or bytes name a password."""
    if isinstance(text, bytes):
        return NAME.encode() in text.lower()
    return isinstance(text, str) and NAME in text.lower()
