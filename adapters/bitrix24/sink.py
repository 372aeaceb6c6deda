"""The sink of a Bitrix24 portal: cards of leads, and comments in their timelines (docs/contracts/bitrix24.md#leads).

Their commands share a topic, as those of a lead keep their order. The receipts become part of a lead's history.
"""

from __future__ import annotations

from typing import Any, Final, Self

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.comments import Bitrix24Comments
from adapters.bitrix24.rest.answers import UnreadableLead
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.bitrix24 import CardCommand, CardOutcome, CardReceipt, CommentCommand, CommentReceipt, OwnId
from schemas.errors import DeliveryFailed, UndecodableRecord
from schemas.record import contract
from streams.ports import AcceptedCommand, ExternalId, Outcome, Sent, check_reply, with_edits

PROMPT: Final = frozenset({"crm.core-user"})
"""Aggregates whose cards a caller waits for: the Core service gets its reply by the receipt
(docs/contracts/core-users.md).
"""


class Bitrix24Sink:
    """The sink for card and comment commands, see `streams.ports.Sink`."""

    name: Final = "bitrix24"

    def __init__(
        self,
        cards: Bitrix24Cards,
        comments: Bitrix24Comments,
        *,
        topic: str = "bitrix.commands",
        responses: str = "bitrix.responses",
    ) -> None:
        """``topic`` and ``responses`` are those of the contracts; tests have their own."""
        self.topic: Final = topic
        self._cards, self._comments, self._responses = cards, comments, responses

    @classmethod
    def of(cls, portal: Bitrix24Client, originator: str, *, moved: bool = False) -> Self:
        """Return the sink of a portal. ``moved``: see `Bitrix24Cards`."""
        cards = Bitrix24Cards(portal, originator, moved=moved)
        return cls(cards, Bitrix24Comments(portal, originator, moved=moved))

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Topics that receipts may go to."""
        return tuple(dict.fromkeys((self._responses, *contract(CardReceipt).topics, *contract(CommentReceipt).topics)))

    def accept(self, command: Any) -> AcceptedCommand:
        """Return the accepted command. Raises UndecodableRecord if it is neither a card nor a comment command."""
        if isinstance(command, CommentCommand):
            if not command.ext_id or not command.command_id:
                raise UndecodableRecord("missing_key", "a comment command without ext_id or command_id")
            check_reply(command.reply_topic, CommentReceipt)
            subject = f"comment:{command.command_id}"
            return AcceptedCommand(command.command_id, subject, command.comment_id, remember=False)
        if not isinstance(command, CardCommand):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is not a card command")
        if not command.ext_id:
            raise UndecodableRecord("missing_key", "a card command without ext_id")
        check_reply(command.reply_topic, CardReceipt)
        subject = f"{command.aggregate}:{command.ext_id}"
        return AcceptedCommand(command.command_id, subject, command.bitrix_lead_id, prompt=command.aggregate in PROMPT)

    async def deliver(
        self, command: CardCommand | CommentCommand, external_id: ExternalId | None, attempt: int, uncertain: bool
    ) -> Sent:
        """Carry out a command in the portal. Raises DeliveryError."""
        if isinstance(command, CommentCommand):
            if external_id is not None:
                command = command._replace(comment_id=int(external_id))
            await self._comments.check(command)
            comment = await self._comments.deliver(command, attempt, uncertain)
            return Sent(comment.comment_id, comment)
        if external_id is not None:
            command = command._replace(bitrix_lead_id=OwnId(external_id))
        try:
            card = await self._cards.deliver(command, attempt, uncertain)
        except UnreadableLead as error:  # no outage: other leads can be read
            raise DeliveryFailed(error.message) from error
        return Sent(card.lead_id, card)

    def receipts(self, command: CardCommand | CommentCommand, outcome: Outcome) -> tuple[list[str], Any]:
        """Return the receipt and its topics: the log of receipts, and the command's reply topic."""
        topics = list(dict.fromkeys(filter(None, (self._responses, command.reply_topic))))
        if isinstance(command, CommentCommand):
            return topics, _comment_receipt(command, outcome)
        return topics, _card_receipt(command, outcome)


def _card_receipt(command: CardCommand, outcome: Outcome) -> CardReceipt:
    receipt = CardReceipt(
        ext_id=command.ext_id,
        bitrix_command_id=command.command_id,
        bitrix_action=command.action,
        bitrix_attempts=outcome.attempts,
    )
    if outcome.sent is None:
        refused = receipt._replace(bitrix_outcome=CardOutcome.ERROR, bitrix_reason=outcome.reason)
        return with_edits(refused, "bitrix", command, outcome)
    done = receipt._replace(bitrix_outcome=CardOutcome.SUCCESS, bitrix_lead_id=int(outcome.sent.external_id))
    return with_edits(done, "bitrix", command, outcome, "bitrix_reason")


def _comment_receipt(command: CommentCommand, outcome: Outcome) -> CommentReceipt:
    receipt = CommentReceipt(
        ext_id=command.reply_ext_id or command.ext_id,
        comment_command_id=command.command_id,
        comment_attempts=outcome.attempts,
    )
    if outcome.sent is None:
        refused = receipt._replace(comment_outcome=CardOutcome.ERROR, comment_reason=outcome.reason)
        return with_edits(refused, "comment", command, outcome)
    done = receipt._replace(
        comment_outcome=CardOutcome.SUCCESS,
        comment_id=int(outcome.sent.external_id),
        comment_lead_id=outcome.sent.answer.lead_id,
    )
    return with_edits(done, "comment", command, outcome, "comment_reason")
