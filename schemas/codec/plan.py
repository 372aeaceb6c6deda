"""The steps from a writer's record to our row: which type comes next, and where its value goes.

They are resolved once for each writer's schema. `source` makes Python of the steps, `native` runs them in C; neither
sees a schema.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import fastavro

from schemas.codec.avro import avro_schema
from schemas.codec.validation import Names, walker
from schemas.fields import Label
from schemas.record import Contract

TIME_UNITS: Final = {"timestamp-millis": 1000, "timestamp-micros": 1}
"""Microseconds, the unit of rows, for one of each Avro time unit."""
PROMOTIONS: Final = {("int", "long"), ("float", "double")}
"""Pairs (written, ours) that the steps read; the reference reads the others."""
PLAIN: Final = frozenset({"string", "bytes", "double", "float", "boolean"})


class Uncovered(Exception):
    """Raised for a type, or a pair of types, that has no step: the reference reads it."""


class Step(NamedTuple):
    """The step that reads one written value."""

    kind: str
    """``long`` (int too), ``string``, ``bytes``, ``double``, ``float``, ``boolean``, ``enum``, ``decimal``, ``array``
    or ``skip``."""
    place: int = -1
    """Index of our field; -1: it has none."""
    null: int = -1
    """Byte of null's branch in a union of null and this type, 0 or 2; the type has the other one. -1: no union."""
    nullable: bool = False
    """Whether our field may be null."""
    detail: Any = None
    """long: factor to multiply by. enum: our symbols by the byte that stands for them. decimal: (limit, scale).
    array: the step of an item. skip: the `walk.Walk` over the value."""


class Steps(NamedTuple):
    """The steps of one record."""

    steps: tuple[Step, ...]
    """Steps in the order of the bytes."""
    defaults: dict[int, Any]
    """Default values of our fields that the writer's schema lacks, by index."""


def steps_of(writer: dict[str, Any], contract: Contract) -> Steps:
    """Returns the steps from records of ``writer`` to rows of ``contract``. Raises Uncovered."""
    names: Names = {}
    our_names: Names = {}
    written: Any = fastavro.parse_schema(writer, names)
    ours: Any = fastavro.parse_schema(avro_schema(contract), our_names)
    resolve = _Resolver(names, our_names)
    types = {f["name"]: f["type"] for f in ours["fields"]}
    places = {name: k for k, name in enumerate(contract.fields)}
    steps = []
    for field in written["fields"]:
        name, kind = field["name"], field["type"]
        if name in places:
            steps.append(resolve.optional(kind, types[name])._replace(place=places[name]))
        else:
            steps.append(Step("skip", detail=walker(kind, names)))
    met = {step.place for step in steps if step.place >= 0}
    if len(met) != sum(step.place >= 0 for step in steps):
        raise Uncovered("a field that is written twice")
    return Steps(tuple(steps), {k: _default(contract, name) for name, k in places.items() if k not in met})


def _default(contract: Contract, name: str) -> Any:
    if name not in contract.defaults:
        raise Uncovered(name)
    default = contract.defaults[name]
    return default.value if isinstance(default, Label) else default


class _Resolver:
    """Resolves pairs of a written type and ours."""

    def __init__(self, names: Names, our_names: Names) -> None:
        self._names, self._our_names = names, our_names

    def optional(self, written: Any, ours: Any) -> Step:
        """Returns the step for types of which each may be a union of null and one other type."""
        nullable = isinstance(ours, list)
        if nullable:
            ours = next(t for t in ours if t != "null")
        if not isinstance(written, list):
            return self._value(written, ours)
        if len(written) != 2 or "null" not in written:
            raise Uncovered(written)
        null = written.index("null")
        return self._value(written[1 - null], ours)._replace(null=2 * null, nullable=nullable)

    def _value(self, written: Any, ours: Any) -> Step:
        written, ours = _named(written, self._names), _named(ours, self._our_names)
        kind, our_kind = written["type"], ours["type"]
        if "decimal" in (written.get("logicalType"), ours.get("logicalType")):
            return _decimal(written, ours)
        if kind != our_kind and (kind, our_kind) not in PROMOTIONS:
            raise Uncovered(written)
        if kind in ("int", "long"):
            is_time = ours.get("logicalType") in TIME_UNITS
            return Step("long", detail=TIME_UNITS.get(written.get("logicalType", ""), 1) if is_time else 1)
        if kind == "enum":
            return _enum(written, ours)
        if kind == "array":
            return self._array(written["items"], ours["items"])
        if kind in PLAIN:
            return Step(kind)
        raise Uncovered(written)

    def _array(self, written: Any, ours: Any) -> Step:
        if isinstance(written, list) or isinstance(ours, list) or _named(written, self._names)["type"] == "array":
            raise Uncovered(written)
        return Step("array", detail=self._value(written, ours))


def _decimal(written: Any, ours: Any) -> Step:
    keys = ("type", "logicalType", "precision", "scale")
    if any(written.get(k, 0) != ours.get(k, 0) for k in keys) or written["type"] != "bytes":
        raise Uncovered(written)
    return Step("decimal", detail=(10 ** written["precision"], int(written.get("scale", 0))))


def _enum(written: Any, ours: Any) -> Step:
    if written["name"] != ours["name"]:
        raise Uncovered(written)
    known, default = set(ours["symbols"]), ours.get("default")
    symbols = {2 * n: s if s in known else default for n, s in enumerate(written["symbols"][:64])}  # one byte each
    return Step("enum", detail={code: s for code, s in symbols.items() if s is not None})


def _named(kind: Any, names: Names) -> Any:
    """Returns a type as a dict; a name is resolved to its type."""
    if isinstance(kind, dict):
        return kind if isinstance(kind["type"], str) else _named(kind["type"], names)
    if isinstance(kind, str):
        return names.get(kind, {"type": kind})
    raise Uncovered(kind)
