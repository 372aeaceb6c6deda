"""Checks of a caller's values before they become part of a request or its path."""

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
    """Return an id that may be part of a path. Raises InvalidInput unless it is from 0 to 2^63 - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InvalidInput("id", "a whole number of at most 63 bits", value)
    return value


def path_number(value: str) -> str:
    """Return an account's number quoted as a segment of a path. Raises InvalidInput."""
    number = _valid("number", _NUMBER, value)
    if number in (".", ".."):
        raise InvalidInput("number", "the number of an account", value)
    return quote(number, safe="")


def valid_phone(value: str) -> str:
    """Return a phone in the operator's form (docs/contracts/rosdomofon.md#phones). Raises InvalidInput."""
    return _valid("phone", _PHONE, value)


def build_request(model: type[R], **values: Any) -> R:
    """Return a request of the model. Raises InvalidInput, whose text shows no values."""
    try:
        return model(**values)
    except ValidationError as error:
        problem, field = problems(error), ".".join(map(str, error.errors()[0]["loc"])) or "body"
    raise InvalidInput(field, problem, None)


def _valid(name: str, adapter: TypeAdapter[str], value: str) -> str:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problem = problems(error)
    raise InvalidInput(name, problem, None)
