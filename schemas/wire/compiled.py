"""The reading of an external message in its common form: one generated function per contract, some twenty times faster
than `schemas.wire.strict`.

It returns None for whatever is not common (numeric texts, labels in another letter case, each wrong value), and then
the strict reading decides and explains.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple, get_origin

from pydantic import AfterValidator, StringConstraints

from schemas.fields import (
    INT64_LIMIT,
    MOST_ID,
    TEXT_LIMIT,
    AvroType,
    EachOf,
    IfNumber,
    Label,
    NumberText,
    WholeAsText,
    to_micros,
)
from schemas.record import UNSET, Contract, marks
from schemas.wire.strict import Row, is_time, number_of_text, plain_type, shares_name

ReadCommon = Callable[[dict[str, Any]], Row | None]
_Place = tuple[str, tuple[str, ...], int]
"""A field, its names in the message, its place in the row."""
_CENT: Final = Decimal("0.01")
_LABELS: Final = "labels"


class _Step(NamedTuple):
    """The lines that read one field into its variable."""

    lines: tuple[str, ...]
    is_free_text: bool = False
    """Whether the value is a text that must still be checked for whole Unicode characters."""


@cache
def common_reader(of: Contract) -> ReadCommon:
    """Returns the function that reads the common form of a contract's messages."""
    scope: dict[str, Any] = dict(_HELPERS)
    lines, texts, cleared = [], [], []
    for i, name in enumerate(of.said):
        names, variable = of.accepted_names[name], f"v{of.fields.index(name)}"
        if shares_name(of, name):
            names = names[:1]
        kinds = {type(mark) for mark in marks(of.hints[name])}
        lines.append(f"{variable} = get({names[0]!r})")
        lines += [line for also in names[1:] for line in (f"if {variable} is None:", f"    {variable} = get({also!r})")]
        step = _step(of, name, variable, f"{_LABELS}{i}", scope)
        if name == of.key:
            lines.append(f"if {variable} is None: return None")
        lines += ["if " + variable + " is not None:", *("    " + line for line in step.lines)]
        texts += [variable] if step.is_free_text else []
        if name != of.counter:
            cleared.append((name, names, of.fields.index(name)))
        if IfNumber in kinds:
            lines.append(f"    if {variable} is None: clears = True")
    scope |= {"Row": of.record, "cleared": tuple(cleared), "new": tuple.__new__}
    characters = "".join("{" + text + "}" for text in texts)
    body = "\n        ".join([*lines, f"f'{characters}'.encode()"])
    source = f"""
def read(data):
    get = data.get
    clears = None in data.values()
    try:
        {body}
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return None
    values = ({"".join(_value(of, name, scope) + ", " for name in of.fields)})
    if clears:
        values = with_cleared(values, data, cleared, {of.fields.index(UNSET) if UNSET in of.fields else None})
    return new(Row, values)
"""
    exec(compile(source, f"<read {of.name}>", "exec"), scope)  # noqa: S102 - names and labels of our own contracts
    read: ReadCommon = scope["read"]
    return read


def _value(of: Contract, name: str, scope: dict[str, Any]) -> str:
    """Returns the expression of a field in the row."""
    if name in of.said:
        return f"v{of.fields.index(name)}"
    scope[f"default_{name}"] = of.defaults[name]
    return f"default_{name}"


