"""Answers of a portal: lists and ids that were read, and the delivery error of each failure
(docs/contracts/bitrix24.md#errors)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from schemas.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    OutcomeUnknown,
    host_of,
    shorten,
)
from schemas.fields import is_id

READS: Final = frozenset({"get", "list", "fields", "findbycomm", "profile", "info"})
"""Last parts of the methods that change nothing. All others are writes, which may be done though the answer is lost."""
BUCKET_S: Final = 1.0
"""Seconds to wait after QUERY_LIMIT_EXCEEDED: two calls have left the bucket by then."""
_DENIED: Final = frozenset({"ACCESS_DENIED", "insufficient_scope", "user_access_error"})
"""Codes that no retry changes. They may concern the lead alone, or the method."""
_DENIED_ALL: Final = frozenset(
    {"INVALID_CREDENTIALS", "NO_AUTH_FOUND", "OVERLOAD_LIMIT", "PORTAL_DELETED", "expired_token", "invalid_token"}
)
"""Codes that concern every call until a person changes something."""
_NOT_FOUND: Final = frozenset({"NOT_FOUND", "OWNER_NOT_FOUND"})
_BROKEN: Final = frozenset({"INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER"})
"""Codes of 5xx; in a batch they come without their status."""


class Reply(NamedTuple):
    """A successful answer; only lists have ``total`` and ``next``."""

    result: Any
    total: int | None
    next: int | None


class Bitrix24Refused(DeliveryRefused):
    """The portal refuses this call for its data."""

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        self.not_found = not_found
        """Whether the named lead does not exist."""
        super().__init__(message)


class RateExceeded(DeliveryUnavailable):
    """The portal got too many calls in this moment; it did nothing."""


class Unreadable(DeliveryUnavailable):
    """The portal's answer can't be read, which never means "none". The text names fields, without their values."""

    def __init__(self, what: str, wrong: ValidationError | str) -> None:
        if isinstance(wrong, ValidationError):
            wrong = ", ".join(sorted({str(one["loc"][0]) if one["loc"] else "" for one in wrong.errors()}))
        super().__init__(f"the portal's {what} can't be read: {wrong}")


class UnreadableLead(Unreadable):
    """The row of one lead can't be read, whereas the portal answers for others."""


class Meaning(Enum):
    """The kind of a failure."""

    REFUSED = auto()
    NOT_FOUND = auto()
    RATE = auto()
    """The portal got too many calls: nothing was done."""
    BLOCKED = auto()
    """The method has used up its operating time: nothing was done."""
    DENIED = auto()
    """This call is denied, perhaps every call."""
    DENIED_ALL = auto()
    UNREACHABLE = auto()
    """The request never left."""
    LOST = auto()
    """No usable answer came: the call may have been done."""


class Failure(NamedTuple):
    """The failure of a request; `of` makes the error of each call in it."""

    meaning: Meaning
    text: str
    retry_after: float | None = None
    """Seconds."""

    def of(self, method: str) -> DeliveryError:
        """Return the error of one call: after a lost answer a write may have been done, a read can be repeated."""
        text = f"{method}: {self.text}"
        match self.meaning:
            case Meaning.REFUSED | Meaning.NOT_FOUND:
                return Bitrix24Refused(text, not_found=self.meaning is Meaning.NOT_FOUND)
            case Meaning.RATE:
                return RateExceeded(text, retry_after=self.retry_after)
            case Meaning.DENIED | Meaning.DENIED_ALL:
                return DeliveryDenied(text, for_all=self.meaning is Meaning.DENIED_ALL)
            case Meaning.LOST if not is_read(method):
                return OutcomeUnknown(f"{text}, it may have been done")
            case _:
                return DeliveryUnavailable(text, retry_after=self.retry_after)


def is_read(method: str) -> bool:
    """Return whether a method changes nothing."""
    return method.rpartition(".")[2] in READS


def lost(problem: str) -> Failure:
    """Return the failure of a request without a usable answer."""
    return Failure(Meaning.LOST, f"no answer ({problem})")


def of_error(code: str, text: str, status: int, retry_after: float | None) -> Failure:
    """Return the failure of a portal's error answer. An error inside a batch has no ``status`` of its own: give 400."""
    named = f"{code or status}: {text}"
    if code == "QUERY_LIMIT_EXCEEDED":
        return Failure(Meaning.RATE, named, retry_after or BUCKET_S)
    if code == "OPERATION_TIME_LIMIT" or status == 429:
        return Failure(Meaning.BLOCKED, named, retry_after)
    if code in _DENIED_ALL:
        return Failure(Meaning.DENIED_ALL, named)
    if code in _DENIED or status in (401, 403) or text.lower().startswith("access denied"):
        return Failure(Meaning.DENIED, named)
    if status >= 500 or 200 <= status < 300 or code in _BROKEN:
        return lost(code or str(status))
    if status < 400:
        return _moved(status)
    not_found = code in _NOT_FOUND or text.rstrip(".") == "Not found"
    return Failure(Meaning.NOT_FOUND if not_found else Meaning.REFUSED, named)


def rows(what: str, result: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a list. PHP shows an empty list as ``[]`` or ``{}``, one with gaps as a map by numbers.

    Raises Unreadable for anything else: a missing list is not an empty one.
    """
    listed = _listed(what, result)
    for row in listed:
        if not isinstance(row, Mapping):
            raise Unreadable(what, f"a row is {type(row).__name__}")
    return listed


def ids(what: str, result: Any) -> list[int]:
    """Return the ids of a list of ids. Raises Unreadable."""
    return [id_of(what, one) for one in _listed(what, result)]


def id_of(what: str, value: Any) -> int:
    """Return an id that was read, a number or a text. Raises Unreadable."""
    text = str(value)
    if not is_id(text) or not int(text):
        raise Unreadable(what, "an id is not a number")
    return int(text)


def _listed(what: str, result: Any) -> list[Any]:
    if isinstance(result, list):
        return result
    if isinstance(result, Mapping) and all(str(key).isdecimal() for key in result):
        return list(result.values())
    keys = ", ".join(sorted(map(str, result))[:5]) if isinstance(result, Mapping) else ""
    raise Unreadable(what, f"not a list, but {shorten(keys) if keys else type(result).__name__}")


def count(value: Any) -> int | None:
    """Return a count beside a list, a number or a text; None if there is none. Raises ValueError."""
    if value is None:
        return None
    if not is_id(text := str(value)):
        raise ValueError(text[:20])
    return int(text)


def of_status(status: int, retry_after: float | None, location: str = "") -> Failure:
    """Return the failure of an answer that no portal gave: a proxy's or login page, or a host without a portal."""
    if 300 <= status < 400:
        return _moved(status, location)
    if status == 403:  # a firewall before the portal may refuse single texts
        return Failure(Meaning.DENIED, "403, and not from a portal: check the proxy or firewall before it")
    if status in (401, 404):
        return Failure(Meaning.DENIED_ALL, f"{status}, and not from a portal: check the webhook's URL")
    if status == 413:
        return Failure(Meaning.REFUSED, "413, the request is too large")
    if status == 429:
        return Failure(Meaning.BLOCKED, "429, and not from a portal", retry_after)
    return lost(f"{status}, and not JSON")


def _moved(status: int, location: str = "") -> Failure:
    """Return the failure of a redirect, which is not followed: the secret goes to no other host, port or scheme."""
    return Failure(Meaning.DENIED_ALL, f"{status}, the portal has moved to {host_of(location)} or wants a login there")
