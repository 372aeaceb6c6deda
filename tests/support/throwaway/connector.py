"""The connector of the post."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

from adapters.connector import Connector, Context, Deliveries, Inbound, OpenSinks, OpenSource, ServedTwin, Twin
from adapters.connector import TwinOption as Option

if TYPE_CHECKING:
    from schemas.codec.serde import Serde


class PostSettings(BaseModel):
    """The program has no field for it: the twin stands in."""

    url: str = ""


@asynccontextmanager
async def _sinks(context: Context) -> AsyncIterator[OpenSinks]:
    from tests.support.throwaway.post import Post, PostSink

    async with Post(context.part(PostSettings).url) as post:
        yield OpenSinks([PostSink(post)], settles_s=1.0)


@asynccontextmanager
async def _counter(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from streams.kafka.producer import RecordProducer
    from tests.support.throwaway.post import Post, PostCounter

    producing = RecordProducer(context.kafka, serde, "post")
    async with Post(context.part(PostSettings).url) as post, producing as producer:
        yield OpenSource(PostCounter(post, producer))


@asynccontextmanager
async def _serve(context: Context, host: str, port: int, *, parcels: int) -> AsyncIterator[ServedTwin]:
    from adapters.twin_kit.server import serving
    from tests.support.throwaway.twin import PostTwin

    async with serving(PostTwin(parcels), host, port) as taken:
        url = f"http://{host}:{taken}"
        yield ServedTwin(url, url)


POST = Connector(
    name="post",
    title="The post",
    noun="counter",
    settings=PostSettings,
    is_set=lambda context: False,
    deliveries=Deliveries({"post": "post.commands"}, "post.responses", _sinks),
    source=Inbound(process="counter-post", writes=lambda: ["parcel.parcel"], open=_counter),
    twin=Twin(
        port=7199,
        serve=_serve,
        stand_in=lambda context, address: PostSettings(url=address),
        options=[Option("parcels", int, 2, "The post: parcels at its counter.")],
    ),
    domains=("parcel",),
)
