"""The channel of everything that a Bitrix24 portal is told: cards of leads, and comments in their timelines."""

from __future__ import annotations

from typing import Any, Final

from schemas.bitrix24 import CardChanged, CardOutcome, CommentCommand, CommentReceipt
from schemas.errors import UndecodableRecord
from schemas.record import contract
from streams.cards import Cards
from streams.delivery.job import Errand, Outcome, check_reply, told

OWNERS: Final = {"abonent": "domofon.abonent"}
"""Topics by the first word of an ORIGIN_ID, where that is not the topic itself
(docs/contracts/rosdomofon.md#mapping-to-bitrix24)."""


def owner(origin_id: str) -> tuple[str, str] | None:
    """Topic and ext_id of whose lead it is by its ORIGIN_ID, None if nothing of ours is told of its changes."""
    name, _, ext_id = origin_id.partition(":")
    topic = OWNERS.get(name, name)
    known = ext_id and not ext_id.startswith("sha256:") and topic in contract(CardChanged).topics
    return (topic, ext_id) if known else None


class Portal(Cards):
    """Cards, and comments beside them: they share a topic, for a lead's order holds over both."""

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Every topic that receipts may go to."""
        return tuple(dict.fromkeys((*super().receipt_topics, *contract(CommentReceipt).topics)))

    def accept(self, command: Any) -> Errand:
        if not isinstance(command, CommentCommand):
            return super().accept(command)
        if not command.ext_id or not command.command_id:
            raise UndecodableRecord("missing_key", "a comment command without ext_id or command_id")
        check_reply(command.reply_topic, CommentReceipt)
        return Errand(command, command.command_id, f"comment:{command.command_id}", command.comment_id, lasting=False)

    def completed(self, command: Any, made: int | str) -> Any:
        if not isinstance(command, CommentCommand):
            return super().completed(command, made)
        return command._replace(comment_id=int(made))

    def made(self, delivered: Any) -> int:
        comment_id: int | None = getattr(delivered, "comment_id", None)
        return super().made(delivered) if comment_id is None else comment_id

    def receipts(self, command: Any, outcome: Outcome) -> tuple[list[str], Any]:
        if not isinstance(command, CommentCommand):
            return super().receipts(command, outcome)
        topics = list(dict.fromkeys(filter(None, (self._responses, command.reply_topic))))
        receipt = CommentReceipt(
            ext_id=command.reply_ext_id or command.ext_id,
            comment_command_id=command.command_id,
            comment_attempts=outcome.attempts,
        )
        if outcome.error is not None:
            refused = receipt._replace(comment_outcome=CardOutcome.ERROR, comment_reason=outcome.reason)
            return topics, told(refused, "comment", command, outcome)
        done = outcome.delivered
        success = receipt._replace(
            comment_outcome=CardOutcome.SUCCESS, comment_id=done.comment_id, comment_lead_id=done.lead_id
        )
        return topics, told(success, "comment", command, outcome, "comment_reason")
