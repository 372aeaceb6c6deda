"""The operator's Kafka: where it is, how its topics are called, and what a record on them says
(docs/contracts/rosdomofon.md#kafka).

Records are UTF-8 JSON without key and headers. The operator's access list knows one consumer group for all topics, so
the group's id is taken as it was issued.
"""

from __future__ import annotations

import json
from typing import Final, TypeVar

from loguru import logger
from pydantic import ValidationError
from pydantic_core import from_json

from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, KafkaOutgoingMessage, Received, SignUp
from adapters.rosdomofon.settings import SIGN_UPS
from adapters.rosdomofon.wire import leniently, problems
from schemas.errors import UndecodableRecord

MOST_BYTES: Final = 1024 * 1024
"""Of a record: what a broker takes by default."""

WORDS: Final = (("message",), ("localizedPush", "message"))
"""Without these a message says nothing."""
R = TypeVar("R", bound=Received)


def read_record(topic: str, value: bytes | None) -> KafkaIncomingMessage | SignUp:
    """A record of one of the topics that are read. Raises UndecodableRecord; its text does not show what came."""
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
    """Nothing whole is refused for a detail: what can't be understood is set aside. Raises ValidationError."""
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise
    read, aside = leniently(kind, from_json(value), WORDS)
    logger.info("rosdomofon: a {} without what can't be understood of it: {}", kind.__name__, ", ".join(aside))
    return read.without(aside)


def write_record(message: KafkaOutgoingMessage) -> bytes:
    """The value of a record of ``MESSAGES_OUT_<company>``."""
    return json.dumps(message.wire(), ensure_ascii=False, separators=(",", ":")).encode()
