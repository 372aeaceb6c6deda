"""What of a caller's goes into a request or its path: looked at before it is sent. Raises InvalidInput."""

from __future__ import annotations

from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from adapters.rosdomofon.rest.models import AccountNumber
from adapters.rosdomofon.wire import Phone, Request, problems
from schemas.errors import InvalidInput

R = TypeVar("R", bound=Request)
_PHONE: Final[TypeAdapter[str]] = TypeAdapter(Phone)
_NUMBER: Final[TypeAdapter[str]] = TypeAdapter(AccountNumber)


def path_id(value: int) -> int:
    """An id that is part of a path."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InvalidInput("id", "a whole number of at most 63 bits", value)
    return value


def path_number(value: str) -> str:
    """An account's number as a segment of a path."""
    number = _valid("number", _NUMBER, value)
    if number in (".", ".."):
        raise InvalidInput("number", "the number of an account", value)
    return quote(number, safe="")


def phone_of(value: str) -> str:
    """A phone in the operator's form."""
    return _valid("phone", _PHONE, value)


def built(model: type[R], **values: Any) -> R:
    """A request; the error shows neither phones nor words."""
    try:
        return model(**values)
    except ValidationError as error:
        problem, where = problems(error), ".".join(map(str, error.errors()[0]["loc"])) or "body"
    raise InvalidInput(where, problem, None)


def _valid(name: str, kind: TypeAdapter[str], value: str) -> str:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        problem = problems(error)
    raise InvalidInput(name, problem, None)
