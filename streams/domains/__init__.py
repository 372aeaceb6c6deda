"""All domains, by name. A new one is added here and then appears in worker, view, gateway and command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from streams.aggregate import Domain
from streams.domains.crm import CRM
from streams.domains.domofon import domofon
from streams.domains.estate import estate
from streams.rules import BackendRules, DomofonRules


class Ruled(NamedTuple):
    """A domain whose rules a deployment sets."""

    rules: type[BaseModel]
    """The class of the rules, which is one part of the settings, or the base of one."""
    make: Callable[[Any], Domain]


_ALL: Final[tuple[Domain | Ruled, ...]] = (Ruled(BackendRules, estate), CRM, Ruled(DomofonRules, domofon))


def _under(entry: Domain | Ruled, parts: Iterable[object]) -> Domain:
    if isinstance(entry, Domain):
        return entry
    return entry.make(next((part for part in parts if isinstance(part, entry.rules)), entry.rules()))


DOMAINS: Final[dict[str, Domain]] = {domain.name: domain for domain in (_under(entry, ()) for entry in _ALL)}
"""Domains by name, with their topics and tables, under the rules that hold if none are set."""
_RULED: Final = dict(zip(DOMAINS, _ALL, strict=True))


def with_rules(name: str, parts: Iterable[object]) -> Domain:
    """Returns a domain under the rules of a deployment. ``parts`` are those of its settings. Raises KeyError."""
    return _under(_RULED.get(name, DOMAINS[name]), parts)  # a program may have added a domain of its own
