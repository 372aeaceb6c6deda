"""Avro bodies to rows: Python source generated for each writer's schema, held to a strict reference.

Plain bytecode beats a compiled general reader here, for it knows each field's type and place beforehand. Whatever the
generated code can't take, for good reasons or bad, goes to the reference (`walk`, then fastavro with our schema as the
reader's), which decides and gives the reason. A writer's schema outside of what is generated is read by it alone.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Final, NoReturn

import fastavro

from schemas.avro import avro_schema
from schemas.encoding import row_encoder
from schemas.errors import InvalidInput, UndecodableRecord
from schemas.fields import INT64_LIMIT, Words
from schemas.record import Contract
from schemas.walk import Broken, Names, walker

Row = tuple[Any, ...]
Decode = Callable[[bytes], Row]
"""Takes a Kafka value with its wire header. Raises UndecodableRecord."""
HEADER_SIZE: Final = 5
"""Of the Confluent wire format: a zero byte and four of the schema's id."""
TIME_UNITS: Final = {"timestamp-millis": 1000, "timestamp-micros": 1}
"""In microseconds, which is what rows hold."""
SMALL: Final = tuple(None if byte > 127 else byte >> 1 ^ -(byte & 1) for byte in range(256))
"""The integer that a byte is; None if it goes on."""
SPANS: Final = tuple(
    tuple(0 if byte > 127 or byte & 1 else at + 1 + (byte >> 1) for byte in range(256)) for at in (0, 1)
)
"""How far behind `i` a text ends whose length stands 0 or 1 bytes behind it, by that byte; 0: more bytes tell."""
PROMOTIONS: Final = {("int", "long"), ("float", "double")}
"""(written, ours) that the generated code reads; the reference knows the others."""


class _Uncovered(Exception):
    """A type, or a pair of types, for which no source is generated."""


def row_decoder(writer: dict[str, Any], contract: Contract) -> Decode:
    """Decodes what was written with ``writer`` to rows of ``contract``, in the order of our fields."""
    reference = reference_decoder(writer, contract)
    names: Names = {}
    parsed: Any = fastavro.parse_schema(writer, names)
    try:
        return _Source(parsed, names, contract, reference).compile()
    except _Uncovered:
        return reference


def reference_decoder(writer: dict[str, Any], contract: Contract) -> Decode:
    """The judge: whole bytes by `walk`, values by fastavro. Slow, covers all of Avro."""
    names: Names = {}
    written = fastavro.parse_schema(_without_logical(writer), names)
    ours = fastavro.parse_schema(_without_logical(avro_schema(contract)))
    walk = walker(written, names)
    units = _units(writer, contract)
    new, check = contract.record, row_encoder(contract)

    def decode(value: bytes) -> Row:
        try:
            end = walk(value, HEADER_SIZE)
            if end != len(value):
                raise Broken(f"{len(value) - end} bytes are left over behind the record")
            body = io.BytesIO(value)
            body.seek(HEADER_SIZE)
            record: Any = fastavro.schemaless_reader(body, written, ours)
        except Exception as error:
            name = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
            raise UndecodableRecord("undecodable", f"{contract.full_name}: {name}{error}") from None
        for name, unit in units.items():
            if record[name] is not None:
                record[name] *= unit
        row: Row = tuple.__new__(new, [tuple(v) if isinstance(v := record[n], list) else v for n in contract.fields])
        try:
            check(row)  # promoted by Avro's rules, a field may hold what is no value of ours
        except InvalidInput as error:
            raise UndecodableRecord("undecodable", f"{contract.full_name}: {error.message}") from None
        return row

    return decode


