"""The channel of lead cards: commands for Bitrix24, and the receipts that become part of a lead's history."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from schemas.bitrix24 import CardCommand, CardOutcome, CardReceipt
from schemas.errors import UndecodableRecord, shorten
from schemas.record import contract
from streams.courier import Outcome

KNOWN_IDS: Final = 10_000
"""Leads of which this process keeps the portal's id, so that a change needs no search."""
REASON_CHARACTERS: Final = 500


class Cards:
    """``topic`` and ``responses`` are those of the contracts; tests have their own."""

    name: Final = "bitrix24"

    def __init__(self, topic: str = "bitrix.commands", responses: str = "bitrix.responses") -> None:
        self.topic: Final = topic
        self._responses = responses
        self._ids: OrderedDict[tuple[str, str], int] = OrderedDict()

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Every topic that receipts may go to."""
        return tuple(dict.fromkeys((self._responses, *contract(CardReceipt).topics)))

    def complete(self, command: Any) -> CardCommand:
        if not isinstance(command, CardCommand):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no card command")
        if not command.ext_id:
            raise UndecodableRecord("missing_key", "a card command without ext_id")
        if command.reply_topic and command.reply_topic not in contract(CardReceipt).topics:
            topic = shorten(command.reply_topic)
            raise UndecodableRecord("unknown_reply_topic", f"no receipts go to {topic}")
        if command.bitrix_lead_id is None and (known := self._ids.get((command.aggregate, command.ext_id))):
            return command._replace(bitrix_lead_id=known)
        return command

    def receipts(self, command: CardCommand, outcome: Outcome) -> tuple[list[str], CardReceipt]:
        topics = list(dict.fromkeys(filter(None, (self._responses, command.reply_topic))))
        common = CardReceipt(
            ext_id=command.ext_id,
            bitrix_command_id=command.command_id,
            bitrix_action=command.action,
            bitrix_attempts=outcome.attempts,
        )
        if outcome.error is not None:
            reason = f"{outcome.error.code}: {outcome.error.message}"[:REASON_CHARACTERS]
            return topics, common._replace(bitrix_outcome=CardOutcome.ERROR, bitrix_reason=reason)
        lead_id = outcome.delivered.lead_id
        self._remember(command, lead_id)
        # An error told before would stay the lead's reason: absent fields leave the state as it is.
        cleared = ("bitrix_reason",)
        return topics, common._replace(bitrix_outcome=CardOutcome.SUCCESS, bitrix_lead_id=lead_id, unset=cleared)

    def _remember(self, command: CardCommand, lead_id: int) -> None:
        key = command.aggregate, command.ext_id
        self._ids[key] = lead_id
        self._ids.move_to_end(key)
        if len(self._ids) > KNOWN_IDS:
            self._ids.popitem(last=False)
