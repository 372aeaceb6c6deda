"""The client, the sink and the source of the post."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import httpx

from schemas.errors import DeliveryRefused, UndecodableRecord
from streams.kafka.producer import RecordProducer
from streams.ports import AcceptedCommand, ExternalId, Outcome, Sent
from tests.support.throwaway.schema import Parcel, Send, Sending


class Post:
    """The client."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def parcels(self) -> list[dict[str, Any]]:
        return list((await self._http.get("/parcels")).raise_for_status().json())

    async def send(self, ext_id: str, address: str) -> int:
        answer = await self._http.post("/sent", json={"id": ext_id, "address": address})
        if answer.status_code == httpx.codes.BAD_REQUEST:
            raise DeliveryRefused(answer.text)
        return int(answer.raise_for_status().json()["number"])


class PostSink:
    """Sends parcels."""

    name = "post"
    topic = "post.commands"
    receipt_topics = ("post.responses", "parcel.parcel")

    def __init__(self, post: Post) -> None:
        self._post = post

    def accept(self, command: Any) -> AcceptedCommand:
        if not isinstance(command, Send):
            raise UndecodableRecord("foreign_record", "no parcel to send")
        return AcceptedCommand(command.command_id, command.ext_id, None)

    async def deliver(self, command: Send, external_id: ExternalId | None, attempt: int, uncertain: bool) -> Sent:
        return Sent(await self._post.send(command.ext_id, command.address))

    def receipts(self, command: Send, outcome: Outcome) -> tuple[tuple[str, ...], Sending]:
        number = None if outcome.sent is None else int(outcome.sent.external_id)
        return self.receipt_topics, Sending(command.ext_id, number, outcome.reason)


class PostCounter:
    """Reads the parcels at the counter once."""

    def __init__(self, post: Post, producer: RecordProducer) -> None:
        self._post, self._producer = post, producer
        self.ready, self._stopping = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        for parcel in await self._post.parcels():
            await self._producer.send(Parcel(parcel["id"], 1, parcel["address"]))
        self.ready.set()
        await self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()
