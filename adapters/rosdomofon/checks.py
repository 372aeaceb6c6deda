"""What of a caller's goes into a request or its path: looked at before it is sent."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from adapters.rosdomofon.models import CreateAccountRequest
from adapters.rosdomofon.wire import Request, problems
from schemas.errors import InvalidInput

R = TypeVar("R", bound=Request)


def path_id(value: int) -> int:
    """An id that is part of a path."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InvalidInput("id", "a whole number of at most 63 bits", value)
    return value


def path_number(value: str) -> str:
    """An account's number as a segment of a path."""
    number = built(CreateAccountRequest, number=value, phone="79000000000").number
    if number in (".", ".."):
        raise InvalidInput("number", "the number of an account", value)
    return quote(number, safe="")


def built(model: type[R], **values: Any) -> R:
    """A request. Raises InvalidInput without showing phones or words."""
    try:
        return model(**values)
    except ValidationError as error:
        problem, where = problems(error), ".".join(map(str, error.errors()[0]["loc"])) or "body"
    raise InvalidInput(where, problem, None)
