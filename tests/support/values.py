"""Hypothesis strategies: values of Avro types, rows of contracts, writers' schemas that differ from ours."""

from __future__ import annotations

import io
import struct
from decimal import Context, Decimal
from functools import cache
from typing import Any

import fastavro
from hypothesis import strategies as st

from schemas.codec.avro import avro_schema
from schemas.record import Contract

HEADER = b"\0\0\0\0\7"
_EXACT = Context(prec=100)
TEXTS = st.one_of(st.text(max_size=20), st.text(min_size=1, max_size=4).map(lambda s: s * 3_000))
LONGS = st.one_of(st.integers(-70, 70), st.integers(-(2**63), 2**63 - 1))
SINGLES = st.floats(width=32, allow_nan=False)


def by_fastavro(schema: Any, values: dict[str, Any]) -> bytes:
    """A body as fastavro writes it. (In a union it would take a tuple for a branch's name and value.)"""
    out = io.BytesIO()
    plain = {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), plain)
    return out.getvalue()


def of_type(kind: Any, names: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values, as rows hold them, of an Avro type."""
    if isinstance(kind, list):
        return st.one_of([of_type(k, names) for k in kind])
    if isinstance(kind, str):
        kind = names.get(kind) or names.get(f".{kind.rpartition('.')[2]}") or {"type": kind}
    if kind["type"] == "enum":
        names[kind["name"]] = names[f"{kind.get('namespace', '')}.{kind['name']}"] = kind
        return st.sampled_from(kind["symbols"])
    if kind.get("logicalType") == "decimal":
        limit = 10 ** kind["precision"] - 1
        return st.integers(-limit, limit).map(lambda n: Decimal(n).scaleb(-kind["scale"], _EXACT))
    if kind["type"] == "array":
        return st.lists(of_type(kind["items"], names), max_size=4).map(tuple)
    if kind["type"] == "map":
        return st.dictionaries(st.text(max_size=3), of_type(kind["values"], names), max_size=3)
    if kind["type"] == "record":
        return st.fixed_dictionaries({f["name"]: of_type(f["type"], names) for f in kind["fields"]})
    if kind["type"] == "fixed":
        return st.binary(min_size=kind["size"], max_size=kind["size"])
    return {
        "null": st.none(),
        "string": TEXTS,
        "bytes": st.binary(max_size=80),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": LONGS,
        "float": SINGLES,
        "double": st.floats(allow_nan=False),
        "boolean": st.booleans(),
    }[kind["type"]]


@cache  # to build one takes longer than to draw from it
def rows(contract: Contract) -> st.SearchStrategy[Any]:
    """Rows of a contract."""
    names: dict[str, Any] = {}
    namespace = f"kounter.{contract.domain}"
    fields = avro_schema(contract)["fields"]
    strategies = []
    for field in fields:
        strategies.append(of_type(_named(field["type"], namespace), names))
    return st.tuples(*strategies).map(lambda values: contract.record(*values))


def _named(kind: Any, namespace: str) -> Any:
    if isinstance(kind, list):
        return [_named(k, namespace) for k in kind]
    return {**kind, "namespace": namespace} if isinstance(kind, dict) and kind["type"] == "enum" else kind


EXTRA_TYPES: list[Any] = [
    "null",
    "string",
    "long",
    "double",
    "boolean",
    "bytes",
    ["null", "string", "long"],
    {"type": "map", "values": "string"},
    {"type": "array", "items": {"type": "array", "items": "int"}},
    {"type": "fixed", "name": "Four", "size": 4},
    {"type": "enum", "name": "Mood", "symbols": ["GOOD", "BAD"]},
    {"type": "record", "name": "Place", "fields": [{"name": "at", "type": "string"}, {"name": "n", "type": "int"}]},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "string", "logicalType": "uuid"},
]


@st.composite
def writers(draw: st.DrawFn, contract: Contract) -> dict[str, Any]:
    """Schemas of other versions, other tools and strangers: fields gone, new, in other order, of other types."""
    ours = avro_schema(contract)
    fields = [{"name": f["name"], "type": draw(_rewritten(f["type"], contract))} for f in ours["fields"]]
    fields = [f for f in fields if f["name"] == contract.key or draw(st.integers(0, 4))]
    extras = draw(st.lists(st.sampled_from(EXTRA_TYPES), max_size=2, unique_by=str))
    fields += [{"name": f"extra_{n}", "type": kind} for n, kind in enumerate(extras)]
    return {**ours, "fields": _each_name_once(draw(st.permutations(fields)), contract)}


def _rewritten(kind: Any, contract: Contract) -> st.SearchStrategy[Any]:
    if isinstance(kind, list):
        inner = _rewritten(kind[1], contract)
        return st.one_of(
            inner.map(lambda k: ["null", k]), inner.map(lambda k: ["null", k]), inner.map(lambda k: [k, "null"]), inner
        )
    if kind == "long":
        return st.sampled_from(["long", "long", "long", "int"])
    if kind == "double":
        return st.sampled_from(["double", "double", "float", "long"])
    if isinstance(kind, dict) and kind["type"] == "enum":
        symbols = st.sampled_from([*kind["symbols"], "LATER", "EARLIER"])
        return st.lists(symbols, min_size=1, unique=True).map(lambda s: {**kind, "symbols": s, "default": s[0]})
    if isinstance(kind, str) and "." in kind:
        return st.just(kind)
    return st.sampled_from([kind, kind, kind, kind, "string"])


def _each_name_once(fields: list[dict[str, Any]], contract: Contract) -> list[dict[str, Any]]:
    """Avro writes a type out where it first stands, then refers to it by name: put that right after a shuffle."""
    full = {f"kounter.{contract.domain}.{k['name']}": k for f in fields for k in _enums(f["type"])}
    seen: set[str] = set()

    def fix(kind: Any) -> Any:
        if isinstance(kind, list):
            return [fix(k) for k in kind]
        name = kind if isinstance(kind, str) else f"kounter.{contract.domain}.{kind.get('name')}"
        if name not in full:
            return "string" if isinstance(kind, str) and "." in kind else kind
        if name in seen:
            return name
        seen.add(name)
        return full[name]

    return [{**f, "type": fix(f["type"])} for f in fields]


def _enums(kind: Any) -> list[Any]:
    if isinstance(kind, list):
        return [e for k in kind for e in _enums(k)]
    return [kind] if isinstance(kind, dict) and kind["type"] == "enum" else []


def same(a: Any, b: Any) -> bool:
    """Equal, to the bits of a float (NaN is itself, -0.0 is not 0.0), and of the same types."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)
