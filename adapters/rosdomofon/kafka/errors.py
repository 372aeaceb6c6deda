"""Classes of failures of the operator's Kafka, as delivery errors."""

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
"""Age in seconds up to which a record's time is this machine's clock; brokers refuse it only if their clock differs."""


def failed(what: str, error: errors.KafkaError, *, write: bool = False, age_s: float | None = None) -> DeliveryError:
    """Return the delivery error for a Kafka error.

    ``write``: the record may have been sent before the failure. ``age_s``: age of the record's time in seconds.
    """
    named = f"{what}: {type(error).__name__}"
    if isinstance(error, errors.InvalidTimestampError) and age_s is not None and abs(age_s) < NOW_S:
        # Not a fault of this record: the brokers refuse every record until the clocks agree.
        return DeliveryUnavailable(
            f"{what}: the operator's brokers refuse its time: this machine's clock differs from theirs",
            hint="Set the clock of this machine (NTP). Nothing is lost: the record is sent once the clocks agree.",
        )
    if isinstance(error, errors.GroupAuthorizationFailedError):
        return DeliveryDenied(named, for_all=True, hint="Set the group id exactly as the operator issued it.")
    if isinstance(error, _DENIED):
        one_company = isinstance(error, errors.TopicAuthorizationFailedError)
        hint = "Check user name, password, group and topics with the operator."
        return DeliveryDenied(named, for_all=not one_company, hint=hint)
    if isinstance(error, _REFUSED):
        return DeliveryRefused(named)
    if write and not isinstance(error, _NOT_SENT):
        return OutcomeUnknown(f"{named}, it may have been sent")
    return DeliveryUnavailable(named)
