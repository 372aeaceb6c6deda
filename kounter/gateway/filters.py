"""The fields of a state over HTTP: their documentation, and the values of filter texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache
from typing import Any, Final, get_args

from schemas.codec.avro import UNKNOWN
from schemas.errors import InvalidInput
from schemas.fields import INT64_LIMIT, Label, to_micros
from tables.layout import Layout
from tables.listing import Listing
from tables.view_find import Find, PageRequest

ENDS: Final = ("from", "to")
"""Suffixes of the parameters of a range."""
EXPECTED: Final[Mapping[str, str]] = {
    "long": "a whole number of at most 64 bits",
    "double": "a number",
    "boolean": "true or false",
    "timestamp-micros": "a time: ISO 8601",
    "decimal": "an amount",
}
DOCUMENTED: Final[Mapping[str, dict[str, Any]]] = {
    "long": {"type": "integer", "format": "int64", "minimum": -INT64_LIMIT, "maximum": INT64_LIMIT - 1},
    "double": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
    "timestamp-micros": {"type": "string", "format": "date-time"},
    "decimal": {"type": "string", "pattern": r"^-?[0-9]{1,19}(\.[0-9]{1,2})?$", "examples": ["1500.00"]},
    "array": {"type": "array", "items": {"type": "string"}},
}
"""JSON Schema by kind; all other kinds are texts."""
MOST_VALUES: Final = 50
"""Values of one filter."""
MEMBER: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "pattern": "^[^,]+$"}
"""JSON Schema of a list's value in a filter, where commas separate values."""


def documented(layout: Layout, name: str) -> dict[str, Any]:
    """Returns the JSON Schema of a field."""
    if symbols := enum_symbols(layout).get(name):
        return {"type": "string", "enum": list(symbols)}
    return dict(DOCUMENTED.get(layout.kinds[name], {"type": "string"}))


@cache
def enum_symbols(layout: Layout) -> dict[str, tuple[str, ...]]:
    """Returns the symbols of each enum field."""
    found: dict[str, tuple[str, ...]] = {}
    for of in layout.contracts:
        for name in of.fields:
            if name in layout.kinds and (kind := _enum(of.hints[name])):
                found[name] = tuple(dict.fromkeys((*found.get(name, (UNKNOWN,)), *(str(symbol) for symbol in kind))))
    return found


def _enum(hint: Any) -> type[Label] | None:
    if isinstance(hint, type) and issubclass(hint, Label):
        return hint
    return next((found for part in get_args(hint) if (found := _enum(part))), None)


def value_of(layout: Layout, name: str, text: str, parameter: str = "") -> Any:
    """Returns the value of a filter's text for the field ``name``, in the column's form. Raises InvalidInput that names
    the ``parameter``, by default the field's name."""
    kind = layout.kinds[name]
    symbols = enum_symbols(layout).get(name)
    if symbols and text not in symbols:
        raise InvalidInput(parameter or name, f"one of {', '.join(symbols)}", text)
    try:
        if kind == "long":
            return _in_range(int(text))
        if kind == "double":
            return _finite(float(text))
        if kind == "boolean":
            return {"true": 1, "false": 0}[text]
        if kind == "timestamp-micros":
            return _in_range(to_micros(datetime.fromisoformat(text)))
        if kind == "decimal":
            return _cents(Decimal(text))
    except (ValueError, KeyError, ArithmeticError):
        raise InvalidInput(parameter or name, EXPECTED[kind], text) from None
    return text


def parameters_of(layout: Layout, listing: Listing) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schemas of a list's filters by parameter, without the ends of ranges. One that takes several
    values, separated by commas, is an array."""
    found = {name: documented(layout, name) for name, kind in layout.kinds.items() if kind != "array"}
    found |= {name: _several(found[name]) for name in listing.several}
    found |= {name: documented(listing.home(layout, name), name) for name in listing.through}
    return found | {name: _several(MEMBER) for name in listing.members}


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": MOST_VALUES}


def notes_of(listing: Listing) -> dict[str, str]:
    """Returns the descriptions of filters that are more than the equality of a field, by parameter."""
    notes = dict.fromkeys(listing.several, "One of these values, separated by commas")
    notes |= {name: f"Values, separated by commas, that all are in {field}" for name, field in listing.members.items()}
    parents = {name: path[-1][1].partition(".")[2] for name, path in listing.through.items()}
    return notes | {name: f"The field of the {parent} that it belongs to" for name, parent in parents.items()}


def query_of(layout: Layout, listing: Listing, texts: Mapping[str, str], page: PageRequest) -> Find:
    """Returns the search in the view for the texts of parameters. Raises InvalidInput that names the parameter."""
    filters: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    members: dict[str, list[str]] = {}
    ends: dict[str, dict[str, Any]] = {}
    cut_by = {f"{name}_{end}": (name, end) for name in listing.cut_by() for end in ENDS}
    for parameter, text in texts.items():
        if parameter in cut_by:
            name, end = cut_by[parameter]
            ends.setdefault(name, {})[end] = value_of(layout, name, text, parameter)
        elif parameter in listing.members:
            members[listing.members[parameter]] = _split(parameter, text)
        elif parameter in listing.several:
            said = _split(parameter, text)
            several[parameter] = list(dict.fromkeys(value_of(layout, parameter, one) for one in said))
        else:
            filters[parameter] = value_of(listing.home(layout, parameter), parameter, text)
    for name, given in ends.items():
        if len(given) == len(ENDS) and Decimal(given["from"]) > Decimal(given["to"]):
            raise InvalidInput(f"{name}_from", f"no more than {name}_to", texts[f"{name}_from"])
    ranges = {name: (given.get("from"), given.get("to")) for name, given in ends.items()}
    return Find(filters, ranges, several, members, **vars(page))


def _split(parameter: str, text: str) -> list[str]:
    """Returns the values of a text that has several, each once. Raises InvalidInput for an empty one, or for more than
    `MOST_VALUES`."""
    said = list(dict.fromkeys(text.split(",")))
    if "" in said or len(said) > MOST_VALUES:
        raise InvalidInput(parameter, f"up to {MOST_VALUES} values, separated by commas", text)
    return said


def _cents(amount: Decimal) -> str:
    """Returns an amount in the form of states: ``5`` becomes ``5.00``."""
    if not amount.is_finite():
        raise ValueError(amount)
    return str((amount + 0).quantize(Decimal("0.01"), context=Context(prec=40, traps=[InvalidOperation, Inexact])))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _in_range(number: int) -> int:
    if not -INT64_LIMIT <= number < INT64_LIMIT:
        raise ValueError(number)
    return number
