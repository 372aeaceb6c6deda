"""The connector of services written with Nest: their JSON messages on our Kafka, and our answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from adapters.connector import Connector, Context, Inbound, OpenSource
from adapters.nest.settings import NestSettings
from schemas.errors import BrokenSetup

if TYPE_CHECKING:
    from schemas.codec.serde import Serde

NAME: Final = "nest"


def _replies() -> tuple[str, ...]:
    from schemas.core_users import CoreReply
    from schemas.record import contract

    return contract(CoreReply).topics


def _written() -> Iterable[str]:
    from schemas.core_users import CardAsked
    from schemas.record import contract

    return (*contract(CardAsked).topics, *_replies())


@asynccontextmanager
async def _bridge(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from aiokafka.errors import ProducerFenced

    from adapters.nest.bridge import NestBridge

    try:
        yield OpenSource(NestBridge(context.kafka, serde, context.part(NestSettings)))
    except ProducerFenced:
        raise BrokenSetup("another bridge has taken over", hint="One runs at a time: stop the other one.") from None


def _json(context: Context) -> tuple[str, ...]:
    nest = context.part(NestSettings)
    return (nest.queue, *nest.replies.values())


NEST: Final = Connector(
    name=NAME,
    title="Nest",
    noun="services",
    settings=NestSettings,
    is_set=lambda context: True,  # their topics are on our own Kafka
    source=Inbound(
        process=f"bridge-{NAME}",
        writes=_written,
        open=_bridge,
        groups=lambda context: {NAME: (context.part(NestSettings).queue, *_replies())},
        topics=_json,
    ),
)
