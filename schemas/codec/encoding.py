"""Rows to Avro bodies, byte for byte what fastavro writes: in C, or by Python source generated for each contract."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from typing import Any, Final, NamedTuple

import fastavro

from schemas.codec.avro import avro_schema
from schemas.codec.compiled import native
from schemas.codec.validation import Names
from schemas.errors import InvalidInput
from schemas.fields import INT64_LIMIT
from schemas.record import Contract

Row = tuple[Any, ...]
Encode = Callable[[Row], bytes]
"""Function that encodes a row. Raises InvalidInput."""
SHORT: Final = 1024
"""Numbers, and sizes in bytes, below which the encoding is looked up in a table."""
_CONTEXT: Final = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""Our own decimal context: other code may set the thread's to fewer digits."""


class Field(NamedTuple):
    """The way in which the values of one field are written."""

    kind: str
    """``long``, ``string``, ``double``, ``boolean``, ``enum``, ``bytes`` (decimals too) or ``array``."""
    null: bytes | None
    """Bytes of a null; None: the field must have a value."""
    prefix: bytes
    """Bytes before a value: its branch of the union."""
    table: dict[Any, bytes] | None
    """Whole encodings by value, for all or the usual values of a type with few."""
    write: Callable[[Any], bytes]
    """Function that writes the whole encoding of any value but None."""


def row_encoder(contract: Contract, header: bytes = b"") -> Encode:
    """Returns the function that encodes rows of ``contract`` behind a wire header. Decimals are rounded to their scale,
    half to even.

    It raises InvalidInput for a value that its type can't hold, with the field's name.
    """
    if native is None:
        return python_encoder(contract, header)

    @cache
    def unusual() -> Encode:
        return python_encoder(contract, header)  # takes a while to compile, and few ever need it

    return native.Encoder(_fields(contract), header, lambda row: unusual()(row)).encode


@cache
def _fields(contract: Contract) -> tuple[Field, ...]:
    names: Names = {}
    schema: Any = fastavro.parse_schema(avro_schema(contract), names)
    return tuple(_field(f["type"], names) for f in schema["fields"])


def python_encoder(contract: Contract, header: bytes) -> Encode:
    """Returns an encoder compiled from Python source. No text of the schema gets into the source: values stand in the
    scope."""
    fields = _fields(contract)
    scope: dict[str, Any] = {"header": header, "blame": lambda row, error: _blame(contract, fields, row, error)}
    lines = [_lines(k, field, scope) for k, field in enumerate(fields)]
    numbers = range(len(fields))
    head = ["def encode(r):", " try:", f"  {''.join(f'v{k}, ' for k in numbers)} = r"]
    tail = [f"  return b''.join((header, {''.join(f'e{k}, ' for k in numbers)}))", " except Exception as error:"]
    source = "\n".join([*head, *lines, *tail, "  raise blame(r, error) from None"])
    exec(compile(source, f"<encoder of {contract.full_name}>", "exec"), scope)  # noqa: S102
    encode: Encode = scope["encode"]
    return encode


def _field(kind: Any, names: Names) -> Field:
    null: bytes | None = None
    prefix = b""
    if isinstance(kind, list):
        at = kind.index("null")
        null, prefix, kind = (b"\0", b"\2", kind[1]) if at == 0 else (b"\2", b"\0", kind[0])
    kind = names.get(kind, {"type": kind}) if isinstance(kind, str) else kind
    return Field(kind["type"], null, prefix, _table(kind, prefix), _writer(kind, names, prefix))


def _lines(k: int, field: Field, scope: dict[str, Any]) -> str:
    """Returns lines that turn ``v<k>`` into the bytes ``e<k>``. Values that they use are put in ``scope``, under names
    with ``k``."""
    table = field.table
    if table is not None and field.null is not None:
        table = {**table, None: field.null}
    scope |= {f"t{k}": table, f"n{k}": field.null, f"w{k}": field.write}
    if field.kind in ("enum", "boolean"):
        return f"  e{k} = t{k}[v{k}]"
    if field.kind == "long":
        return f"  e{k} = t{k}.get(v{k}) or w{k}(v{k})"
    start = "  " if field.null is None else f"  if v{k} is None: e{k} = n{k}\n  else: "
    if field.kind == "string":
        scope[f"t{k}"] = _sizes(field.prefix)
        return f"{start}d = v{k}.encode(); s = len(d); e{k} = t{k}[s] + d if s < {SHORT} else w{k}(v{k})"
    return f"{start}e{k} = w{k}(v{k})"


