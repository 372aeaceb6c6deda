"""Reads and writes the values of records on the operator's Kafka: UTF-8 JSON without key and headers
(docs/contracts/rosdomofon.md#kafka)."""

from __future__ import annotations

import json
from typing import Final, TypeVar

from loguru import logger
from pydantic import ValidationError
from pydantic_core import from_json

from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, KafkaOutgoingMessage, Received, SignUp
from adapters.rosdomofon.settings import SIGN_UPS
from adapters.rosdomofon.wire import problems, validate_leniently
from schemas.errors import UndecodableRecord

MOST_BYTES: Final = 1024 * 1024
"""Largest record in bytes, the default limit of a broker."""

TEXT_PATHS: Final = (("message",), ("localizedPush", "message"))
"""Paths of a message's text, without which it is refused."""
R = TypeVar("R", bound=Received)


def read_record(topic: str, value: bytes | None) -> KafkaIncomingMessage | SignUp:
    """Return the record of one of the topics that are read. Raises UndecodableRecord; its text shows no values."""
    if value is None:
        raise UndecodableRecord("empty", f"{topic}: a record without a value")
    if len(value) > MOST_BYTES:
        raise UndecodableRecord("too_large", f"{topic}: a record of {len(value)} bytes")
    try:
        return _read(SignUp, value) if topic.startswith(SIGN_UPS) else _read(KafkaIncomingMessage, value)
    except ValidationError as error:
        reason = "not_json" if error.errors()[0]["type"] == "json_invalid" else "invalid"
        problem = problems(error)
    raise UndecodableRecord(reason, f"{topic}: {problem}")


def _read(kind: type[R], value: bytes) -> R:
    """Returns a record without its invalid details, which it keeps as ``invalid``. Raises ValidationError."""
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise
    read, invalid = validate_leniently(kind, from_json(value), TEXT_PATHS)
    logger.info("rosdomofon: a {} is read without its invalid fields {}", kind.__name__, ", ".join(invalid))
    return read.without(invalid)


def write_record(message: KafkaOutgoingMessage) -> bytes:
    """Return the value of a record of ``MESSAGES_OUT_<company>``."""
    return json.dumps(message.wire(), ensure_ascii=False, separators=(",", ":")).encode()
