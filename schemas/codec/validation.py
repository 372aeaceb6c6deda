"""Walks an Avro body by its writer's schema without decoding it: the strict judge of whether the bytes are whole.

Readers are lenient in ways that make garbage of a broken record: fastavro wraps integers beyond 64 bits, takes a
negative index from the end of the list, and reads on where a length is negative. Source: Avro 1.12, "Binary encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Walk = Callable[[bytes, int], int]
"""``walk(data, start) -> end``. Raises Broken."""
Names = dict[str, Any]
"""Named types of a parsed schema by full name."""
FIXED_SIZES: Final = {"null": 0, "float": 4, "double": 8}
MOST_DIGITS: Final = 1_000
"""Digits of a decimal: the power of ten of a foreign schema could take hours to compute."""


class Broken(ValueError):
    """The bytes are not what the schema says. The text names the field where one is known."""


def varint(data: bytes, i: int) -> tuple[int, int]:
    """Returns the unsigned value of a varint before zigzag, and where it ends. Raises Broken above 64 bits."""
    value = shift = 0
    while True:
        if i >= len(data):
            raise Broken("the record is cut short")
        byte = data[i]
        i += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                raise Broken("an integer beyond 64 bits")
            return value, i
        shift += 7
        if shift > 63:
            raise Broken("an integer beyond 64 bits")


def _long(data: bytes, i: int) -> tuple[int, int]:
    value, i = varint(data, i)
    return value >> 1 ^ -(value & 1), i


def _index(data: bytes, i: int, count: int, what: str) -> tuple[int, int]:
    index, i = _long(data, i)
    if not 0 <= index < count:
        raise Broken(f"{what} {index} of {count}")
    return index, i


def _take(data: bytes, i: int, size: int) -> int:
    if size < 0:
        raise Broken(f"a length of {size}")
    if i + size > len(data):
        raise Broken("the record is cut short")
    return i + size


def walker(schema: Any, names: Names) -> Walk:
    """Returns the walk over values of a parsed schema."""
    return _Walkers(names).of(schema)


class _Walkers:
    """Walks of one schema's types. Named types are walked by name, so that a type may hold itself."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._named: dict[str, Walk] = {}

    def of(self, schema: Any) -> Walk:
        if isinstance(schema, list):
            return _union([self.of(s) for s in schema])
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(kind, dict | list):
            return self.of(kind)
        if isinstance(schema, str) and schema in self._names:
            return self._by_name(schema)
        if kind in ("record", "error"):
            return _record([(f["name"], self.of(f["type"])) for f in schema["fields"]])
        if kind == "array":
            return _blocks(self.of(schema["items"]))
        if kind == "map":
            return _blocks(_pair(self.of(schema["values"])))
        return _leaf(kind, schema)

    def _by_name(self, name: str) -> Walk:
        def walk(data: bytes, i: int) -> int:
            if name not in self._named:
                self._named[name] = self.of(self._names[name])
            return self._named[name](data, i)

        return walk


def _leaf(kind: str, schema: Any) -> Walk:
    if kind in ("int", "long"):
        return lambda data, i: varint(data, i)[1]
    if kind == "boolean":
        return _boolean
    if kind == "string":
        return _string
    if kind == "bytes":
        return _decimal(schema["precision"]) if _is_decimal(schema) else _bytes
    if kind == "enum":
        count = len(schema["symbols"])
        return lambda data, i: _index(data, i, count, "symbol")[1]
    size = schema["size"] if kind == "fixed" else FIXED_SIZES[kind]
    return lambda data, i: _take(data, i, size)


def _is_decimal(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("logicalType") == "decimal"


def _boolean(data: bytes, i: int) -> int:
    end = _take(data, i, 1)
    if data[i] > 1:
        raise Broken(f"a truth value of {data[i]}")
    return end


def _bytes(data: bytes, i: int) -> int:
    size, i = _long(data, i)
    return _take(data, i, size)


def _string(data: bytes, i: int) -> int:
    size, i = _long(data, i)
    end = _take(data, i, size)
    try:
        data[i:end].decode()
    except UnicodeDecodeError:
        raise Broken("a text that is not UTF-8") from None
    return end


def _decimal(precision: int) -> Walk:
    if not 0 < precision <= MOST_DIGITS:
        raise ValueError(f"a decimal of {precision} digits; at most {MOST_DIGITS} are read")
    limit = 10**precision

    def walk(data: bytes, i: int) -> int:
        size, i = _long(data, i)
        end = _take(data, i, size)
        if abs(int.from_bytes(data[i:end], "big", signed=True)) >= limit:
            raise Broken(f"a decimal of more than {precision} digits")
        return end

    return walk


def _union(branches: list[Walk]) -> Walk:
    def walk(data: bytes, i: int) -> int:
        branch, i = _index(data, i, len(branches), "branch")
        return branches[branch](data, i)

    return walk


def _record(fields: list[tuple[str, Walk]]) -> Walk:
    def walk(data: bytes, i: int) -> int:
        for name, field in fields:
            try:
                i = field(data, i)
            except Broken as error:
                raise Broken(f"{name}: {error}") from None
        return i

    return walk


def _blocks(item: Walk) -> Walk:
    def walk(data: bytes, i: int) -> int:
        while True:
            count, i = _long(data, i)
            if count == 0:
                return i
            if count < 0:  # the block's size in bytes follows, for readers that skip it
                size, i = _long(data, i)
                _take(data, i, size)
            # Items that take no bytes could be claimed without limit; no useful schema has them.
            if abs(count) > len(data) - i:
                raise Broken(f"{abs(count)} items in {len(data) - i} bytes")
            for _ in range(abs(count)):
                i = item(data, i)

    return walk


def _pair(value: Walk) -> Walk:
    return lambda data, i: value(data, _string(data, i))
