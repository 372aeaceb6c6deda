"""The sinks of an intercom operator: what it is asked for, and the receipts that the aggregates which asked get.

There are two, so that an outage of the operator's Kafka or of its REST holds up nothing of the other.
"""

from __future__ import annotations

from typing import Any, Final

from adapters.rosdomofon.actions import OperatorActions
from adapters.rosdomofon.identity import SameOperator
from schemas.errors import UndecodableRecord
from schemas.record import contract
from schemas.rosdomofon import OperatorAction, OperatorCommand, OperatorOutcome, OperatorReceipt
from streams.ports import AcceptedCommand, ExternalId, Outcome, Sent, check_reply, with_edits

COMMANDS, REQUESTS, RESPONSES = "rosdomofon.commands", "rosdomofon.requests", "rosdomofon.responses"


class RosDomofonSink:
    """Messages by the operator's Kafka, see `streams.ports.Sink`."""

    name: str = "rosdomofon"
    topic: str = COMMANDS

    def __init__(self, operator: OperatorActions | SameOperator) -> None:
        self._operator: Final = operator

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Every topic that receipts may go to."""
        return tuple(dict.fromkeys((RESPONSES, *contract(OperatorReceipt).topics)))

    def accept(self, command: Any) -> AcceptedCommand:
        """Raises UndecodableRecord if it is no operator command."""
        if not isinstance(command, OperatorCommand):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no operator command")
        if not command.ext_id or not command.command_id:
            raise UndecodableRecord("missing_key", "an operator command without ext_id or command_id")
        check_reply(command.reply_topic, OperatorReceipt)
        if command.action == OperatorAction.SEND_MESSAGE and not command.by_rest:
            # All that an abonent is told stands in one partition, in its order: of that the last place is known.
            return AcceptedCommand(command.command_id, f"said:{command.ext_id}", None, self_deduplicating=True)
        # Nothing that is asked for is changed by a later command: each is its own subject.
        return AcceptedCommand(command.command_id, f"operator:{command.command_id}", None, remember=False)

    async def deliver(
        self, command: OperatorCommand, external_id: ExternalId | None, attempt: int, uncertain: bool
    ) -> Sent:
        """Ask the operator. ``external_id``: the place of the abonent's last message. Raises DeliveryError."""
        if external_id is not None:
            command = command._replace(last_place=str(external_id))
        done = await self._operator.deliver(command, attempt, uncertain)
        return Sent(done.place)

    def receipts(self, command: OperatorCommand, outcome: Outcome) -> tuple[list[str], OperatorReceipt]:
        """For the log of receipts, and for who asked."""
        topics = list(dict.fromkeys(filter(None, (RESPONSES, command.reply_topic))))
        receipt = OperatorReceipt(
            ext_id=command.reply_ext_id or command.ext_id,
            operator_command_id=command.command_id,
            operator_action=command.action,
            operator_attempts=outcome.attempts,
        )
        if outcome.sent is None:
            refused = receipt._replace(operator_outcome=OperatorOutcome.ERROR, operator_reason=outcome.reason)
            return topics, with_edits(refused, "operator", command, outcome)
        place = str(outcome.sent.external_id)
        unset = ("operator_reason",) if place else ("operator_reason", "operator_place")
        done = receipt._replace(operator_outcome=OperatorOutcome.SUCCESS, operator_place=place or None)
        return topics, with_edits(done, "operator", command, outcome, *unset)


class RosDomofonRestSink(RosDomofonSink):
    """What the operator's REST does: sign-ups' statuses, blocks, and messages whose delivery is confirmed."""

    name = "rosdomofon-rest"
    topic = REQUESTS
