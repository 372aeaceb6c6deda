"""The contract of a record: one class, from which topic, key, sequence, Avro schema and external names follow.

    record = namespace("estate")

    @record("estate.section", key="ext_id", outside="section")
    class Section(NamedTuple):
        ext_id: ExtId
        update_id: Int | None = None
        name: Text | None = None
        building_ext_id: ExtId | None = None
        unset: tuple[str, ...] = ()

Records are named tuples: cheap to decode (a hundred thousand a second and worker), immutable, typed.
A field that is None is absent and leaves the state as it is; a field named in ``unset`` is cleared.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from schemas.fields import Internal, Personal, WireName

R = TypeVar("R", bound=tuple[Any, ...])

Group = Callable[[bytes], bytes]
"""Function that returns a key's group."""
IfUnknown = Literal["create", "wait", "ignore"]
"""The effect of a record while its key has no state, or after a tombstone. ``create``: it creates the thing.
``ignore``: it only reports about a thing (a receipt, a change in the portal), so it changes nothing. ``wait``:
its source may send it before the thing; it is kept in a state of version 0, which neither views nor reactions get."""
SEQUENCE: Final = "update_id"
"""The field that numbers the changes of one source (docs/contracts/brusnika.md#numbers)."""
UNSET: Final = "unset"


@dataclass(frozen=True, eq=False)
class Contract:
    """The contract of a record class."""

    record: type[tuple[Any, ...]]
    domain: str
    """The end of its Avro namespace; see `namespace`."""
    topics: tuple[str, ...]
    """The home topic first; a receipt also goes to the topic of the aggregate that asked."""
    key: str
    """The field whose text is the record's Kafka key."""
    outside: str | None
    """Its ``type`` in the external system, None if it has none."""
    grouped: Group | None = None
    """See `partition_key`."""
    if_unknown: IfUnknown = "create"

    def __post_init__(self) -> None:
        if self.key not in self.fields:
            raise TypeError(f"{self.name}: key field {self.key!r} is not a field")

    @property
    def name(self) -> str:
        """Returns the class name, such as ``Lead``."""
        return self.record.__name__

    @property
    def full_name(self) -> str:
        """Returns the Avro full name, such as ``kounter.estate.Lead``."""
        return f"kounter.{self.domain}.{self.name}"

    def subject(self, topic: str) -> str:
        """Returns the registry's subject (TopicRecordNameStrategy)."""
        return f"{topic}-{self.full_name}"

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Returns the field names in the order of the row."""
        return tuple(self.record._fields)  # type: ignore[attr-defined]

    @cached_property
    def hints(self) -> dict[str, Any]:
        """Returns type hints with their marks, by field."""
        return get_type_hints(self.record, include_extras=True)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Returns defaults by field; the key has none."""
        return dict(self.record._field_defaults)  # type: ignore[attr-defined]

    @cached_property
    def sequence(self) -> str | None:
        """Returns the sequence field, None if this record's source does not number it."""
        return SEQUENCE if SEQUENCE in self.fields else None

    @cached_property
    def personal(self) -> frozenset[str]:
        """Returns the names of the fields with personal data."""
        return frozenset(n for n in self.fields if any(isinstance(m, Personal) for m in marks(self.hints[n])))

    @cached_property
    def wire_names(self) -> dict[str, str]:
        """Returns our name -> the name in the external JSON, for every field."""
        return {name: names[0] for name, names in self.accepted_names.items()}

    @cached_property
    def accepted_names(self) -> dict[str, tuple[str, ...]]:
        """Returns our name -> all names that are accepted in the external JSON, the one that is written first."""
        found = {
            n: next((m for m in marks(self.hints[n]) if isinstance(m, WireName)), WireName(n)) for n in self.fields
        }
        return {name: (mark.name, *mark.also) for name, mark in found.items()}

    @cached_property
    def said(self) -> tuple[str, ...]:
        """Returns the fields that the external form has; `unset` is our form of its nulls."""
        inner = {n for n in self.fields if any(isinstance(m, Internal) for m in marks(self.hints[n]))}
        return tuple(n for n in self.fields if n != UNSET and n not in inner)

    @cached_property
    def counter(self) -> str | None:
        """Returns the field that holds the source's own number of a change, None if the external form has none.

        That is `sequence` in a record that is folded as it comes, ``source_update_id`` in a command."""
        return next((n for n in self.said if self.wire_names[n] == SEQUENCE), None)


_contracts: dict[type, Contract] = {}
_grouped: dict[str, Group] = {}


class Declare(Protocol):
    """Declares a named tuple to be a record of ``topics``."""

    def __call__(
        self,
        *topics: str,
        key: str,
        outside: str | None = None,
        grouped: Group | None = None,
        if_unknown: IfUnknown = "create",
    ) -> Callable[[type[R]], type[R]]: ...


def namespace(name: str) -> Declare:
    """Returns the decorator for records whose Avro namespace is ``kounter.<name>``.

    The name stands in stored records and in the registry's subjects: it stays as it is wherever the class moves. For
    ``grouped`` see `partition_key`.
    """

    def record(
        *topics: str,
        key: str,
        outside: str | None = None,
        grouped: Group | None = None,
        if_unknown: IfUnknown = "create",
    ) -> Callable[[type[R]], type[R]]:
        def declare(cls: type[R]) -> type[R]:
            _contracts[cls] = Contract(cls, name, topics, key, outside, grouped, if_unknown)
            if grouped:
                _grouped[topics[0]] = grouped
            return cls

        return declare

    return record


def also_on(cls: type[R], *topics: str) -> None:
    """Let a record class that others share, such as a command's reply, go to further topics."""
    known = _contracts[cls]
    # In place, so that holders of the contract see them too.
    object.__setattr__(known, "topics", tuple(dict.fromkeys((*known.topics, *topics))))


def partition_key(topic: str, key: bytes) -> bytes:
    """Returns the part of a key that chooses the partition: all of it, unless the topic's records are ``grouped``.

    So things of which each has a history of its own can keep their order in a group (all messages of one abonent), or
    go in few transactions (users who are made one after the other).
    """
    group = _grouped.get(topic)
    return key if group is None else group(key)


def contract(cls: type) -> Contract:
    """Returns the contract of a record class. Raises KeyError for any other class."""
    return _contracts[cls]


def contracts(topic: str | None = None) -> list[Contract]:
    """Returns all contracts, or those of one topic, in the order in which they were declared."""
    return [c for c in _contracts.values() if topic is None or topic in c.topics]


def declare_all() -> None:
    """Import every module of this package, so that `contracts` returns all."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], "schemas."):
        importlib.import_module(module.name)


def outside_topics() -> set[str]:
    """Returns the home topics of all records that have an external form."""
    declare_all()
    return {c.topics[0] for c in contracts() if c.outside is not None}


def marks(hint: Any) -> list[Any]:
    """Returns every mark in a type hint, however deep in ``Annotated`` and ``| None`` it sits."""
    found: list[Any] = []
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        return marks(inner) + list(extras)
    for part in get_args(hint):
        if part is not Ellipsis:
            found += marks(part)
    return found
