"""The interfaces that an adapter of an outside system implements: a sink executes commands, a source reads changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar, runtime_checkable

import orjson

from schemas.errors import DeliveryError, UndecodableRecord, shorten
from schemas.record import contract

R = TypeVar("R", bound=tuple[Any, ...])
ExternalId = int | str
REASON_CHARACTERS: Final = 500


class AcceptedCommand(NamedTuple):
    """Facts about an accepted command that the delivery needs."""

    command_id: str
    idempotency_key: str
    """Key of the command's subject, which the outside system shall have once."""
    external_id: ExternalId | None
    """Id of the subject in the outside system, where the command names it."""
    remember: bool = True
    """False: no later command is about it, so the ledger forgets it once it is done. A comment is not changed again."""
    self_deduplicating: bool = False
    """True: the outside system detects repeats by itself at little cost, so no intent is written before the call.
    Commands that a former owner may have tried are searched for behind the last one of the key in the ledger.
    """
    prompt: bool = False
    """True: a caller waits for the receipt, so it is committed at once and not with those of the next 0.2 s."""


class Sent(NamedTuple):
    """A command that was carried out."""

    external_id: ExternalId
    """Id of the command's subject in the outside system."""
    answer: Any = None
    """Any other data that the sink needs for the receipt."""


class Outcome(NamedTuple):
    """Result of a command: it was ``sent``, or there is an error."""

    attempts: int
    sent: Sent | None = None
    error: DeliveryError | None = None
    edits: str | None = None
    """Changes that a person made before it was executed, see `streams.delivery.parking.Parked.edits`."""

    @property
    def reason(self) -> str | None:
        """The error for a receipt: its code and a text, never a secret."""
        return None if self.error is None else f"{self.error.code}: {self.error.message}"[:REASON_CHARACTERS]


class Sink(Protocol):
    """One stream of commands for an outside system. The delivery asks it three times per command."""

    @property
    def name(self) -> str:
        """Name of the delivery in logs, groups and ``kounter jobs``."""

    @property
    def topic(self) -> str:
        """The topic of the commands."""

    @property
    def receipt_topics(self) -> Sequence[str]:
        """Every topic that receipts may go to."""

    def accept(self, row: Any) -> AcceptedCommand:
        """Returns the facts about a command. Raises UndecodableRecord if the row is no command of this sink."""

    async def deliver(self, command: Any, external_id: ExternalId | None, attempt: int, uncertain: bool) -> Sent:
        """Carry out a command.

        ``external_id`` is the id of its subject, as the ledger or a person names it; if it is None, the sink looks
        whose id the command has, if any. ``attempt`` counts from 1. ``uncertain`` means that it may have been carried
        out before, so the sink searches first.

        Calls with the same key never overlap. Raises DeliveryError.
        """

    def receipts(self, command: Any, outcome: Outcome) -> tuple[Sequence[str], Any]:
        """Returns topics, and the receipt for them."""


@runtime_checkable
class OrderedSink(Sink, Protocol):
    """A sink whose commands keep the order of their partition, across keys too. They are carried out in runs: one
    after the other, each when all commands before it are done, refused or passed over.
    """

    def run_of(self, key: bytes | None) -> str | None:
        """Returns the name of the runs that the commands of a key belong to. Commands of one name that follow each
        other make a run, and are delivered at the same time, so the sink may send them in one call; None means that a
        command is delivered alone.
        """


class Source(Protocol):
    """One stream of records from an outside system to our topics: a feed, a webhook, a bridge."""

    @property
    def ready(self) -> asyncio.Event:
        """The event that is set once it reads."""

    async def run(self) -> None:
        """Read until `stop`. Raises an error only if no retry can fix it."""

    def stop(self) -> None:
        """Let `run` end the work in flight and return."""


def with_edits(receipt: R, prefix: str, command: Any, outcome: Outcome, *unset: str) -> R:
    """Returns a receipt with the changes that were made to the command. Fields that are ``unset``, and those that the
    receipt omits, would stay as the receipt before it set them: absent fields leave a state unchanged.
    """
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