def _step(of: Contract, name: str, v: str, labels: str, scope: dict[str, Any]) -> _Step:
    """Returns the lines for a value that is not None. They return None, or raise, where it is not common."""
    hint = of.hints[name]
    found = marks(hint)
    kind = plain_type(hint)
    kinds = {type(mark) for mark in found}
    if is_time(hint):
        return _Step((f"if {v}.__class__ is not str: return None", f"{v} = to_micros(fromisoformat({v}))"))
    if any(isinstance(mark, AvroType) and ("logicalType", "decimal") in mark.attributes for mark in found):
        return _Step((f"{v} = money({v})",))
    if isinstance(kind, type) and issubclass(kind, Label):
        scope[labels] = _labels(kind)
        return _Step((f"{v} = {labels}[{v}]",))
    if EachOf in kinds:
        scope[labels] = _labels(next(mark.labels for mark in found if isinstance(mark, EachOf)))
        return _Step((f"if {v}.__class__ is not list: return None", f"{v} = tuple([{labels}[w] for w in {v}])"))
    if get_origin(kind) is tuple:
        joined = f"if len(''.join({v}).encode()) > {TEXT_LIMIT}: return None"
        return _Step((f"if {v}.__class__ is not list: return None", joined, f"{v} = tuple({v})"))
    if kind is bool:
        return _Step((f"if {v}.__class__ is not bool: return None",))
    if kind is float:
        return _Step((f"{v} = number({v})",))
    if kind is int:
        as_text = (f"if {v}.__class__ is str: {v} = number_of_text({v})", f"elif {_no_int64(v)}: return None")
        return _Step(as_text if IfNumber in kinds else (f"if {_no_int64(v)}: return None",))
    return _text_step(found, kinds, v, labels, scope)


def _text_step(found: list[Any], kinds: set[type], v: str, name: str, scope: dict[str, Any]) -> _Step:
    lines: list[str] = []
    if NumberText in kinds or WholeAsText in kinds:
        lines += [f"if {v}.__class__ is int and {-INT64_LIMIT} <= {v} < {INT64_LIMIT}: {v} = str({v})"]
    limits = [mark for mark in found if isinstance(mark, StringConstraints)]
    if any(mark.pattern for mark in limits):  # an id; its characters are all printable, but for a few rare ones
        lines += [f"if {v}.__class__ is not str or not 0 < len({v}) <= {MOST_ID} or not {v}.isprintable(): return None"]
        return _Step(tuple(lines))
    longest = min([mark.max_length for mark in limits if mark.max_length] or [TEXT_LIMIT])
    lines += [f"if {v}.__class__ is not str or len({v}) > {longest}: return None"]
    for n, mark in enumerate(mark for mark in found if isinstance(mark, AfterValidator)):
        scope[f"{name}_{n}"] = mark.func
        lines += [f"{v} = {name}_{n}({v})"]
    return _Step(tuple(lines), is_free_text=True)


def _no_int64(v: str) -> str:
    return f"{v}.__class__ is not int or not {-INT64_LIMIT} <= {v} < {INT64_LIMIT}"


def _labels(words: type[Label]) -> dict[str, str]:
    return {label: member.value for member in words for label in (member.label, *member.also)}


def _money(value: Any) -> Decimal:
    """Returns an amount in cents. Raises ValueError or ArithmeticError for any but a common one."""
    if value.__class__ is int:
        if -INT64_LIMIT < value < INT64_LIMIT:
            return Decimal(value).quantize(_CENT)
    elif value.__class__ is Decimal and value.is_finite() and value.adjusted() < 18:
        cents: Decimal = value.quantize(_CENT)
        if cents == value:
            return cents
    raise ValueError


def _number(value: Any) -> float:
    if value.__class__ is int and -INT64_LIMIT < value < INT64_LIMIT:
        return float(value)
    if value.__class__ is Decimal and value.is_finite() and value.adjusted() < 18:
        return float(value)
    raise ValueError


def _with_cleared(
    values: tuple[Any, ...],
    data: dict[str, Any],
    cleared: tuple[tuple[str, tuple[str, ...], int], ...],
    unset: int | None,
) -> tuple[Any, ...]:
    """Returns the row's values with the fields that the message names without giving a value."""
    if unset is None:
        return values
    found = tuple(name for name, names, i in cleared if values[i] is None and any(n in data for n in names))
    return (*values[:unset], found, *values[unset + 1 :])


_HELPERS: Final = {
    "fromisoformat": datetime.fromisoformat,
    "money": _money,
    "number": _number,
    "number_of_text": number_of_text,
    "to_micros": to_micros,
    "with_cleared": _with_cleared,
}
