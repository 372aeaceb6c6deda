"""JSON of external systems: read strictly, mapped to rows in our names, and back.

An absent field leaves the state as it is, an explicit null clears it (`unset`), an unknown field is ignored, as
external systems add fields. Their names and labels come from the contract's marks.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final, NoReturn

from schemas.errors import InvalidInput
from schemas.record import SEQUENCE, UNSET, Contract, contract, contracts, declare_all
from schemas.wire.compiled import common_reader
from schemas.wire.passwords import MASK, concealed, has_password
from schemas.wire.strict import Row, read_strictly
from schemas.wire.writing import written


def parse_json(raw: bytes | str, *, max_bytes: int = 1_048_576, max_depth: int = 32) -> Any:
    """Returns any JSON value; numbers with a point or exponent become Decimal, so that money stays exact.

    Raises InvalidInput for more than ``max_bytes`` (not parsed at all), bytes that are not UTF-8 or not JSON (NaN and
    Infinity are not), an object with a name twice, and more than ``max_depth`` arrays and objects in one another.
    """
    if len(raw) > max_bytes:
        raise InvalidInput("document", f"at most {max_bytes} bytes", f"{len(raw)} bytes")
    try:
        text = raw if isinstance(raw, str) else raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("document", "UTF-8", _part(raw, error.start, 17)) from None
    try:
        value = _decoded(text)
    except json.JSONDecodeError as error:
        raise InvalidInput("document", f"JSON ({error.msg}, at {error.pos})", _part(text, error.pos, 20)) from None
    except RecursionError:
        raise InvalidInput("document", f"at most {max_depth} levels", "many more") from None
    except (ValueError, InvalidOperation):  # an int of more digits than Python reads, an exponent beyond Decimal
        raise InvalidInput("document", "numbers of a sensible size", "a far longer one") from None
    if text.count("{") + text.count("[") > max_depth:
        _check_depth(value, max_depth)
    return value


def _decoded(text: str) -> Any:
    """Returns the value; `decode` itself looks for space around it with two regular expressions."""
    try:
        value, end = _DECODER.scan_once(text, 0)  # type: ignore[attr-defined]
    except StopIteration:  # space before the value, or no value
        return _DECODER.decode(text)
    return value if end == len(text) else _DECODER.decode(text)


def _part(raw: bytes | str, start: int, size: int) -> bytes | str:
    """Returns the place of an error, which may be within a password."""
    return MASK if has_password(raw) else raw[start : start + size]


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput("document", "JSON, which has no such number", name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(twice, "a name once in an object", f"{names.count(twice)} times")
    return found


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object)
"""Built once: to build one takes as long as to read a frame."""


def _check_depth(value: Any, max_depth: int) -> None:
    """Check level by level, without recursion, as the sender chooses the depth. Raises InvalidInput."""
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        if depth > max_depth:
            raise InvalidInput("document", f"at most {max_depth} levels", "more")
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]


def from_outside(word: str, data: object) -> Row:
    """Returns the row of a message of the external type ``word``, in any letter case. For a thing that Kounter decides
    the row is a command. Raises InvalidInput in the sender's own names.

    Numbers may come as numeric texts (the sources say only "number"), but not as booleans.
    """
    of = outside_contract(word)
    if not isinstance(data, dict):
        raise InvalidInput("data", "an object", concealed(data))
    row = common_reader(of)(data)
    return read_strictly(of, data) if row is None else row


def to_outside(row: Row) -> tuple[str, dict[str, Any]]:
    """Returns the external ``type`` and ``data`` of a row: absent fields left out, unset ones null.

    Money stays Decimal. UNKNOWN has no external label, so it is left out. Raises InvalidInput
    for a record that has no external name, and for values that JSON or the calendar can't hold.
    """
    of = contract(type(row))
    if of.outside is None:
        raise InvalidInput(of.full_name, "a record with an external name", of.name)
    said = written(of, dict(zip(of.fields, row, strict=True)))
    if UNSET in of.fields:
        cleared = row[of.fields.index(UNSET)]
        said |= {of.wire_names[n]: None for n in of.said if n in cleared and of.wire_names[n] not in said}
    return of.outside, said


def whole_frame(word: str, state: Any) -> tuple[str, dict[str, Any]]:
    """Returns the external ``type`` and ``data`` of all that a state knows: a field without a value is null, as its
    receiver replaces what it has by the whole. The number of the change is left to the sender.

    ``state``: of the aggregate that messages of the type ``word`` change; a lead's state serves ``lead`` and
    ``lead_op``. Raises InvalidInput as `to_outside` does.
    """
    of = outside_contract(word)
    said = written(of, {name: getattr(state, name, None) for name in of.said} | {of.key: state.ext_id})
    if of.counter is not None:
        said.pop(SEQUENCE, None)
    return str(of.outside), _blank(of) | said


@cache
def _blank(of: Contract) -> dict[str, None]:
    """Returns null for each field of the external form but the number of the change."""
    return {of.wire_names[name]: None for name in of.said if name != of.counter}


def is_outside(word: str) -> bool:
    """Returns whether an external type is known, in any letter case."""
    return word.lower() in _outside(len(contracts()))


def outside_contract(word: str) -> Contract:
    """Returns the contract of an external type. Raises InvalidInput for one that is unknown."""
    if (of := _by_word.get(word)) is not None:
        return of
    known = _outside(len(contracts()))
    if (of := known.get(word.lower())) is None:
        raise InvalidInput("type", "one of " + ", ".join(str(c.outside) for c in known.values()), concealed(word))
    return of


@cache
def _outside(declared: int) -> dict[str, Contract]:
    """Returns contracts by external type in lower case. ``declared``: contracts so far, so that later ones are found
    too."""
    declare_all()  # else only the types whose modules somebody has imported would be known
    _by_word.update({c.outside: c for c in contracts() if c.outside})
    return {c.outside.lower(): c for c in contracts() if c.outside}


_by_word: Final[dict[str, Contract]] = {}
"""Contracts by external type as it is written, filled by `_outside`."""
