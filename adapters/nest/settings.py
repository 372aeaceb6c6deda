"""Settings of the NestJS bridge."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

RESPONSES: Final = "bitrix.responses"
"""The published ``replyQueue`` (docs/contracts/core-users.md#messages)."""


class NestSettings(BaseModel):
    """Messages of services written with Nest, as JSON on Kafka topics."""

    queue: str = "bitrix_queue"
    """The topic of their messages (the original RabbitMQ queue has this name)."""
    replies: dict[str, str] = {RESPONSES: "bitrix.responses.json"}
    """The topic of the answers for each ``replyQueue`` that a message may name. ``bitrix.responses`` itself holds
    Avro."""
