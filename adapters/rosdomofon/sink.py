"""The sinks of the intercom operator: they execute commands and make the receipts for the aggregates that sent them.

There are two sinks, so that an outage of the operator's Kafka does not delay commands by REST, and the reverse.
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
    """Sends messages by the operator's Kafka, see `streams.ports.Sink`."""

    name: str = "rosdomofon"
    topic: str = COMMANDS

    def __init__(self, operator: OperatorActions | SameOperator) -> None:
        self._operator: Final = operator

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Topics that receipts may go to."""
        return tuple(dict.fromkeys((RESPONSES, *contract(OperatorReceipt).topics)))

    def accept(self, command: Any) -> AcceptedCommand:
        """Return how to deliver a command. Raises UndecodableRecord if it is not a valid operator command."""
        if not isinstance(command, OperatorCommand):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no operator command")
        if not command.ext_id or not command.command_id:
            raise UndecodableRecord("missing_key", "an operator command without ext_id or command_id")
        check_reply(command.reply_topic, OperatorReceipt)
        # A person who wrote a message, as in the portal's timeline, waits to see that it was sent.
        prompt = command.action == OperatorAction.SEND_MESSAGE and bool(command.reply_topic)
        if command.action == OperatorAction.SEND_MESSAGE and not command.by_rest:
            # An abonent's messages stand in one partition, in order; the place of the last one is remembered.
            subject = f"said:{command.ext_id}"
            return AcceptedCommand(command.command_id, subject, None, self_deduplicating=True, prompt=prompt)
        # No command depends on an earlier one: each has a key of its own.
        subject = f"operator:{command.command_id}"
        return AcceptedCommand(command.command_id, subject, None, remember=False, prompt=prompt)

    async def deliver(
        self, command: OperatorCommand, external_id: ExternalId | None, attempt: int, uncertain: bool
    ) -> Sent:
        """Execute a command. ``external_id``: the place of the abonent's last message.

        ``uncertain``: an earlier attempt may have succeeded. Raises DeliveryError, BrokenSetup if another operator
        answers.
        """
        if external_id is not None:
            command = command._replace(last_place=str(external_id))
        done = await self._operator.deliver(command, attempt, uncertain)
        return Sent(done.place)

    def receipts(self, command: OperatorCommand, outcome: Outcome) -> tuple[list[str], OperatorReceipt]:
        """Return the receipt of a command, and its topics: the log of receipts and the sender's reply topic."""
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
    """Executes commands by REST: statuses of sign-ups, blocks, and messages whose delivery is confirmed."""

    name = "rosdomofon-rest"
    topic = REQUESTS