def _without_logical(schema: Any) -> Any:
    """The schema without logical types but decimal: times stay numbers, of any size, and texts texts."""
    if isinstance(schema, list):
        return [_without_logical(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    is_decimal = schema.get("logicalType") == "decimal"
    return {k: _without_logical(v) for k, v in schema.items() if is_decimal or k != "logicalType"}


def _units(writer: dict[str, Any], contract: Contract) -> dict[str, int]:
    """Our time fields that the writer counts in another unit."""
    ours = {f["name"]: _logical(f["type"]) for f in avro_schema(contract)["fields"]}
    written = {f["name"]: _logical(f["type"]) for f in writer["fields"]}
    times = (n for n in ours if ours[n] == "timestamp-micros")
    return {n: unit for n in times if (unit := TIME_UNITS.get(written.get(n, ""), 1)) != 1}


def _logical(kind: Any) -> str:
    if isinstance(kind, list):
        return next((found for k in kind if (found := _logical(k))), "")
    if not isinstance(kind, dict):
        return ""
    return str(kind.get("logicalType", "")) or _logical(kind["type"])


def _long(data: bytes, i: int) -> tuple[int, int]:
    """A zigzag varint of any length, and where the next value begins."""
    value = data[i]
    if value < 128:
        return value >> 1 ^ -(value & 1), i + 1
    for shift in range(7, 70, 7):
        i += 1
        byte = data[i]
        value += byte - 1 << shift  # what goes on had 128 too much: it is taken off with the next byte
        if byte < 128:
            break
    if value >> 64 or byte > 127:
        raise Broken("an integer beyond 64 bits")
    return value >> 1 ^ -(value & 1), i + 1


def _raw(data: bytes, i: int) -> tuple[bytes, int]:
    """Bytes of any length, and where the next value begins."""
    size, start = _long(data, i)
    if size < 0:
        raise Broken("a length that can't be")
    return data[start : start + size], start + size


def _text(data: bytes, i: int) -> tuple[str, int]:
    raw, end = _raw(data, i)
    return raw.decode(), end


def _bad() -> NoReturn:
    raise Broken("a branch, length or truth value that can't be")


class _Source:
    """The source of one decoder. Nothing of the schema's texts gets into it: they are values in ``scope``."""

    def __init__(self, writer: Any, names: Names, contract: Contract, reference: Decode) -> None:
        self._writer, self._names, self._contract = writer, names, contract
        self._our_names: Names = {}
        ours: Any = fastavro.parse_schema(avro_schema(contract), self._our_names)
        self._ours = {f["name"]: f["type"] for f in ours["fields"]}
        self._lines: list[str] = []
        self.scope: dict[str, Any] = {
            "bad": _bad,
            "small": SMALL,
            "spans0": SPANS[0],
            "spans1": SPANS[1],
            "long": _long,
            "raw": _raw,
            "text": _text,
            "reference": reference,
            "new": tuple.__new__,
            "Row": contract.record,
            "double": struct.Struct("<d").unpack_from,
            "single": struct.Struct("<f").unpack_from,
            "Decimal": Decimal,
            "number": int.from_bytes,
            "context": Context(prec=100),
        }

    def compile(self) -> Decode:
        """The decoder. Raises _Uncovered."""
        place: dict[str, str] = {}
        for k, field in enumerate(self._writer["fields"]):
            name = field["name"]
            if name in self._ours:
                place[name] = f"v{k}"
                self._optional(2, f"v{k}", field["type"], self._ours[name])
            else:
                self._skip(2, field["type"])
        values = ", ".join(place.get(n) or self._default(n) for n in self._contract.fields)
        head = ["def decode(b):", " try:", f"  i = {HEADER_SIZE}"]
        tail = ["  if i != len(b): bad()", f"  return new(Row, ({values},))", " except Exception:"]
        source = "\n".join([*head, *self._lines, *tail, "  return reference(b)"])
        exec(compile(source, f"<decoder of {self._contract.full_name}>", "exec"), self.scope)  # noqa: S102 - our own text
        decode: Decode = self.scope["decode"]
        return decode

    def _default(self, name: str) -> str:
        if name not in self._contract.defaults:
            raise _Uncovered(name)
        default = self._contract.defaults[name]
        return self._constant(default.value if isinstance(default, Words) else default)

    def _constant(self, value: Any) -> str:
        name = f"k{len(self.scope)}"
        self.scope[name] = value
        return name

    def _add(self, depth: int, *lines: str) -> None:
        self._lines += [" " * depth + line for line in lines]

    def _skip(self, depth: int, written: Any) -> None:
        walk = self._constant(walker(written, self._names))
        self._add(depth, f"i = {walk}(b, i)")

    def _optional(self, depth: int, v: str, written: Any, ours: Any) -> None:
        """A field of ours; either side may be a union of null and one other type."""
        nullable = isinstance(ours, list)
        if nullable:
            ours = next(t for t in ours if t != "null")
        if not isinstance(written, list):
            self._value(depth, v, written, ours)
            return
        if len(written) != 2 or "null" not in written:
            raise _Uncovered(written)
        null = written.index("null")
        absent = f"{v} = None; i += 1" if nullable else "bad()"
        self._add(depth, "c = b[i]", f"if c == {2 * (1 - null)}:")  # most fields are there: they come first
        self._value(depth + 1, v, written[1 - null], ours, at=1)
        self._add(depth, f"elif c == {2 * null}: {absent}", "else: bad()")

    def _value(self, depth: int, v: str, written: Any, ours: Any, at: int = 0) -> None:
        """Read a value of type ``written``, ``at`` bytes behind ``i``, into the variable ``v`` as one of our type."""
        written, ours = _resolve(written, self._names), _resolve(ours, self._our_names)
        kind, our_kind = written["type"], ours["type"]
        decimals = [t for t in (written, ours) if t.get("logicalType") == "decimal"]
        here = f"i + {at}" if at else "i"
        if decimals:
            self._decimal(depth, v, written, ours, here)
        elif kind != our_kind and (kind, our_kind) not in PROMOTIONS:
            raise _Uncovered(written)
        elif kind in ("int", "long"):
            self._long(depth, v, written, ours, at)
        elif kind == "string":
            self._add(depth, f"n = spans{at}[b[{here}]]", f"if n: j = i + n; {v} = b[i + {at + 1}:j].decode(); i = j")
            self._add(depth, f"else: {v}, i = text(b, {here})")
        elif kind == "bytes":
            self._add(depth, f"{v}, i = raw(b, {here})")
        elif kind == "double":
            self._add(depth, f"{v}, = double(b, {here}); i += {at + 8}")
        elif kind == "float":
            self._add(depth, f"{v}, = single(b, {here}); i += {at + 4}")
        elif kind == "boolean":
            self._add(depth, f"c = b[{here}]; i += {at + 1}", "if c > 1: bad()", f"{v} = c == 1")
        elif kind == "enum":
            self._enum(depth, v, written, ours, at)
        elif kind == "array":
            self._add(depth, *(["i += 1"] if at else []))
            self._array(depth, v, written["items"], ours["items"])
        else:
            raise _Uncovered(written)

    def _long(self, depth: int, v: str, written: Any, ours: Any, at: int) -> None:
        here = f"i + {at}" if at else "i"
        self._add(depth, f"{v} = small[b[{here}]]", f"if {v} is None: {v}, i = long(b, {here})", f"else: i += {at + 1}")
        unit = TIME_UNITS.get(written.get("logicalType", ""), 1) if ours.get("logicalType") in TIME_UNITS else 1
        if unit != 1:
            self._add(depth, f"{v} *= {unit}", f"if not -{INT64_LIMIT} <= {v} < {INT64_LIMIT}: bad()")

    def _decimal(self, depth: int, v: str, written: Any, ours: Any, here: str) -> None:
        keys = ("type", "logicalType", "precision", "scale")
        if any(written.get(k, 0) != ours.get(k, 0) for k in keys) or written["type"] != "bytes":
            raise _Uncovered(written)
        limit = self._constant(10 ** written["precision"])
        self._add(depth, f"n, i = raw(b, {here}); n = number(n, 'big', signed=True)")
        self._add(depth, f"if not -{limit} < n < {limit}: bad()")
        # A context of our own: the thread's rounds to as many digits as others set.
        self._add(depth, f"{v} = Decimal(n).scaleb(-{int(written.get('scale', 0))}, context)")

    def _enum(self, depth: int, v: str, written: Any, ours: Any, at: int) -> None:
        if written["name"] != ours["name"]:
            raise _Uncovered(written)
        known, default = set(ours["symbols"]), ours.get("default")
        symbols = {2 * n: s if s in known else default for n, s in enumerate(written["symbols"][:64])}
        table = self._constant({code: s for code, s in symbols.items() if s is not None})
        self._add(depth, f"{v} = {table}[b[i + {at}]]; i += {at + 1}")

    def _array(self, depth: int, v: str, written: Any, ours: Any) -> None:
        if isinstance(written, list) or isinstance(ours, list) or _resolve(written, self._names)["type"] == "array":
            raise _Uncovered(written)
        self._add(depth, f"if not b[i]: {v} = (); i += 1", "else:", " items = []", " while 1:")
        self._long(depth + 2, "c", {}, {}, at=0)
        self._add(depth + 2, "if not c: break", "if c < 0: bad()", "for _ in range(c):")
        self._value(depth + 3, "x", written, ours)
        self._add(depth + 3, "items.append(x)")
        self._add(depth + 1, f"{v} = tuple(items)")


def _resolve(kind: Any, names: Names) -> Any:
    """A type as a dict, a name followed to what it names."""
    if isinstance(kind, dict):
        return kind if isinstance(kind["type"], str) else _resolve(kind["type"], names)
    if isinstance(kind, str):
        return names.get(kind, {"type": kind})
    raise _Uncovered(kind)
