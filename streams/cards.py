"""The channel of lead cards: commands for Bitrix24, and the receipts that become part of a lead's history."""

from __future__ import annotations

from typing import Any, Final

from schemas.bitrix24 import CardCommand, CardOutcome, CardReceipt, OwnId
from schemas.errors import UndecodableRecord
from schemas.record import contract
from streams.delivery.job import Errand, Outcome, check_reply, told


class Cards:
    """``topic`` and ``responses`` are those of the contracts; tests have their own."""

    name: Final = "bitrix24"

    def __init__(self, topic: str = "bitrix.commands", responses: str = "bitrix.responses") -> None:
        self.topic: Final = topic
        self._responses = responses

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Every topic that receipts may go to."""
        return tuple(dict.fromkeys((self._responses, *contract(CardReceipt).topics)))

    def accept(self, command: Any) -> Errand:
        if not isinstance(command, CardCommand):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no card command")
        if not command.ext_id:
            raise UndecodableRecord("missing_key", "a card command without ext_id")
        check_reply(command.reply_topic, CardReceipt)
        return Errand(command, command.command_id, f"{command.aggregate}:{command.ext_id}", command.bitrix_lead_id)

    def completed(self, command: CardCommand, made: int | str) -> CardCommand:
        return command._replace(bitrix_lead_id=OwnId(made))

    def made(self, delivered: Any) -> int:
        lead_id: int = delivered.lead_id
        return lead_id

    def receipts(self, command: CardCommand, outcome: Outcome) -> tuple[list[str], CardReceipt]:
        topics = list(dict.fromkeys(filter(None, (self._responses, command.reply_topic))))
        common = CardReceipt(
            ext_id=command.ext_id,
            bitrix_command_id=command.command_id,
            bitrix_action=command.action,
            bitrix_attempts=outcome.attempts,
        )
        if outcome.error is not None:
            refused = common._replace(bitrix_outcome=CardOutcome.ERROR, bitrix_reason=outcome.reason)
            return topics, told(refused, "bitrix", command, outcome)
        done = common._replace(bitrix_outcome=CardOutcome.SUCCESS, bitrix_lead_id=self.made(outcome.delivered))
        return topics, told(done, "bitrix", command, outcome, "bitrix_reason")
