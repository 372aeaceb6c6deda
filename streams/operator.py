"""The channel of what an intercom operator is asked for, and the receipts that the aggregates which asked get."""

from __future__ import annotations

from typing import Any, Final

from schemas.errors import UndecodableRecord
from schemas.record import contract
from schemas.rosdomofon import OperatorAction, OperatorCommand, OperatorOutcome, OperatorReceipt
from streams.delivery.job import Errand, Outcome, check_reply, told

COMMANDS, REQUESTS, RESPONSES = "rosdomofon.commands", "rosdomofon.requests", "rosdomofon.responses"


class OperatorChannel:
    """One of two, so that an outage of the operator's Kafka or of its REST holds up nothing of the other."""

    def __init__(self, *, by_rest: bool) -> None:
        self.name: Final = "rosdomofon-rest" if by_rest else "rosdomofon"
        self.topic: Final = REQUESTS if by_rest else COMMANDS

    @property
    def receipt_topics(self) -> tuple[str, ...]:
        """Every topic that receipts may go to."""
        return tuple(dict.fromkeys((RESPONSES, *contract(OperatorReceipt).topics)))

    def accept(self, command: Any) -> Errand:
        if not isinstance(command, OperatorCommand):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no operator command")
        if not command.ext_id or not command.command_id:
            raise UndecodableRecord("missing_key", "an operator command without ext_id or command_id")
        check_reply(command.reply_topic, OperatorReceipt)
        if command.action == OperatorAction.SEND_MESSAGE and not command.by_rest:
            # All that an abonent is told stands in one partition, in its order: of that the last place is known.
            return Errand(command, command.command_id, f"said:{command.ext_id}", None, searched=True)
        # Nothing that is asked for is changed by a later command: each is its own subject.
        return Errand(command, command.command_id, f"operator:{command.command_id}", None, lasting=False)

    def completed(self, command: OperatorCommand, made: int | str) -> OperatorCommand:
        return command._replace(last_place=str(made))

    def made(self, delivered: Any) -> str:
        place: str = delivered.place
        return place

    def receipts(self, command: OperatorCommand, outcome: Outcome) -> tuple[list[str], OperatorReceipt]:
        topics = list(dict.fromkeys(filter(None, (RESPONSES, command.reply_topic))))
        receipt = OperatorReceipt(
            ext_id=command.reply_ext_id or command.ext_id,
            operator_command_id=command.command_id,
            operator_action=command.action,
            operator_attempts=outcome.attempts,
        )
        if outcome.error is not None:
            refused = receipt._replace(operator_outcome=OperatorOutcome.ERROR, operator_reason=outcome.reason)
            return topics, told(refused, "operator", command, outcome)
        place = self.made(outcome.delivered)
        unset = ("operator_reason",) if place else ("operator_reason", "operator_place")
        done = receipt._replace(operator_outcome=OperatorOutcome.SUCCESS, operator_place=place or None)
        return topics, told(done, "operator", command, outcome, *unset)
