"""What an adapter of an outside system implements, so that the delivery can carry out its commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson

from schemas.errors import DeliveryError, UndecodableRecord, shorten
from schemas.record import contract

R = TypeVar("R", bound=tuple[Any, ...])
ExternalId = int | str
REASON_CHARACTERS: Final = 500


class AcceptedCommand(NamedTuple):
    """What the delivery must know of a command that it carries out."""

    command_id: str
    idempotency_key: str
    """What the command is about, and what the outside system shall have once."""
    external_id: ExternalId | None
    """The outside's own id of it, where the command names it."""
    remember: bool = True
    """False: no later command is about it, so the ledger forgets it once it is done. A comment is not changed again."""
    self_deduplicating: bool = False
    """The outside tells it from all others where it stands, at little cost: no intent is written before the call. What
    a former owner may have tried is looked for, behind what the ledger knows to be the key's last."""
    prompt: bool = False
    """Somebody waits for the receipt: it is committed at once, and not with those of the next 0.2 s."""


class Sent(NamedTuple):
    """A command that was carried out."""

    external_id: ExternalId
    """The outside's id of what the command is about."""
    answer: Any = None
    """Whatever else the sink needs for the receipt."""


class Outcome(NamedTuple):
    """What became of a command: it was ``sent``, or there is an error."""

    attempts: int
    sent: Sent | None = None
    error: DeliveryError | None = None
    edits: str | None = None
    """What a person changed before it was carried out, see `streams.delivery.parking.Parked.edits`."""

    @property
    def reason(self) -> str | None:
        """The error for a receipt: its code and a text, never a secret."""
        return None if self.error is None else f"{self.error.code}: {self.error.message}"[:REASON_CHARACTERS]


class Sink(Protocol):
    """One stream of commands for an outside system. The delivery asks it three times per command."""

    @property
    def name(self) -> str:
        """The delivery's, in logs, groups and ``kounter jobs``."""

    @property
    def topic(self) -> str:
        """The topic of the commands."""

    @property
    def receipt_topics(self) -> Sequence[str]:
        """Every topic that receipts may go to."""

    def accept(self, row: Any) -> AcceptedCommand:
        """Raises UndecodableRecord if the row is no command of this sink."""

    async def deliver(self, command: Any, external_id: ExternalId | None, attempt: int, uncertain: bool) -> Sent:
        """Carry out a command.

        ``external_id``: of its subject, as the ledger or a person names it; None: the sink looks whose id the command
        has, if any. ``attempt`` counts from 1. ``uncertain``: it may have been carried out before, so look first.

        Calls with the same key never overlap. Raises DeliveryError.
        """

    def receipts(self, command: Any, outcome: Outcome) -> tuple[Sequence[str], Any]:
        """Topics, and the receipt for them."""


def with_edits(receipt: R, prefix: str, command: Any, outcome: Outcome, *unset: str) -> R:
    """A receipt, with what was done instead of what was asked. What is ``unset``, and what it does not say of that,
    would stay as the receipt before it said: absent fields leave a state as it is."""
    edits, personal = orjson.loads(outcome.edits or "{}"), contract(type(command)).personal
    said = {
        f"{prefix}_edits": {name: pair for name, pair in edits.items() if name not in personal},
        f"{prefix}_edits_private": {name: pair for name, pair in edits.items() if name in personal},
    }
    texts = {name: orjson.dumps(pairs).decode() if pairs else None for name, pairs in said.items()}
    absent = (name for name, text in texts.items() if text is None)
    return receipt._replace(**texts, unset=(*unset, *absent))  # type: ignore[attr-defined, no-any-return]


def check_reply(topic: str, receipt: type) -> None:
    """Raises UndecodableRecord for a topic that a command names and that no receipt of this kind may go to."""
    if topic and topic not in contract(receipt).topics:
        raise UndecodableRecord("unknown_reply_topic", f"no receipts go to {shorten(topic)}")
