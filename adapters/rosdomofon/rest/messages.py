"""Messages between a company and its abonents, by REST (docs/contracts/rosdomofon.md#rest).

Every method raises RosDomofonRefused, DeliveryUnavailable or DeliveryDenied, and InvalidInput for an invalid argument.
Docstrings name further errors only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from loguru import logger

from adapters.rosdomofon.rest.checks import build_request, path_id
from adapters.rosdomofon.rest.client import V1, OnUnreadable, RosDomofonRest
from adapters.rosdomofon.rest.models import AbonentInfo, Message, MessagesResponse, SendMessageRequest, SendResult
from adapters.rosdomofon.wire import mask_phones
from schemas.errors import DeliveryRefused, OutcomeUnknown

Addressee = int | Mapping[str, Any] | AbonentInfo


class NotDelivered(DeliveryRefused):
    """The operator answered ``success: false`` for some abonents (docs/contracts/rosdomofon.md#rest-errors)."""

    def __init__(self, results: list[SendResult]) -> None:
        self.results = results
        """Results of all abonents; those with ``success`` got the message."""
        failed = ", ".join(f"{r.id} ({(r.result or 'no reason')[:80]!r})" for r in results if not r.success)
        super().__init__(f"the message was not delivered to abonent {mask_phones(failed)}")

    @property
    def failed(self) -> tuple[int, ...]:
        """Ids of the abonents that did not get the message."""
        return tuple(r.id for r in self.results if not r.success)


class Messages:
    """Methods of `RosDomofonAPI` for messages."""

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

        Raises NotDelivered if an abonent did not get it, OutcomeUnknown if the answer lacks one, or none came.

        >>> [sent.success for sent in await api.send_message([1574870, {"id": 1480844}], "support", "Привет")]
        [True, True]
        """
        addressees = [{"id": a} if isinstance(a, int) else a for a in to_abonents]
        body = build_request(
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
            raise OutcomeUnknown(f"the operator's answer lacks abonents {sorted(left_out)[:20]}")
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
        """Return one page of the messages between an abonent and the company, the newest first; ``page`` from 0.

        >>> (await api.get_abonent_messages(1574870)).content[0].message
        'Привет'
        """
        params = {"page": page, "size": size} | ({"channel": channel} if channel else {})
        return await self._rest.ask(MessagesResponse, f"{V1}/abonents/{path_id(abonent_id)}/messages", params)

    def iter_abonent_messages(
        self,
        abonent_id: int,
        channel: str | None = None,
        on_unreadable: OnUnreadable | None = None,
        *,
        whole: bool = False,
    ) -> AsyncIterator[Message]:
        """Yield all messages between an abonent and the company, the newest first; pages are read as needed.

        A new message shifts the later pages, so that a message may come twice, with the same id. ``on_unreadable``: as
        in `get_accounts`. ``whole``: an unreadable message raises DeliveryUnavailable instead of being skipped.

        >>> [message.id async for message in api.iter_abonent_messages(1574870)]
        [2, 1]
        """
        params = {"channel": channel} if channel else {}
        path = f"{V1}/abonents/{path_id(abonent_id)}/messages"
        return self._rest.pages(Message, path, params, on_unreadable, whole=whole)
