"""What a company and its abonents say to each other, by REST."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from loguru import logger

from adapters.rosdomofon.rest.checks import built, path_id
from adapters.rosdomofon.rest.client import V1, Passed, RosDomofonRest
from adapters.rosdomofon.rest.models import AbonentInfo, Message, MessagesResponse, SendMessageRequest, SendResult
from schemas.errors import DeliveryRefused, OutcomeUnknown

Addressee = int | Mapping[str, Any] | AbonentInfo


class NotDelivered(DeliveryRefused):
    """The operator answered 200, and for some abonents ``success`` is false in it."""

    def __init__(self, results: list[SendResult]) -> None:
        self.results = results
        """Of all abonents: to those with ``success`` the message has gone."""
        failed = ", ".join(f"{r.id} ({(r.result or 'no reason')[:80]!r})" for r in results if not r.success)
        super().__init__(f"the message was not delivered to abonent {failed}")

    @property
    def failed(self) -> tuple[int, ...]:
        """Ids of the abonents that did not get it."""
        return tuple(r.id for r in self.results if not r.success)


class Messages:
    """The part of `RosDomofonAPI` that is about messages."""

    _rest: RosDomofonRest

    async def send_message(
        self,
        to_abonents: Iterable[Addressee],
        channel: str,
        message: str,
        delivery_method: str = "push",
        broadcast: bool = False,
    ) -> list[SendResult]:
        """Send a push to abonents: ids, or mappings with ``id`` and ``phone``.

        Raises NotDelivered if any of them did not get it, OutcomeUnknown if the answer leaves one out.

        >>> [sent.success for sent in await api.send_message([1574870, {"id": 1480844}], "support", "Привет")]
        [True, True]
        """
        addressees = [{"id": a} if isinstance(a, int) else a for a in to_abonents]
        body = built(
            SendMessageRequest,
            to_abonents=addressees,
            channel=channel,
            message=message,
            delivery_method=delivery_method,
            broadcast=broadcast,
        )
        results = await self._rest.create(list[SendResult], f"{V1}/messages", body.wire())
        if not all(r.success for r in results):
            error = NotDelivered(results)
            logger.error("rosdomofon: {}", error)
            raise error
        if left_out := {a.id for a in body.to_abonents} - {r.id for r in results}:
            raise OutcomeUnknown(f"the operator says nothing of the message to abonents {sorted(left_out)[:20]}")
        logger.info("rosdomofon: a message of {} characters is sent to {} abonents", len(message), len(results))
        return results

    async def send_message_to_abonent(self, abonent_id: int, channel: str, message: str) -> SendResult:
        """Send a push to one abonent. Raises as `send_message`.

        >>> (await api.send_message_to_abonent(1574870, "support", "Привет")).success
        True
        """
        results = await self.send_message([abonent_id], channel, message)
        return next(r for r in results if r.id == abonent_id)

    async def get_abonent_messages(
        self, abonent_id: int, channel: str | None = None, page: int = 0, size: int = 20
    ) -> MessagesResponse:
        """One page of what an abonent and the company said, the newest first.

        >>> (await api.get_abonent_messages(1574870)).content[0].message
        'Привет'
        """
        asked = {"page": page, "size": size} | ({"channel": channel} if channel else {})
        return await self._rest.ask(MessagesResponse, f"{V1}/abonents/{path_id(abonent_id)}/messages", asked)

    def iter_abonent_messages(
        self, abonent_id: int, channel: str | None = None, passed: Passed | None = None, *, whole: bool = False
    ) -> AsyncIterator[Message]:
        """All that an abonent and the company said, the newest first, page after page; ``passed`` as with
        `get_accounts`.

        A message that comes while the pages are walked moves the rest: the same one may be seen twice, known by its id.
        ``whole``: raises DeliveryUnavailable for one that can't be read, which is passed over otherwise.

        >>> [said.id async for said in api.iter_abonent_messages(1574870)]
        [2, 1]
        """
        asked = {"channel": channel} if channel else {}
        path = f"{V1}/abonents/{path_id(abonent_id)}/messages"
        return self._rest.pages(Message, path, asked, passed, whole=whole)
