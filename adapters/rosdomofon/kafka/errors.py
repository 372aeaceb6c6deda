"""What a failure of the operator's Kafka means for whoever wanted something read or said."""

from __future__ import annotations

from typing import Final

from aiokafka import errors

from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused, DeliveryUnavailable, OutcomeUnknown

_DENIED: Final = (
    errors.AuthenticationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
)
_REFUSED: Final = (
    errors.MessageSizeTooLargeError,
    errors.InvalidTopicError,
    errors.InvalidMessageError,
    errors.InvalidTimestampError,
)
_NOT_SENT: Final = (errors.KafkaConnectionError, errors.NodeNotReadyError, errors.UnknownTopicOrPartitionError)

NOW_S: Final = 3_600.0
"""A record within an hour of now has the time of our clock; brokers refuse it only if theirs differs."""


def failed(what: str, error: errors.KafkaError, *, write: bool = False, age_s: float | None = None) -> DeliveryError:
    """``write``: it may have been sent before it failed. ``age_s``: seconds since the record's time, by our clock."""
    named = f"{what}: {type(error).__name__}"
    if isinstance(error, errors.InvalidTimestampError) and age_s is not None and abs(age_s) < NOW_S:
        # No fault of this record: all would be refused until the clocks agree.
        return DeliveryUnavailable(
            f"{what}: the operator's brokers refuse its time: this machine's clock differs from theirs",
            hint="Set the clock of this machine (NTP). Nothing is lost: it is sent when they agree.",
        )
    if isinstance(error, errors.GroupAuthorizationFailedError):
        return DeliveryDenied(
            named, for_all=True, hint="Use the one group id that the operator issued, letter by letter."
        )
    if isinstance(error, _DENIED):
        one = isinstance(error, errors.TopicAuthorizationFailedError)  # a company's
        return DeliveryDenied(named, for_all=not one, hint="Check name, password, group and topics with the operator.")
    if isinstance(error, _REFUSED):
        return DeliveryRefused(named)
    if write and not isinstance(error, _NOT_SENT):
        return OutcomeUnknown(f"{named}, it may have been sent")
    return DeliveryUnavailable(named)
