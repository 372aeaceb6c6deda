"""Decoding steps as Python source, used where `native` was not built. Plain bytecode that knows each field's type and
place beats fastavro's compiled general reader."""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Final, NoReturn

from schemas.codec.plan import Step, Steps
from schemas.codec.validation import Broken
from schemas.fields import INT64_LIMIT
from schemas.record import Contract

SMALL: Final = tuple(None if byte > 127 else byte >> 1 ^ -(byte & 1) for byte in range(256))
"""Integers by their single zigzag byte; None if more bytes follow."""
SPANS: Final = tuple(
    tuple(0 if byte > 127 or byte & 1 else at + 1 + (byte >> 1) for byte in range(256)) for at in (0, 1)
)
"""Bytes from `i` to the end of a text whose length stands 0 or 1 bytes behind it, by that byte; 0: the length has more
bytes."""


def python_decoder(
    plan: Steps, contract: Contract, reference: Callable[[bytes], tuple[Any, ...]], start: int
) -> Callable[[bytes], tuple[Any, ...]]:
    """Returns a decoder that begins at the byte ``start``. Values that the source can't decode go to ``reference``."""
    return _Source(plan, contract, reference).compile(start)


def _long(data: bytes, i: int) -> tuple[int, int]:
    """Returns the value of a zigzag varint of any length, and where the next value begins."""
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
    """Returns bytes of any length, and where the next value begins."""
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

    def __init__(self, plan: Steps, contract: Contract, reference: Callable[[bytes], tuple[Any, ...]]) -> None:
        self._plan, self._contract = plan, contract
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

    def compile(self, start: int) -> Callable[[bytes], tuple[Any, ...]]:
        """Returns the compiled decoder."""
        for step in self._plan.steps:
            self._optional(2, step)
        defaults = {k: self._constant(value) for k, value in self._plan.defaults.items()}
        values = ", ".join(defaults.get(k, f"v{k}") for k in range(len(self._contract.fields)))
        head = ["def decode(b):", " try:", f"  i = {start}"]
        tail = ["  if i != len(b): bad()", f"  return new(Row, ({values},))", " except Exception:"]
        source = "\n".join([*head, *self._lines, *tail, "  return reference(b)"])
        exec(compile(source, f"<decoder of {self._contract.full_name}>", "exec"), self.scope)  # noqa: S102 - our own text
        decode: Callable[[bytes], tuple[Any, ...]] = self.scope["decode"]
        return decode

    def _constant(self, value: Any) -> str:
        name = f"k{len(self.scope)}"
        self.scope[name] = value
        return name

    def _add(self, depth: int, *lines: str) -> None:
        self._lines += [" " * depth + line for line in lines]

    def _optional(self, depth: int, step: Step) -> None:
        v = f"v{step.place}"
        if step.null < 0:
            self._value(depth, v, step)
            return
        absent = f"{v} = None; i += 1" if step.nullable else "bad()"
        self._add(depth, "c = b[i]", f"if c == {2 - step.null}:")  # most fields are there: they come first
        self._value(depth + 1, v, step, at=1)
        self._add(depth, f"elif c == {step.null}: {absent}", "else: bad()")

    def _value(self, depth: int, v: str, step: Step, at: int = 0) -> None:
        """Add lines that read a value ``at`` bytes behind ``i`` into the variable ``v``."""
        here = f"i + {at}" if at else "i"
        match step.kind:
            case "skip":
                self._add(depth, f"i = {self._constant(step.detail)}(b, i)")
            case "long":
                self._long(depth, v, step.detail, at)
            case "string":
                short = f"if n: j = i + n; {v} = b[i + {at + 1}:j].decode(); i = j"
                self._add(depth, f"n = spans{at}[b[{here}]]", short, f"else: {v}, i = text(b, {here})")
            case "bytes":
                self._add(depth, f"{v}, i = raw(b, {here})")
            case "double":
                self._add(depth, f"{v}, = double(b, {here}); i += {at + 8}")
            case "float":
                self._add(depth, f"{v}, = single(b, {here}); i += {at + 4}")
            case "boolean":
                self._add(depth, f"c = b[{here}]; i += {at + 1}", "if c > 1: bad()", f"{v} = c == 1")
            case "enum":
                self._add(depth, f"{v} = {self._constant(step.detail)}[b[{here}]]; i += {at + 1}")
            case "decimal":
                self._decimal(depth, v, step.detail, here)
            case _:
                self._add(depth, *(["i += 1"] if at else []))
                self._array(depth, v, step.detail)

    def _long(self, depth: int, v: str, unit: int, at: int) -> None:
        here = f"i + {at}" if at else "i"
        self._add(depth, f"{v} = small[b[{here}]]", f"if {v} is None: {v}, i = long(b, {here})", f"else: i += {at + 1}")
        if unit != 1:
            self._add(depth, f"{v} *= {unit}", f"if not -{INT64_LIMIT} <= {v} < {INT64_LIMIT}: bad()")

    def _decimal(self, depth: int, v: str, detail: tuple[int, int], here: str) -> None:
        limit, scale = self._constant(detail[0]), detail[1]
        self._add(depth, f"n, i = raw(b, {here}); n = number(n, 'big', signed=True)")
        self._add(depth, f"if not -{limit} < n < {limit}: bad()")
        # Our own context: other code may set the thread's to fewer digits.
        self._add(depth, f"{v} = Decimal(n).scaleb(-{scale}, context)")

    def _array(self, depth: int, v: str, item: Step) -> None:
        self._add(depth, f"if not b[i]: {v} = (); i += 1", "else:", " items = []", " while 1:")
        self._long(depth + 2, "c", unit=1, at=0)
        self._add(depth + 2, "if not c: break", "if c < 0: bad()", "for _ in range(c):")
        self._value(depth + 3, "x", item)
        self._add(depth + 3, "items.append(x)")
        self._add(depth + 1, f"{v} = tuple(items)")
