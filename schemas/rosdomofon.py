"""Commands to the RosDomofon delivery, and its receipts. Source: docs/contracts/rosdomofon.md."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.domofon import SignUpStatus
from schemas.fields import ExtId, Int, Label, Personal, Text
from schemas.record import namespace

record = namespace("rosdomofon")


class OperatorAction(Label):
    """Actions that the operator is asked for."""

    SEND_MESSAGE = "SEND_MESSAGE", "send_message"
    SET_SIGN_UP = "SET_SIGN_UP", "set_sign_up"
    BLOCK = "BLOCK", "block"
    UNBLOCK = "UNBLOCK", "unblock"


class OperatorOutcome(Label):
    SUCCESS = "SUCCESS", "success"
    ERROR = "ERROR", "error"


@record("rosdomofon.commands", "rosdomofon.requests", key="ext_id")
class OperatorCommand(NamedTuple):
    """What RosDomofon shall do: reactions put it here, the delivery agent carries it out.

    What goes by its Kafka stands on ``rosdomofon.commands``, what goes by its REST on ``rosdomofon.requests``: an
    outage of one holds up nothing of the other.
    """

    ext_id: ExtId
    """``abonent:<id>`` or ``sign-up:<id>``: per-key order holds for it."""
    command_id: Text = ""
    """Derived from its cause, so a repeat is recognizable."""
    action: OperatorAction = OperatorAction.SEND_MESSAGE
    company: Text | None = None
    abonent_ext_id: Text | None = None
    abonent_phone: Annotated[Text, Personal()] | None = None
    channel: Text | None = None
    text: Annotated[Text, Personal()] | None = None
    by_rest: bool = False
    """Whether a message goes by REST, which confirms its delivery, instead of ``MESSAGES_OUT_<company>``."""
    sign_up_ext_id: Text | None = None
    sign_up_status: SignUpStatus | None = None
    at: Int = 0
    """Microseconds since the epoch, UTC: the time of the cause. A message on Kafka carries it, so that a repeat finds
    it there."""
    last_place: Text = ""
    """Place of the abonent's last message, ``<topic>/<partition>/<offset>``; the delivery fills it in and searches
    behind it."""
    reply_topic: Text = ""
    """Topic of the aggregate that asks; empty: no receipt is wanted."""
    reply_ext_id: Text = ""


@record(
    "rosdomofon.responses", "domofon.message", "domofon.abonent", "domofon.sign-up", key="ext_id", if_unknown="ignore"
)
class OperatorReceipt(NamedTuple):
    """What became of a command."""

    ext_id: ExtId
    operator_command_id: Text | None = None
    operator_action: OperatorAction | None = None
    operator_outcome: OperatorOutcome | None = None
    operator_reason: Text | None = None
    """Code and text of an error, never a secret."""
    operator_attempts: Int | None = None
    operator_place: Text | None = None
    """Place of a message, ``<topic>/<partition>/<offset>``, or its id at the operator."""
    unset: tuple[str, ...] = ()
    operator_edits: Text | None = None
    """JSON of what a person changed before the command was carried out: by field what was asked and what was done."""
    operator_edits_private: Annotated[Text, Personal()] | None = None
    """The same JSON for personal fields."""
