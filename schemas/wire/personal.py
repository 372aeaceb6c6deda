"""Personal data in external messages, taken out of what is kept although no record could be made of it."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from schemas.record import contracts, declare_all
from schemas.wire.passwords import has_password

TELLING: Final = ("phone", "mail", "birth", "passport", "firstname", "lastname", "surname", "fullname", "patronym")
"""Parts of names, without underscores, that mark a field as personal where no contract knows it."""


def without_personal(word: object, body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns a message of the external type ``word`` without passwords and personal fields, and the names of the
    fields that were taken out.

    A field is personal if the type's contract marks it so; one that the type does not have, or that stands in an inner
    object, if any contract marks its name so. An unknown type is judged by these names alone.
    """
    plain = _plain_names().get(word.lower(), frozenset()) if isinstance(word, str) else frozenset[str]()
    out: set[str] = set()
    return _without(body, plain, out), tuple(sorted(out))


def _without(body: dict[str, Any], plain: frozenset[str], out: set[str]) -> dict[str, Any]:
    kept = {}
    for name, value in body.items():
        if has_password(name) or (_is_personal(name.casefold()) and name.casefold() not in plain):
            out.add(name)
        else:
            kept[name] = _inner(value, out)
    return kept


def _inner(value: Any, out: set[str]) -> Any:
    if isinstance(value, dict):
        return _without(value, frozenset(), out)
    return [_inner(one, out) for one in value] if isinstance(value, list) else value


def _is_personal(name: str) -> bool:
    return name in _personal_names() or any(part in name.replace("_", "") for part in TELLING)


@cache
def _personal_names() -> frozenset[str]:
    declare_all()
    return frozenset(
        wire.casefold() for c in contracts() if c.outside for n in c.personal for wire in c.accepted_names[n]
    )


@cache
def _plain_names() -> dict[str, frozenset[str]]:
    """Returns the names that are not personal, by external type in lower case."""
    declare_all()
    return {
        c.outside.lower(): frozenset(w.casefold() for n in c.said if n not in c.personal for w in c.accepted_names[n])
        for c in contracts()
        if c.outside
    }
