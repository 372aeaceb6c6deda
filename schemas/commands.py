"""The answer to a command. Commands themselves are records of ``<aggregate>.commands``, declared by their domain."""

from __future__ import annotations

from typing import NamedTuple

from schemas.fields import ExtId, Int, Label, Text
from schemas.record import namespace

record = namespace("commands")


class CommandOutcome(Label):
    ACCEPTED = "ACCEPTED", "accepted"
    REJECTED = "REJECTED", "rejected"


@record(key="ext_id")
class CommandReply(NamedTuple):
    """What became of a command; on ``<aggregate>.replies``, in the same transaction as its events."""

    ext_id: ExtId
    command_id: Text | None = None
    outcome: CommandOutcome | None = None
    version: Int | None = None
    """Version of the state after the command: a client that must read its own write waits for it in the view."""
    code: Text | None = None
    reason: Text | None = None
    subject: Text | None = None
    """The id of the thing that the command made, if it is not the one the command was sent to."""
