"""The layout of a state: the fields of an aggregate, in an order that never changes, and their encoding.

A state is a named tuple: the four fields of every state, then those of all record types of the aggregate's topic.
Encoded it is an orjson list that starts with the number of its fields. Fields are only ever appended (their order is
kept in ``layouts.json``, written by ``kounter schemas export``), so that number is the id of the layout: a shorter list
is an older one; of a longer one the unknown rest is kept as it is, for the newer worker of a rolling deploy.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from schemas.codec.avro import avro_schema
from schemas.record import SEQUENCE, UNSET, Contract, contracts
from tables.compiled import native

if TYPE_CHECKING:

    class State(tuple[Any, ...]):
        """A state; its fields are attributes."""

        ext_id: str
        update_id: int | None
        version: int
        changed_at: int

        def __getattr__(self, name: str) -> Any: ...
        def _replace(self, **changes: Any) -> State: ...
        def _asdict(self) -> dict[str, Any]: ...

else:
    State = tuple

META: Final = ("ext_id", SEQUENCE, "version", "changed_at")
"""Fields of every state: key; highest sequence number seen (None: unnumbered); number of changes; time of the last one
in microseconds UTC."""
META_KINDS: Final = {"ext_id": "string", SEQUENCE: "long", "version": "long", "changed_at": "timestamp-micros"}
_new: Final[Any] = tuple.__new__
REST: Final = "rest"
"""Attribute with the values that a newer layout has and this one lacks."""


class Layout:
    """The layout of one aggregate's states."""

    def __init__(self, aggregate: str, of: list[Contract]) -> None:
        if not of:
            raise KeyError(f"{aggregate}: no record class has this topic")
        self.aggregate = aggregate
        self.contracts = of
        self.fields = ordered_fields(aggregate, of)
        self.personal = frozenset[str]().union(*(c.personal for c in of))
        self.row = _row_class(of[0].name + "State", self.fields)
        kinds = {name: kind for c in of for name, kind in kinds_of(c).items()} | META_KINDS
        self.kinds = {name: kinds.get(name, "string") for name in self.fields}
        """Avro type of each field, logical if it has one: ``long``, ``decimal``, …"""
        self._money = tuple(i for i, name in enumerate(self.fields) if self.kinds[name] == "decimal")
        made = {"decimal": Decimal, "array": tuple}
        self._made = tuple((i, made[kind]) for i, kind in enumerate(self.kinds.values()) if kind in made)
        self._size = len(self.fields)
        compiled = native and native.States(self.row, self._size, self._money, self._made)
        self.dump: Callable[[State], bytes] = compiled.dump if compiled else self._dump
        """Returns the encoding of a state; lossless."""
        self.load: Callable[[bytes], State] = compiled.load if compiled else self._load
        """Returns the state of an encoding, in this layout, whichever layout wrote it."""

    def new(self, values: list[Any]) -> State:
        """Returns a state of plain values in the order of `fields`, then the rest."""
        state: State = _new(self.row, values)
        return state

    def blank(self, ext_id: str) -> State:
        """Returns the state before the first record."""
        return self.new([ext_id, None, 0, 0, *([None] * (self._size - len(META))), ()])

    def _dump(self, state: State) -> bytes:
        size = self._size
        values = [size + len(state[size]), *state[:size], *state[size]]
        for i in self._money:
            if (money := values[i + 1]) is not None:
                values[i + 1] = str(money)
        return orjson.dumps(values)

    def _load(self, data: bytes) -> State:
        values = orjson.loads(data)
        written, size = values[0], self._size
        del values[0]
        if written == size:
            values.append(())
        else:
            values += [None] * (size - written)
            values[size:] = [tuple(values[size:])]
        for i, make in self._made:
            if (value := values[i]) is not None:
                values[i] = make(value)
        state: State = _new(self.row, values)
        return state

    def as_dict(self, state: State, *, personal: bool = False) -> dict[str, Any]:
        """Returns fields by name without empty ones; personal ones are masked unless asked for."""
        values = {name: value for name, value in zip(self.fields, state, strict=False) if value is not None}
        if not personal:
            values |= {name: mask(values[name]) for name in self.personal & values.keys()}
        return values


def come(state: State | None) -> State | None:
    """Returns a thing's state; None also while only records that wait for the thing have come."""
    return None if state is None or not state.version else state


def _row_class(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, (*fields, REST))


@cache
def layout(aggregate: str) -> Layout:
    """Returns the layout of an aggregate, by its topic. Raises KeyError if there is no such aggregate."""
    # Its own records first, whichever module was imported first: the state is named after the first.
    return Layout(aggregate, sorted(contracts(aggregate), key=lambda c: c.topics[0] != aggregate))


def ordered_fields(aggregate: str, of: list[Contract]) -> tuple[str, ...]:
    """Returns fields in the committed order, then those that only the classes have."""
    declared = [n for c in of for n in c.fields if n not in (c.key, UNSET, *META)]
    known = committed().get(aggregate, list(META))
    return tuple(dict.fromkeys([*known, *declared]))


@cache
def committed() -> dict[str, list[str]]:
    """Returns the field orders of ``layouts.json``, by aggregate."""
    text = resources.files("tables").joinpath("layouts.json").read_text("utf-8")
    return cast("dict[str, list[str]]", json.loads(text))


def mask(value: Any) -> str:
    """Returns a personal value in its masked form: its last two characters."""
    text = str(value)
    return "•" * min(8, max(0, len(text) - 2)) + text[-2:]


@cache
def kinds_of(contract: Contract) -> dict[str, str]:
    """Returns the Avro type of each field of a record, logical if it has one."""
    kinds: dict[str, str] = {}
    for entry in avro_schema(contract)["fields"]:
        kind = entry["type"][1] if isinstance(entry["type"], list) else entry["type"]
        kinds[entry["name"]] = str(kind.get("logicalType", kind["type"]) if isinstance(kind, dict) else kind)
    return kinds