def _table(kind: Any, prefix: bytes) -> dict[Any, bytes] | None:
    if kind["type"] == "enum":
        return {symbol: prefix + _long(n) for n, symbol in enumerate(kind["symbols"])}
    if kind["type"] == "boolean":
        return {False: prefix + b"\0", True: prefix + b"\1"}
    if kind["type"] == "long":
        return _numbers(prefix)
    return None


@cache  # one of each for all fields: a start makes the encoders of hundreds
def _sizes(prefix: bytes) -> list[bytes]:
    return [prefix + _long(size) for size in range(SHORT)]


@cache
def _numbers(prefix: bytes) -> dict[Any, bytes]:
    return {n: prefix + _long(n) for n in range(-64, SHORT)}


def _writer(kind: Any, names: Names, prefix: bytes = b"") -> Callable[[Any], bytes]:
    """Returns the function that writes any value of a type, behind the bytes of its union's branch."""
    pack = struct.Struct("<d").pack
    if kind["type"] in ("enum", "boolean"):
        return (_table(kind, prefix) or {}).__getitem__
    if kind["type"] == "long":
        return lambda v: prefix + _long(v)
    if kind["type"] == "double":
        return lambda v: prefix + pack(v)
    if kind["type"] == "string":
        return lambda v: prefix + _long(len(data := v.encode())) + data
    if kind["type"] == "array":
        items = kind["items"]
        return _array(_writer(names.get(items, {"type": items}) if isinstance(items, str) else items, names), prefix)
    if kind.get("logicalType") == "decimal":
        return _decimals(kind["precision"], kind.get("scale", 0), prefix)
    return lambda v: prefix + _long(len(v)) + v


def _long(value: int) -> bytes:
    """Returns the zigzag varint of a 64-bit integer."""
    if not -INT64_LIMIT <= value < INT64_LIMIT:
        raise OverflowError("beyond 64 bits")
    n = value << 1 ^ value >> 63
    out = []
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _array(item: Callable[[Any], bytes], prefix: bytes) -> Callable[[tuple[Any, ...]], bytes]:
    def write(values: tuple[Any, ...]) -> bytes:
        if not values:
            return prefix + b"\0"
        if isinstance(values, str):  # a sequence too, but never what was meant
            raise TypeError("a tuple")
        return b"".join((prefix, _long(len(values)), *map(item, values), b"\0"))

    return write


def _decimals(precision: int, scale: int, prefix: bytes) -> Callable[[Decimal], bytes]:
    limit = 10**precision

    def write(value: Decimal) -> bytes:
        n = int(value.scaleb(scale, _CONTEXT).to_integral_value(ROUND_HALF_EVEN, _CONTEXT))
        if not -limit < n < limit:
            raise OverflowError(f"more than {precision} digits")
        size = (n.bit_length() + 8) >> 3  # as fastavro: one byte more than needed for -128, -32768, …
        return prefix + _long(size) + n.to_bytes(size, "big", signed=True)

    return write


def _blame(contract: Contract, fields: Sequence[Field], row: Any, error: Any) -> InvalidInput:
    """Returns the error for the first field that can't be written, found by writing each alone."""
    if not isinstance(row, tuple) or len(row) != len(fields):
        return InvalidInput(contract.full_name, f"a row of {len(fields)} fields", row)
    for k, field in enumerate(fields):
        if row[k] is None and field.null is not None:
            continue
        try:
            field.write(row[k])
        except Exception as trouble:
            expected = _in_words(avro_schema(contract)["fields"][k]["type"])
            why = f" ({trouble})" if isinstance(trouble, OverflowError | ValueError) else ""
            return InvalidInput(contract.fields[k], f"{expected}{why}", row[k])
    return InvalidInput(contract.full_name, "a row that can be written", error)


def _in_words(avro: Any) -> str:
    """Returns a type in the terms of a producer's author: ``decimal(21, 2)``, ``one of OPEN, WON``, ``array of
    string``."""
    match avro:
        case ["null", other]:
            return f"{_in_words(other)} or None"
        case {"logicalType": "decimal", "precision": precision, "scale": scale}:
            return f"decimal({precision}, {scale})"
        case {"type": "enum", "symbols": symbols}:
            return f"one of {', '.join(symbols)}"
        case {"logicalType": other}:
            return str(other)
        case {"type": "array", "items": items}:
            return f"array of {_in_words(items)}"
        case _:
            return str(avro)
