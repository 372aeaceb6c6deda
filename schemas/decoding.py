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
from schemas.errors import UndecodableRecord
from schemas.fields import Words
from schemas.record import Contract
from schemas.walk import Broken, Names, walker

Row = tuple[Any, ...]
Decode = Callable[[bytes], Row]
"""Takes a Kafka value with its wire header. Raises UndecodableRecord."""
HEADER_SIZE: Final = 5
"""Of the Confluent wire format: a zero byte and four of the schema's id."""
TIME_UNITS: Final = {"timestamp-millis": 1000, "timestamp-micros": 1}
"""In microseconds, which is what rows hold."""
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
    new = contract.record

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
        values = (record[n] for n in contract.fields)
        return tuple.__new__(new, [tuple(v) if isinstance(v, list) else v for v in values])

    return decode


def _without_logical(schema: Any) -> Any:
    """The schema without logical types but decimal: times stay numbers, of any size, and texts texts."""
    if isinstance(schema, list):
        return [_without_logical(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    drop = "" if schema.get("logicalType") == "decimal" else "logicalType"
    return {k: _without_logical(v) for k, v in schema.items() if k != drop}


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


def _more(value: int, last: int, shift: int, data: bytes, i: int) -> tuple[int, int]:
    """The rest of a varint whose byte ``last`` said that it goes on."""
    while last > 127:
        if shift > 63:
            raise Broken("an integer beyond 64 bits")
        last = data[i]
        i += 1
        value += (last - 1) << shift
        shift += 7
    if value >> 64:
        raise Broken("an integer beyond 64 bits")
    return value, i


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
            "more": _more,
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
        absent = f"{v} = None" if nullable else "bad()"
        self._add(depth, "c = b[i]; i += 1", f"if c == {2 * (1 - null)}:")  # most fields are there: they come first
        self._value(depth + 1, v, written[1 - null], ours)
        self._add(depth, f"elif c == {2 * null}: {absent}", "else: bad()")

    def _value(self, depth: int, v: str, written: Any, ours: Any) -> None:
        """Read a value of type ``written`` into the variable ``v`` as one of our type."""
        written, ours = _resolve(written, self._names), _resolve(ours, self._our_names)
        kind, our_kind = written["type"], ours["type"]
        decimals = [t for t in (written, ours) if t.get("logicalType") == "decimal"]
        if decimals:
            self._decimal(depth, v, written, ours)
        elif kind != our_kind and (kind, our_kind) not in PROMOTIONS:
            raise _Uncovered(written)
        elif kind in ("int", "long"):
            self._long(depth, v, written, ours)
        elif kind in ("string", "bytes"):
            self._length(depth)
            self._add(depth, f"{v} = b[i:j]" + (".decode()" if kind == "string" else ""), "i = j")
        elif kind == "double":
            self._add(depth, f"{v}, = double(b, i); i += 8")
        elif kind == "float":
            self._add(depth, f"{v}, = single(b, i); i += 4")
        elif kind == "boolean":
            self._add(depth, "c = b[i]; i += 1", "if c > 1: bad()", f"{v} = c == 1")
        elif kind == "enum":
            self._enum(depth, v, written, ours)
        elif kind == "array":
            self._array(depth, v, written["items"], ours["items"])
        else:
            raise _Uncovered(written)

    def _varint(self, depth: int, inline: int) -> None:
        """Into ``c``: the first ``inline`` bytes in place, the rest by a call."""
        self._add(depth, "c = b[i]; i += 1")
        for n in range(1, inline):
            test = "if c > 127:" if n == 1 else "if d > 127:"
            self._add(depth + n - 1, test, f" d = b[i]; i += 1; c += d - 1 << {7 * n}")
        self._add(depth + inline - 1, f"if d > 127: c, i = more(c, d, {7 * inline}, b, i)")

    def _length(self, depth: int) -> None:
        """Into ``j``: where the text or bytes that begin at ``i`` end."""
        self._varint(depth, 2)
        self._add(depth, "if c & 1: bad()", "j = i + (c >> 1)")

    def _long(self, depth: int, v: str, written: Any, ours: Any) -> None:
        self._varint(depth, 3)
        unit = TIME_UNITS.get(written.get("logicalType", ""), 1) if ours.get("logicalType") in TIME_UNITS else 1
        self._add(depth, f"{v} = c >> 1 ^ -(c & 1)", *([] if unit == 1 else [f"{v} *= {unit}"]))

    def _decimal(self, depth: int, v: str, written: Any, ours: Any) -> None:
        keys = ("type", "logicalType", "precision", "scale")
        if any(written.get(k, 0) != ours.get(k, 0) for k in keys) or written["type"] != "bytes":
            raise _Uncovered(written)
        limit = self._constant(10 ** written["precision"])
        self._length(depth)
        self._add(depth, "n = number(b[i:j], 'big', signed=True); i = j", f"if not -{limit} < n < {limit}: bad()")
        # A context of our own: the thread's rounds to as many digits as others set.
        self._add(depth, f"{v} = Decimal(n).scaleb(-{int(written.get('scale', 0))}, context)")

    def _enum(self, depth: int, v: str, written: Any, ours: Any) -> None:
        if written["name"] != ours["name"]:
            raise _Uncovered(written)
        known, default = set(ours["symbols"]), ours.get("default")
        symbols = {2 * n: s if s in known else default for n, s in enumerate(written["symbols"][:64])}
        table = self._constant({code: s for code, s in symbols.items() if s is not None})
        self._add(depth, f"{v} = {table}[b[i]]; i += 1")

    def _array(self, depth: int, v: str, written: Any, ours: Any) -> None:
        if isinstance(written, list) or isinstance(ours, list) or _resolve(written, self._names)["type"] == "array":
            raise _Uncovered(written)
        self._add(depth, f"if not b[i]: {v} = (); i += 1", "else:", " items = []", " while 1:")
        self._varint(depth + 2, 2)
        self._add(depth + 2, "if not c: break", "if c & 1: bad()", "for _ in range(c >> 1):")
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
