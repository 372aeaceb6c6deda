"""The errors of Kounter: one small tree, each with a code for programs and a hint for the person who must act.

KounterError
├── InvalidInput            external input breaks its contract: field, expected, came
├── UndecodableRecord       a record on a topic can't be read: goes to dead-letters, the partition goes on
├── RegistryUnavailable     the schema registry is down: not the record's fault, wait
├── IncompatibleSchema      a schema that would break readers or history
├── QueryTooLarge           a query of the view that takes too long, or has too long an answer
├── BrokenSetup             topics, settings or versions that the program can't run on
└── DeliveryError           an external system did not take what was sent
    ├── DeliveryRefused     the same data will be refused again
    ├── DeliveryUnavailable a retry may succeed
    ├── OutcomeUnknown      the write may have been done
    ├── DeliveryFailed      only this one command fails
    └── DeliveryDenied      access is denied, to one thing or to all: a person must act
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

DeliveryKind = Literal["refused", "unavailable", "unknown", "failed", "denied"]


class KounterError(Exception):
    """Base of all. ``code`` is stable and for programs, ``hint`` says what a person can do."""

    code: ClassVar[str] = "error"
    hint: str = "See the log for what led to it."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint

    @property
    def message(self) -> str:
        """Returns the message without code and hint."""
        return str(self.args[0])

    def as_dict(self) -> dict[str, object]:
        """Returns the error for JSON answers and dead-letter headers."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InvalidInput(KounterError):
    """Input from an external system breaks its contract.

    ``field`` is a dotted path in the sender's own names, ``expected`` and ``came`` are short texts;
    ``came`` is cut, so that an error never carries a whole document.
    """

    code = "invalid_input"
    hint = "Fix the named field at the sender and send the record again."

    def __init__(self, field: str, expected: str, came: object, *, hint: str | None = None) -> None:
        self.field, self.expected, self.came = field, expected, shorten(came)
        super().__init__(f"{field}: expected {expected}, came {self.came}", hint=hint)

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "field": self.field, "expected": self.expected, "came": self.came}


class UndecodableRecord(KounterError):
    """A record that no reader can take; ``reason`` is one word for programs and metrics."""

    code = "undecodable_record"
    hint = "Look at it with `kounter dead-letters show`, fix the producer, produce the record again."

    def __init__(self, reason: str, message: str, *, hint: str | None = None) -> None:
        self.reason = reason
        super().__init__(message, hint=hint)


class RegistryUnavailable(KounterError):
    """The schema registry does not answer, or answers 5xx."""

    code = "registry_unavailable"
    hint = "Nothing is lost, reading resumes by itself. Check KOUNTER_REGISTRY__URL and that the registry runs."


class IncompatibleSchema(KounterError):
    """A schema that is not FULL_TRANSITIVE compatible with all its earlier versions."""

    code = "incompatible_schema"
    hint = "Give a new field a default, keep old fields and symbols; never rename or retype one."


EXIT_BROKEN_SETUP: Final = 64
"""Exit code of a process that met `BrokenSetup` (EX_USAGE of sysexits.h); supervisors do not start it again."""


class BrokenSetup(KounterError):
    """The program can't run as things are set up; starting it again will not help."""

    code = "broken_setup"
    hint = "Fix what the message names, then start again."


class QueryTooLarge(KounterError):
    """A query of the view that takes too long, or has too long an answer."""

    code = "query_too_large"
    hint = "Ask for less: filter by a field with an index, or give a longer part of the text."


class CommandRejected(KounterError):
    """The rules do not allow a command; ``reason`` is their word for programs."""

    code = "command_rejected"
    hint = "Fix what the message names, then ask again."

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class CommandUnanswered(KounterError):
    """No worker replied to a command in time: workers are stopped, or far behind."""

    code = "command_unanswered"
    hint = "Ask again with the same Idempotency-Key, so that it is done once. Check `kounter lag` and the workers."


class DeliveryError(KounterError):
    """An external system did not accept a command."""

    code = "delivery"
    kind: ClassVar[DeliveryKind] = "unavailable"

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint=hint)


class DeliveryRefused(DeliveryError):
    """The external system refuses this data (4xx); a retry with the same data fails again."""

    code = "delivery_refused"
    kind = "refused"
    hint = "It is parked with what came after it: `kounter parked show`, then `retry` (--set fixes it) or `drop`."


class DeliveryUnavailable(DeliveryError):
    """The external system is down, slow or over its limit (5xx, 429). ``retry_after``: seconds from its answer, if it
    gave any."""

    code = "delivery_unavailable"
    kind = "unavailable"
    hint = "Nothing to do: order is kept and delivery resumes by itself."


class OutcomeUnknown(DeliveryError):
    """A write that may or may not have been done: search by our id before the next try."""

    code = "delivery_outcome_unknown"
    kind = "unknown"
    hint = "Nothing to do: the external system is searched by our id before the next try."


class DeliveryFailed(DeliveryError):
    """The external system fails at this one command and executes others: no outage, and perhaps no fault of the data.

    It is retried as often as the policy says, and then parked."""

    code = "delivery_failed"
    kind = "failed"
    hint = "It is parked after the last try: `kounter parked retry` once the system is fixed, or `drop`."


class DeliveryDenied(DeliveryError):
    """The external system denies access (401, 403), to this one thing or to all, as with a deleted portal."""

    code = "delivery_denied"
    kind = "denied"
    hint = "Check the credentials and rights of the webhook; delivery is tried again by itself."

    def __init__(self, message: str, *, for_all: bool = False, hint: str | None = None) -> None:
        """``for_all``: the answer itself denies access to all. Otherwise a caller with several things has to find
        out."""
        self.for_all = for_all
        super().__init__(message, hint=hint)


def shorten(value: object, limit: int = 80) -> str:
    """Returns a short text of any value, safe to log: control characters escaped, cut at ``limit`` characters."""
    text = repr(value[: limit * 2] if isinstance(value, str | bytes) else value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def host_of(location: str) -> str:
    """Returns scheme, host and port of a redirect for a message, without user, path and query, which may hold a
    secret."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "no address"
    return shorten(f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "another path")
